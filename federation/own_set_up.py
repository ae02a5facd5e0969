"""Looks at this server as others do: from its name to its keys, step by step, and says what is wrong and what to do.

`halfdoor federation check` prints it. All I/O is `Wire`'s, so that tests need no network.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Protocol

from signedjson.types import VerifyKey
from unpaddedbase64 import encode_base64

from federation.server_discovery import DEFAULT_PORT, ServiceRecord, is_ip_literal, split_server_name
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.signatures import key_id_of, verify

TIMEOUT_SECONDS: Final = 10.0
EXPIRES_SOON_SECONDS: Final = 14 * 24 * 3600
MAX_BYTES: Final = 65_536
ADDRESSES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` is what to do where it is wrong."""

    is_good: bool
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Got:
    """An answer over TLS; `expires`: of the certificate, seconds since 1970."""

    status: int
    body: bytes
    expires: float


class Wire(Protocol):
    """What is asked of the network."""

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a name. Raises OSError."""
        ...

    async def services(self, name: str) -> list[ServiceRecord]:
        """SRV records."""
        ...

    async def get(self, address: str, port: int, authority: str, path: str) -> Got:
        """GET over TLS for the host of `authority`. Raises ssl.SSLCertVerificationError, OSError."""
        ...


class SetUpCheck:
    """All steps for one server. `key`: the public half of what it signs with."""

    def __init__(self, wire: Wire, server_name: str, key: VerifyKey, advertised: str | None, now: float) -> None:
        self._wire = wire
        self._name = server_name
        self._key = key
        self._advertised = advertised
        self._now = now

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
        places = [(host.strip("[]"), DEFAULT_PORT if port is None else port)]
        if not is_ip_literal(host) and port is None:
            records = await self._services(host)
            if records:
                places = [(record.host, record.port) for record in records]
                yield Finding(True, f"SRV records lead to {', '.join(f'{name}:{at}' for name, at in places)}")
            else:
                yield Finding(True, f"there is no SRV record for {host}, so others come to port {places[0][1]}")
        authority = host if port is None else f"{host}:{port}"
        for name, at in places:
            async for finding in self._place(name, at, authority):
                yield finding

    async def _well_known(self, host: str) -> tuple[Finding, str | None]:
        url = f"https://{host}/.well-known/matrix/server"
        try:
            got = await self._wire.get(host, 443, host, "/.well-known/matrix/server")
        except OSError as error:
            got = Got(0, b"", 0)
            reason = f"cannot be had ({error})"
        else:
            reason = f"is answered with status {got.status}"
        if 300 <= got.status < 400:
            advice = "Others follow a few redirects, and this check does not: serve the file at that very address."
            return Finding(False, f"{url} redirects", advice), None
        if got.status != 200:
            if self._advertised is None:
                return Finding(True, f"{url} {reason}: nothing is delegated"), None
            advice = "Lead this path to the client listener of Halfdoor, or serve the file from the web server there."
            return Finding(False, f"{url} {reason}, though federation.advertised_address is set", advice), None
        named = _member(got.body, "m.server")
        if not isinstance(named, str) or not is_server_name(named):
            return Finding(
                False, f"{url} names no server", 'It must be JSON: {"m.server": "matrix.example.org:443"}'
            ), None
        if self._advertised is not None and named != self._advertised:
            advice = "Let both say the same; another web server may answer for this path."
            return Finding(False, f"{url} says {named}, and the configuration {self._advertised}", advice), named
        return Finding(True, f"{url} leads to {named}"), named

    async def _services(self, host: str) -> list[ServiceRecord]:
        for service in ("_matrix-fed._tcp.", "_matrix._tcp."):
            records = await self._wire.services(service + host)
            if records:
                return records
        return []

    async def _place(self, host: str, port: int, authority: str) -> AsyncIterator[Finding]:
        try:
            addresses = [host] if is_ip_literal(host) else await self._wire.resolve(host)
        except OSError as error:
            yield Finding(False, f"{host} has no address ({error})", "Add an A or AAAA record for it.")
            return
        private = [address for address in addresses if not ip_address(address.partition("%")[0]).is_global]
        if private:
            advice = "Others on the Internet cannot reach these, unless they too are in that network and allow it."
            yield Finding(False, f"{host} has the private addresses {', '.join(private)}", advice)
        else:
            yield Finding(True, f"{host} has the addresses {', '.join(addresses)}")
        for address in addresses[:ADDRESSES_MAX]:
            async for finding in self._address(address, port, authority):
                yield finding

    async def _address(self, address: str, port: int, authority: str) -> AsyncIterator[Finding]:
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            got = await self._wire.get(address, port, authority, "/_matrix/key/v2/server")
            version = await self._wire.get(address, port, authority, "/_matrix/federation/v1/version")
        except ssl.SSLCertVerificationError as error:
            advice = f"It must be valid for {split_server_name(authority)[0]}, and come with its whole chain."
            yield Finding(False, f"the certificate at {where} is not accepted: {error.verify_message}", advice)
            return
        except (OSError, http.client.HTTPException) as error:
            advice = "Open this port in the firewall, forward it, and see whether the server or its proxy listens."
            yield Finding(False, f"{where} is not reached over TLS ({error})", advice)
            return
        days = int((got.expires - self._now) / 86_400)
        if got.expires < self._now + EXPIRES_SOON_SECONDS:
            yield Finding(False, f"the certificate at {where} expires in {days} days", "Renew it.")
        else:
            yield Finding(True, f"the certificate at {where} is valid for {days} days")
        yield self._keys(where, got)
        if version.status == 200 and isinstance(_member(version.body, "server"), dict):
            yield Finding(True, f"{where} answers /_matrix/federation/v1/version")
        else:
            advice = "Lead all of /_matrix to Halfdoor, to a listener whose apis have federation."
            yield Finding(False, f"{where} answers /_matrix/federation/v1/version with {version.status}", advice)

    def _keys(self, where: str, got: Got) -> Finding:
        lead = "Lead /_matrix/key to Halfdoor, to a listener whose apis have federation; set federation.enabled."
        if got.status != 200:
            return Finding(False, f"{where} answers /_matrix/key/v2/server with {got.status}", lead)
        try:
            said = json.loads(got.body)
        except ValueError:
            return Finding(False, f"{where} publishes no keys", lead)
        if not isinstance(said, dict) or said.get("server_name") != self._name:
            return Finding(False, f"{where} publishes the keys of another server", lead)
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


class RealWire:
    """`Wire` over the network; certificates are checked by the authorities of the machine."""

    async def resolve(self, host: str) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    async def services(self, name: str) -> list[ServiceRecord]:
        from federation.service_records import look_up_services

        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await look_up_services(name)
        except TimeoutError:
            return []

    async def get(self, address: str, port: int, authority: str, path: str) -> Got:
        return await asyncio.to_thread(_get, address, port, authority, path)


def _get(address: str, port: int, authority: str, path: str) -> Got:
    host = split_server_name(authority)[0].strip("[]")
    raw = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
    with raw, ssl.create_default_context().wrap_socket(raw, server_hostname=host) as connected:
        certificate: Any = connected.getpeercert()
        connection = http.client.HTTPConnection(address, port)
        connection.sock = connected
        connection.request("GET", path, headers={"Host": authority, "Connection": "close"})
        answer = connection.getresponse()
        return Got(answer.status, answer.read(MAX_BYTES), ssl.cert_time_to_seconds(certificate["notAfter"]))


def _member(body: bytes, name: str) -> Any:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said.get(name) if isinstance(said, dict) else None


async def check_set_up(
    server_name: str, key: VerifyKey, advertised: str | None, wire: Wire | None = None
) -> AsyncIterator[Finding]:
    """Look at a server from where this program runs."""
    async for finding in SetUpCheck(wire or RealWire(), server_name, key, advertised, time.time()).run():
        yield finding
