"""Identity servers, as far as a homeserver speaks to them on behalf of its users.

Which one is asked, a client says; so its name is checked here, and where it leads to by `Outbound` (rows C01 to C08).
What it answers is a stranger's: only what the specification names is taken from it, after a look at its form.
Spec: Identity Service API; Client-Server API, "Third-party invites".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.outbound.client import Outbound, OutboundAnswer, OutboundFailed
from homeserver.protocol import canonical_json
from homeserver.protocol.errors import ConnectionFailed, InvalidParam, MatrixError, RefusedElsewhere
from homeserver.protocol.identifiers import ServerName, parse_server_name, parse_user_id
from homeserver.protocol.signatures import key_id_of, sign
from homeserver.protocol.strict_json import decode

TIMEOUT_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_BASE: Final = "/_matrix/identity/v2"
_MAX_TEXT: Final = 255
_ERRCODE = re.compile(r"[A-Z][A-Z0-9_.]{0,99}")


@dataclass(frozen=True, slots=True)
class IdentityServer:
    """One that a client named, with the token that the client has there."""

    name: ServerName
    access_token: str


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """What `/store-invite` answers: the members of an m.room.third_party_invite event."""

    token: str
    display_name: str
    public_keys: tuple[tuple[str, str], ...]
    """(public key, the address that says whether it is valid), the server's own key first."""

    def content(self) -> dict[str, Any]:
        """The content of the event."""
        key, url = self.public_keys[0]
        return {
            "display_name": self.display_name,
            "public_key": key,
            "key_validity_url": url,
            "public_keys": [{"public_key": each, "key_validity_url": where} for each, where in self.public_keys],
        }


class IdentityServers:
    """Asks them. Every method raises ConnectionFailed when one cannot be asked, and RefusedElsewhere with its own error
    when it says no."""

    def __init__(self, outbound: Outbound, server_name: ServerName, signing_key: SigningKey | None) -> None:
        self._outbound = outbound
        self._server_name = server_name
        self._signing_key = signing_key

    async def bind(self, server: IdentityServer, sid: str, client_secret: str, user_id: str) -> tuple[str, str]:
        """Publish that an address is the user's. Returns (medium, address)."""
        body = {"sid": sid, "client_secret": client_secret, "mxid": user_id}
        answer = await self._ask("POST", server.name, "/3pid/bind", body, self._bearer(server))
        medium, address = answer.get("medium"), answer.get("address")
        if answer.get("mxid") != user_id or not _is_text(medium) or not _is_text(address):
            raise ConnectionFailed("The identity server's answer makes no sense.")
        return str(medium), str(address)

    async def unbind(self, name: ServerName, user_id: str, medium: str, address: str) -> bool:
        """Take it back, with our signature. False when the identity server has no support for that."""
        path = f"{_BASE}/3pid/unbind"
        body = {"mxid": user_id, "threepid": {"medium": medium, "address": address}}
        try:
            await self._ask("POST", name, "/3pid/unbind", body, self._signed(name, "POST", path, body))
        except RefusedElsewhere as refusal:
            if refusal.status in (400, 404, 501):  # "the homeserver should treat this as no support"
                return False
            raise
        return True

    async def look_up(self, server: IdentityServer, medium: str, address: str) -> str | None:
        """The user id that an address is bound to. Only hashes are sent, where the server can."""
        headers = self._bearer(server)
        details = await self._ask("GET", server.name, "/hash_details", None, headers)
        pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
        if not isinstance(pepper, str) or not isinstance(algorithms, list):
            raise ConnectionFailed("The identity server's answer makes no sense.")
        if "sha256" in algorithms:
            algorithm, wanted = "sha256", _lookup_hash(address, medium, pepper)
        elif "none" in algorithms:
            algorithm, wanted = "none", f"{address} {medium}"
        else:
            raise ConnectionFailed("The identity server knows no way to look addresses up that this server knows.")
        body = {"algorithm": algorithm, "pepper": pepper, "addresses": [wanted]}
        answer = await self._ask("POST", server.name, "/lookup", body, headers)
        mappings = answer.get("mappings")
        found = mappings.get(wanted) if isinstance(mappings, dict) else None
        if found is None:
            return None
        try:
            return parse_user_id(found)
        except (InvalidParam, TypeError, AttributeError):
            raise ConnectionFailed("The identity server's answer makes no sense.") from None

    async def store_invite(self, server: IdentityServer, invite: Mapping[str, Any]) -> StoredInvite:
        """Let it write to an address that nobody has bound. `invite`: the body of `/store-invite`."""
        answer = await self._ask("POST", server.name, "/store-invite", dict(invite), self._bearer(server))
        token, name, keys = answer.get("token"), answer.get("display_name"), answer.get("public_keys")
        if not _is_text(token) or not _is_text(name) or not isinstance(keys, list) or not 0 < len(keys) <= 10:
            raise ConnectionFailed("The identity server's answer makes no sense.")
        return StoredInvite(str(token), str(name), tuple(_public_key(server.name, each) for each in keys))

    async def is_valid_key(self, url: str, public_key: str) -> bool:
        """Ask the address that came with a public key whether it is still good. False also when nobody answers."""
        separator = "&" if "?" in url else "?"
        try:
            answer = await self._outbound.request(
                "GET",
                f"{url}{separator}public_key={quote(public_key, safe='')}",
                timeout=TIMEOUT_SECONDS,
                max_bytes=MAX_ANSWER_BYTES,
            )
            return _object_of(answer).get("valid") is True
        except (OutboundFailed, ConnectionFailed, RefusedElsewhere):
            return False

    async def _ask(
        self, method: str, name: ServerName, path: str, body: dict[str, Any] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            answer = await self._outbound.request(
                method,
                f"https://{name}{_BASE}{path}",
                headers={"Content-Type": "application/json", **headers},
                body=None if body is None else canonical_json.encode(body),
                timeout=TIMEOUT_SECONDS,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except OutboundFailed:
            raise ConnectionFailed("The identity server could not be reached.") from None
        return _object_of(answer)

    def _bearer(self, server: IdentityServer) -> dict[str, str]:
        return {"Authorization": f"Bearer {server.access_token}"}

    def _signed(self, destination: ServerName, method: str, path: str, body: dict[str, Any]) -> dict[str, str]:
        """Spec, Server-Server API, "Request Authentication": the request is signed by the homeserver of the user."""
        if self._signing_key is None:
            return {}
        request = {
            "method": method,
            "uri": path,
            "origin": self._server_name,
            "destination": destination,
            "content": body,
        }
        key_id = key_id_of(self._signing_key)
        signature = sign(request, self._server_name, self._signing_key)["signatures"][self._server_name][key_id]
        return {
            "Authorization": f'X-Matrix origin="{self._server_name}",destination="{destination}",'
            f'key="{key_id}",sig="{signature}"'
        }


def identity_server(name: str, access_token: str) -> IdentityServer:
    """What a client named, checked. Raises InvalidParam."""
    if not access_token.isascii() or not access_token.isprintable() or " " in access_token or len(access_token) > 2000:
        raise InvalidParam("'id_access_token' is no token.")
    return IdentityServer(parse_id_server(name), access_token)


def parse_id_server(name: str) -> ServerName:
    """A host name, maybe with a port. Raises InvalidParam."""
    return parse_server_name(name)


def _lookup_hash(address: str, medium: str, pepper: str) -> str:
    """Spec, Identity Service API, "Hash lookups": sha256 of `address medium pepper`, in URL-safe unpadded Base64."""
    digest = hashlib.sha256(f"{address} {medium} {pepper}".encode()).digest()
    return encode_base64(digest, urlsafe=True)


def _object_of(answer: OutboundAnswer) -> dict[str, Any]:
    try:
        value = decode(answer.body)
    except MatrixError:
        value = None
    if answer.status == 200 and isinstance(value, dict):
        return value
    code = value.get("errcode") if isinstance(value, dict) else None
    if isinstance(code, str) and _ERRCODE.fullmatch(code) and answer.status >= 400:
        error = value.get("error")
        raise RefusedElsewhere(error if isinstance(error, str) else "", code=code, status=answer.status)
    if answer.status in (404, 501):
        sentence = "The identity server does not know that request."
        raise RefusedElsewhere(sentence, code="M_UNRECOGNIZED", status=answer.status)
    raise ConnectionFailed(f"The identity server answered with the status {answer.status} and no sense.")


def _public_key(name: ServerName, entry: object) -> tuple[str, str]:
    """A key with the address that says whether it is valid: the identity server's own, or none that is believed."""
    if not isinstance(entry, dict) or not _is_text(entry.get("public_key")):
        raise ConnectionFailed("The identity server's answer makes no sense.")
    url = entry.get("key_validity_url")
    if not isinstance(url, str) or len(url) > 1000 or not url.startswith("https://"):
        url = f"https://{name}{_BASE}/pubkey/isvalid"
    return str(entry["public_key"]), url


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT
