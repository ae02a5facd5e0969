"""The network as `halfdoor federation check` asks it: names, SRV records, and HTTPS that says what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final, Protocol

from federation.server_discovery import ServiceRecord, split_server_name

TIMEOUT_SECONDS: Final = 10.0
MAX_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Got:
    """An answer over TLS; `expires`: of the certificate, seconds since 1970; `location`: where a redirect leads."""

    status: int
    body: bytes
    expires: float
    location: str = ""


class Wire(Protocol):
    """What is asked of the network."""

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a name. Raises OSError."""
        ...

    async def services(self, name: str) -> list[ServiceRecord]:
        """SRV records."""
        ...

    async def ask(
        self, address: str, port: int, authority: str, path: str, method: str = "GET", body: bytes | None = None
    ) -> Got:
        """A request over TLS for the host of `authority`. Raises ssl.SSLCertVerificationError, OSError,
        http.client.HTTPException."""
        ...


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

    async def ask(
        self, address: str, port: int, authority: str, path: str, method: str = "GET", body: bytes | None = None
    ) -> Got:
        return await asyncio.to_thread(_ask, address, port, authority, path, method, body)


def _ask(address: str, port: int, authority: str, path: str, method: str, body: bytes | None) -> Got:
    host = split_server_name(authority)[0].strip("[]")
    raw = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
    with raw, ssl.create_default_context().wrap_socket(raw, server_hostname=host) as connected:
        certificate: Any = connected.getpeercert()
        connection = http.client.HTTPConnection(address, port)
        connection.sock = connected
        with contextlib.suppress(OSError):  # whoever does not want so large a body may say so before it has come
            connection.request(method, path, body, headers={"Host": authority, "Connection": "close"})
        answer = connection.getresponse()
        expires = ssl.cert_time_to_seconds(certificate["notAfter"])
        return Got(answer.status, answer.read(MAX_BYTES), expires, answer.headers.get("Location", ""))
