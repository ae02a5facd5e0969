"""Looks at this server as others do: from its name to its keys, step by step, and says what is wrong and what to do.

`halfdoor federation check` prints it. All I/O is that of `Wire`, so that tests need no network.
"""

from __future__ import annotations

import errno
import http.client
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from signedjson.types import VerifyKey
from unpaddedbase64 import encode_base64

from federation.server_discovery import DEFAULT_PORT, REDIRECTS, ServiceRecord, is_ip_literal, split_server_name
from federation.set_up_wire import Got, RealWire, Wire
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.signatures import key_id_of, verify

EXPIRES_SOON_SECONDS: Final = 14 * 24 * 3600
ADDRESSES_MAX: Final = 8
LARGEST_TRANSACTION: Final = 4 * 1024 * 1024
"""Bytes: more than fifty events of 64 KiB have."""
WELL_KNOWN: Final = "/.well-known/matrix/server"
KEYS: Final = "/_matrix/key/v2/server"
VERSION: Final = "/_matrix/federation/v1/version"
ENCODED: Final = "/_matrix/federation/v1/event/%24halfdoor%2Fcheck"
"""Asked without a signature: 401 if the path came as it was sent. Else there is nothing at it."""
LARGE: Final = "/_matrix/federation/v1/send/halfdoor-check"
LEAD_ALL: Final = "Lead all of /_matrix to Halfdoor, to a listener whose apis have federation."
LEAD_KEYS: Final = "Lead /_matrix/key to Halfdoor, to a listener whose apis have federation; set federation.enabled."

# OpenSSL's numbers: X509_V_ERR_...
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_SELF_SIGNED: Final = (18, 19)
_NO_ISSUER: Final = (2, 20, 21)
_OTHER_NAME: Final = (62, 64)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` is what to do where it is wrong."""

    is_good: bool
    text: str
    advice: str = ""


class SetUpCheck:
    """All steps for one server. `key`: the public half of what it signs with; `private`: the networks that this server
    asks although they are private (outbound.allowed_networks)."""

    def __init__(
        self,
        wire: Wire,
        server_name: str,
        key: VerifyKey,
        advertised: str | None,
        now: float,
        private: Sequence[str] = (),
    ) -> None:
        self._wire = wire
        self._name = server_name
        self._key = key
        self._advertised = advertised
        self._now = now
        self._private = [ip_network(each, strict=False) for each in private]

    async def run(self) -> AsyncIterator[Finding]:
        """Findings in order, until nothing more can be said."""
        if not is_server_name(self._name):
            yield Finding(False, f"{self._name} is no server name", "Choose another server_name before anybody joins.")
            return
        yield Finding(True, f"{self._name} is a server name")
        host, port = split_server_name(self._name)
        if not is_ip_literal(host) and port is None:
            finding, delegated = await self._well_known(host)
            yield finding
            if delegated is not None:
                host, port = split_server_name(delegated)
        elif self._advertised is not None:
            advice = "Leave federation.advertised_address out, or choose a server_name without a port."
            yield Finding(False, f"{self._name} says itself where it is, and nobody asks {WELL_KNOWN}", advice)
        places = [(host.strip("[]"), DEFAULT_PORT if port is None else port)]
        if not is_ip_literal(host) and port is None:
            records, service = await self._services(host)
            if records:
                places = [(record.host, record.port) for record in records]
                yield Finding(True, f"{service} leads to {', '.join(f'{name}:{at}' for name, at in places)}")
            else:
                yield Finding(True, f"there is no SRV record for {host}, so others come to port {places[0][1]}")
        authority = host if port is None else f"{host}:{port}"
        for name, at in places:
            async for finding in self._place(name, at, authority):
                yield finding

    # ---- delegation

    async def _well_known(self, host: str) -> tuple[Finding, str | None]:
        url = f"https://{host}{WELL_KNOWN}"
        try:
            got, last = await self._follow(url)
        except (OSError, ValueError, http.client.HTTPException) as error:
            got, last = Got(0, b"", 0), url
            reason = f"cannot be had ({error})"
        else:
            reason = f"is answered with status {got.status}"
        through = "" if last == url else f" (a redirect to {last})"
        if 300 <= got.status < 400:
            advice = "Answer at the very address, or redirect once, to an address with https."
            return Finding(False, f"{url} redirects without end", advice), None
        if got.status != 200:
            if self._advertised is None:
                return Finding(True, f"{url} {reason}{through}: nothing is delegated"), None
            advice = "Lead this path to the client listener of Halfdoor, or serve the file from the web server there."
            text = f"{url} {reason}{through}, though federation.advertised_address is set"
            return Finding(False, text, advice), None
        named = _member(got.body, "m.server")
        if not isinstance(named, str) or not is_server_name(named):
            advice = 'It must be JSON: {"m.server": "matrix.example.org:443"}'
            if isinstance(named, str) and "/" in named:
                advice += ", a name and a port, without https:// and without a path"
            elif named is None and through:
                advice = "Let the redirect not take this path: others get what stands at its end."
            return Finding(False, f"{url}{through} names no server", advice), None
        if self._advertised is not None and named != self._advertised:
            advice = "Let both say the same; another web server may answer for this path."
            return Finding(False, f"{url} says {named}, and the configuration {self._advertised}", advice), named
        return Finding(True, f"{url}{through} leads to {named}"), named

    async def _follow(self, url: str) -> tuple[Got, str]:
        """What stands at the end of redirects, and its address. Raises ValueError for an address that nobody asks."""
        got = Got(0, b"", 0)
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(url)
            if parts.scheme != "https" or not parts.hostname:
                raise ValueError(f"it leads to {url[:200]}, which is not https")
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            got = await self._wire.ask(parts.hostname, parts.port or 443, parts.netloc, path or "/")
            if not 300 <= got.status < 400 or not got.location:
                break
            url = urljoin(url, got.location)
        return got, url

    async def _services(self, host: str) -> tuple[list[ServiceRecord], str]:
        for service in ("_matrix-fed._tcp.", "_matrix._tcp."):
            records = await self._wire.services(service + host)
            if records:
                return records, f"the SRV record {service}{host}"
        return [], ""

    # ---- addresses

    async def _place(self, host: str, port: int, authority: str) -> AsyncIterator[Finding]:
        try:
            addresses = [host] if is_ip_literal(host) else await self._wire.resolve(host)
        except OSError as error:
            yield Finding(False, f"{host} has no address ({error})", "Add an A or AAAA record for it.")
            return
        private = [address for address in addresses if not self._is_reached(address)]
        if private:
            advice = "Others on the Internet cannot reach these, unless they too are in that network and allow it."
            yield Finding(False, f"{host} has the private addresses {', '.join(private)}", advice)
        else:
            yield Finding(True, f"{host} has the addresses {', '.join(addresses)}")
        for address in addresses[:ADDRESSES_MAX]:
            async for finding in self._address(address, port, authority):
                yield finding

    def _is_reached(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return address.is_global or any(address in network for network in self._private)

    async def _address(self, address: str, port: int, authority: str) -> AsyncIterator[Finding]:
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            got = await self._wire.ask(address, port, authority, KEYS)
            version = await self._wire.ask(address, port, authority, VERSION)
            encoded = await self._wire.ask(address, port, authority, ENCODED)
        except (OSError, http.client.HTTPException) as error:
            yield self._unreached(where, address, split_server_name(authority)[0], error)
            return
        days = int((got.expires - self._now) / 86_400)
        if got.expires < self._now + EXPIRES_SOON_SECONDS:
            yield Finding(False, f"the certificate at {where} expires in {days} days", "Renew it.")
        else:
            yield Finding(True, f"the certificate at {where} is valid for {days} days")
        yield self._keys(where, got)
        if version.status != 200 or not isinstance(_member(version.body, "server"), dict):
            yield Finding(False, f"{where} answers {VERSION} with {version.status}", LEAD_ALL)
            return
        yield Finding(True, f"{where} answers {VERSION}")
        if encoded.status == 401:
            yield Finding(True, f"paths come to {where} as they were sent")
        else:
            advice = (
                "Pass the path on as it came. nginx: no path and no slash behind the port in proxy_pass. Apache:"
                " AllowEncodedSlashes NoDecode, and nocanon in ProxyPass."
            )
            yield Finding(False, f"what answers at {where} decodes paths (%2F, %24): signatures will not fit", advice)
        yield await self._large(where, address, port, authority)

    async def _large(self, where: str, address: str, port: int, authority: str) -> Finding:
        size = f"{LARGEST_TRANSACTION >> 20} MiB"
        try:
            got = await self._wire.ask(address, port, authority, LARGE, "PUT", b" " * LARGEST_TRANSACTION)
        except (OSError, http.client.HTTPException):
            status = 413
        else:
            status = got.status
        if status == 413:
            advice = "Transactions may be that large. nginx: client_max_body_size 100m."
            return Finding(False, f"what answers at {where} takes no body of {size}", advice)
        return Finding(True, f"{where} takes transactions of {size}")

    def _unreached(self, where: str, address: str, host: str, error: Exception) -> Finding:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._bad_certificate(where, host, error)
        text = f"{where} is not reached over TLS ({error})"
        if isinstance(error, ssl.SSLError):
            text = f"what answers at {where} does not speak TLS as it should ({error})"
            return Finding(False, text, "Let the proxy speak HTTPS on this port, or give the listener its certificate.")
        if isinstance(error, ConnectionRefusedError):
            advice = "Nothing listens there: start the server or its proxy, or correct the port that others are told."
            return Finding(False, f"{where} refuses connections", advice)
        if isinstance(error, TimeoutError):
            advice = "Open this port in the firewall, and forward it in the router."
            return Finding(False, f"{where} does not answer", advice)
        if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL) and ":" in address:
            return Finding(True, f"{where} is not tried: this machine has no IPv6. Try it from one that has")
        advice = "Open this port in the firewall, forward it, and see whether the server or its proxy listens."
        return Finding(False, text, advice)

    def _bad_certificate(self, where: str, host: str, error: ssl.SSLCertVerificationError) -> Finding:
        code = error.verify_code
        if code == _EXPIRED:
            return Finding(False, f"the certificate at {where} has expired", "Renew it, and have the server load it.")
        if code == _NOT_YET_VALID:
            advice = "Set the clock of this machine right; if it is, wait or get another certificate."
            return Finding(False, f"the certificate at {where} is not valid yet", advice)
        if code in _OTHER_NAME:
            advice = f"Get one that names {host}; others ask for that name, wherever it leads them."
            return Finding(False, f"the certificate at {where} is not for {host}", advice)
        if code in _SELF_SIGNED:
            advice = "Get one from an authority that others know, as Let's Encrypt is: nobody accepts this one."
            return Finding(False, f"the certificate at {where} is signed by itself", advice)
        if code in _NO_ISSUER:
            advice = "Serve the whole chain (fullchain.pem, not cert.pem), from an authority that others know."
            return Finding(False, f"nobody known vouches for the certificate at {where}", advice)
        advice = f"It must be valid for {host}, and come with its whole chain."
        return Finding(False, f"the certificate at {where} is not accepted: {error.verify_message}", advice)

    # ---- keys

    def _keys(self, where: str, got: Got) -> Finding:
        if got.status != 200:
            return Finding(False, f"{where} answers {KEYS} with {got.status}", LEAD_KEYS)
        try:
            said = json.loads(got.body)
        except ValueError:
            return Finding(False, f"{where} publishes no keys", LEAD_KEYS)
        if not isinstance(said, dict) or said.get("server_name") != self._name:
            return Finding(False, f"{where} publishes the keys of another server", LEAD_KEYS)
        published = said.get("verify_keys")
        key = published.get(key_id_of(self._key)) if isinstance(published, dict) else None
        advice = "Another server answers there, or the signing key was replaced: restart Halfdoor with this key."
        if not isinstance(key, dict) or key.get("key") != encode_base64(self._key.encode()):
            return Finding(False, f"{where} publishes other keys than that of signing_key_file", advice)
        try:
            verify(said, self._name, self._key)
        except MatrixError:
            return Finding(False, f"{where} publishes keys that are not signed with ours", advice)
        return Finding(True, f"{where} publishes our key {key_id_of(self._key)}")


def _member(body: bytes, name: str) -> Any:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said.get(name) if isinstance(said, dict) else None


async def check_set_up(
    server_name: str,
    key: VerifyKey,
    advertised: str | None,
    wire: Wire | None = None,
    private: Sequence[str] = (),
) -> AsyncIterator[Finding]:
    """Look at a server from where this program runs."""
    async for finding in SetUpCheck(wire or RealWire(), server_name, key, advertised, time.time(), private).run():
        yield finding
