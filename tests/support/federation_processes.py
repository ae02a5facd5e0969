"""Two Halfdoors and a Synapse as processes that federate over TLS, by a test authority, on loopback addresses.

Each is reached by the others through a proxy of its own, so that it can be cut off from them while its clients are not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.support.authority import Authority
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess, free_port
from tests.support.synapse import synapse

HOSTS = {"halfdoor": "localhost", "synapse": "127.0.0.2", "third": "127.0.0.3"}
"""What stands before the port in the server names; each another, since access lists know servers by it."""
ADDRESSES = {"localhost": "127.0.0.1"}
LOOPBACK = ["127.0.0.0/8", "::1/128"]
PLENTY = 1_000_000
WAITING_SECONDS = 30.0


class Wires:
    """Proxies on one thread with a loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._proxies: list[CuttingProxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for proxy in self._proxies:
            self._run(proxy.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def to(self, port: int, host: str) -> CuttingProxy:
        """A proxy at an address of this machine, in front of a port where nothing need listen yet."""
        proxy = CuttingProxy(port, host)
        self._run(proxy.__aenter__())
        self._proxies.append(proxy)
        return proxy

    def cut(self, proxy: CuttingProxy) -> None:
        """Nobody gets through from now on."""
        self._run(_call(lambda: proxy.cut(hold=True)))

    def heal(self, proxy: CuttingProxy) -> None:
        self._run(_call(proxy.resume))

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAITING_SECONDS)


async def _call(function: Any) -> None:
    function()


@dataclass
class Federation:
    """The three, started. `third` is another Halfdoor."""

    halfdoor: ServerProcess
    synapse: ServerProcess
    third: ServerProcess
    wires: Wires
    proxies: dict[str, CuttingProxy]
    operators: dict[str, Account]

    @property
    def servers(self) -> list[ServerProcess]:
        return [self.halfdoor, self.synapse, self.third]

    @contextmanager
    def partition(self) -> Iterator[None]:
        """No server reaches another meanwhile. Afterwards none waits before it tries again."""
        for proxy in self.proxies.values():
            self.wires.cut(proxy)
        try:
            yield
        finally:
            for proxy in self.proxies.values():
                self.wires.heal(proxy)
            self.forget_failures()

    def forget_failures(self) -> None:
        """Have every server ask the others at once, as an operator can."""
        for server in self.servers:
            token = self.operators[server.server_name].access_token
            for other in self.servers:
                if other is not server:
                    name = quote(other.server_name, safe="")
                    path = f"/_synapse/admin/v1/federation/destinations/{name}/reset_connection"
                    status, answer = server.call("POST", path, {}, token=token)
                    # 400: there was no failure; 404: nothing was ever asked of it
                    assert status in (200, 400, 404), (status, answer)


@contextmanager
def federation(directory: Path) -> Iterator[Federation]:
    """All three, started; each trusts the authority that vouches for the others."""
    authority = Authority(directory)
    with ExitStack() as stack:
        wires = stack.enter_context(Wires())
        ports = {name: free_port() for name in HOSTS}
        proxies = {name: wires.to(ports[name], ADDRESSES.get(host, host)) for name, host in HOSTS.items()}
        certificates = {name: authority.certificate(host) for name, host in HOSTS.items()}
        names = {name: f"{host}:{proxies[name].port}" for name, host in HOSTS.items()}
        folders = {name: directory / name for name in HOSTS}
        for folder in folders.values():
            folder.mkdir()
        one, two, three = (
            make(folders[name], names[name], ports[name], certificates[name], authority)
            for name, make in (("halfdoor", _halfdoor), ("synapse", _synapse), ("third", _halfdoor))
        )
        for server in (two, one, three):
            stack.enter_context(server)
        operators = {server.server_name: server.register("operator", admin=True) for server in (one, two, three)}
        yield Federation(one, two, three, wires, proxies, operators)


def _halfdoor(
    folder: Path, server_name: str, port: int, certificate: tuple[Path, Path], authority: Authority
) -> ServerProcess:
    client_port = free_port()
    server = halfdoor(
        folder,
        server_name=server_name,
        port=client_port,
        settings={
            "listeners": [
                {"host": "127.0.0.1", "port": client_port, "apis": ["client", "admin"]},
                {
                    "host": "127.0.0.1",
                    "port": port,
                    "apis": ["federation"],
                    "tls_certificate_file": str(certificate[0]),
                    "tls_key_file": str(certificate[1]),
                },
            ],
            "federation": {"enabled": True},
            "outbound": {"allowed_networks": LOOPBACK},
        },
    )
    server.environment = {**server.environment, "SSL_CERT_FILE": str(authority.file)}
    return server


def _synapse(
    folder: Path, server_name: str, port: int, certificate: tuple[Path, Path], authority: Authority
) -> ServerProcess:
    client_port = free_port()

    def listener(port: int, resource: str, *, tls: bool) -> dict[str, Any]:
        resources = [{"names": [resource], "compress": False}]
        return {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": tls, "resources": resources}

    return synapse(
        folder,
        server_name=server_name,
        port=client_port,
        settings={
            "listeners": [listener(client_port, "client", tls=False), listener(port, "federation", tls=True)],
            "tls_certificate_path": str(certificate[0]),
            "tls_private_key_path": str(certificate[1]),
            "federation_custom_ca_list": [str(authority.file)],
            "federation_domain_whitelist": None,
            "allow_public_rooms_over_federation": True,
            "ip_range_blacklist": [],
            "ip_range_whitelist": LOOPBACK,
            "federation": {  # it tries again soon, where it would wait for ten minutes
                "max_short_retries": 1,
                "max_long_retries": 1,
                "max_long_retry_delay": "1s",
                "destination_min_retry_interval": "1s",
                "destination_max_retry_interval": "2s",
            },
            "rc_federation": {"sleep_limit": PLENTY, "reject_limit": PLENTY, "concurrent": 100},
        },
    )
