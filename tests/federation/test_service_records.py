"""SRV records, asked of a name server of the test over UDP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from federation.server_discovery import ServerDiscovery, ServiceRecord
from federation.service_records import look_up_services
from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.client import OutboundClient, OutboundFailed
from tests.support.clock import FakeClock


class NameServer(asyncio.DatagramProtocol):
    """Answers by `records`: (priority, weight, port, target) by name; `is_silent` to nobody."""

    def __init__(self) -> None:
        self.records: dict[str, list[tuple[int, int, int, str]]] = {}
        self.is_silent = False
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        from twisted.names import dns

        message: Any = dns.Message()
        message.fromStr(data)
        name = str(message.queries[0].name)
        self.asked.append(name)
        if self.is_silent:
            return
        message.answer = True
        message.rCode = dns.OK if name in self.records else dns.ENAME
        for priority, weight, port, target in self.records.get(name, []):
            payload = dns.Record_SRV(priority, weight, port, target)  # type: ignore[no-untyped-call]
            message.answers.append(dns.RRHeader(name, dns.SRV, payload=payload, auth=True))  # type: ignore[arg-type]
        self.transport.sendto(message.toStr(), address)


@pytest.fixture
async def names(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    from twisted.names import client

    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    resolver: Any = client.Resolver(servers=[address], timeout=(1,), reactor=reactor)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(client, "theResolver", resolver)
    yield server
    transport.close()


async def test_records_are_read(names: NameServer) -> None:
    name = "_matrix-fed._tcp.example.org"
    names.records[name] = [(10, 5, 8449, "one.example.net"), (20, 0, 443, "two.example.net"), (30, 0, 1, "")]
    assert await look_up_services(name) == [
        ServiceRecord("one.example.net", 8449, 10, 5),
        ServiceRecord("two.example.net", 443, 20, 0),
    ]
    assert names.asked == [name]


async def test_no_record_and_no_such_name_are_no_records(names: NameServer) -> None:
    names.records["_matrix._tcp.example.org"] = []
    assert await look_up_services("_matrix._tcp.example.org") == []
    assert await look_up_services("_matrix._tcp.nowhere.example") == []


async def test_a_name_that_dns_cannot_hold_has_no_records(names: NameServer) -> None:
    for name in ("a" * 64 + ".example.org", "a..example.org"):
        assert await look_up_services(f"_matrix-fed._tcp.{name}") == []
    assert names.asked == []


async def test_a_server_with_such_a_name_is_not_reached(names: NameServer, reactor: Any) -> None:
    outbound = OutboundClient(AddressGuard(ports=()), "Halfdoor", reactor)
    discovery = ServerDiscovery(outbound, look_up_services, FakeClock(), random.Random(1))
    try:
        for name in ("a" * 64 + ".example.org", "a..example.org"):
            (location,) = await discovery.locate(name)
            with pytest.raises(OutboundFailed):
                await outbound.request("GET", f"https://{location.authority}/", connect_to=location.connect_to)
    finally:
        await outbound.close()
