"""Which addresses are asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from ipaddress import IPv4Address, IPv6Address

import pytest

from homeserver.outbound import address_guard
from homeserver.outbound.address_guard import AddressGuard, NameLookUp
from homeserver.outbound.client import OutboundFailed
from homeserver.outbound.targets import parse_target

REFUSED_V4 = [
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
REFUSED_V6 = [
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456:789a::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "fe80::1%eth0",
    "fe80::1%1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
]
PUBLIC_V6 = ["2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2400:cb00::1", "64:ff9b::808:808"]


def is_refused(guard: AddressGuard, text: str, port: int = 443) -> bool:
    try:
        guard.check_address(text, port)
    except OutboundFailed:
        return True
    return False


def test_C01_addresses_that_are_not_of_the_public_internet_are_refused() -> None:
    guard = AddressGuard()
    assert [text for text in (*REFUSED_V4, *REFUSED_V6) if not is_refused(guard, text)] == []
    assert [text for text in (*PUBLIC, *PUBLIC_V6) if is_refused(guard, text)] == []


def test_C01_every_private_ipv4_address_is_refused_inside_a_transitional_one() -> None:
    guard = AddressGuard()
    for text in REFUSED_V4:
        number = int(IPv4Address(text))
        forms = [
            IPv6Address(0xFFFF << 32 | number),
            IPv6Address(number),
            IPv6Address((0x64FF9B << 96) | number),
            IPv6Address(0x2002 << 112 | number << 80),
            IPv6Address(0x20010000 << 96 | (~number & 0xFFFFFFFF)),
        ]
        assert [str(form) for form in forms if not is_refused(guard, str(form))] == [], text


def test_networks_may_be_allowed_and_denied() -> None:
    guard = AddressGuard(allowed=["10.1.0.0/16", "fd12::/16"], denied=["10.1.2.0/24", "8.8.8.8"])
    assert not is_refused(guard, "10.1.1.1")
    assert not is_refused(guard, "fd12::1")
    assert not is_refused(guard, "64:ff9b::10.1.1.1")
    for text in ("10.2.0.1", "10.1.2.3", "8.8.8.8", "64:ff9b::8.8.8.8", "::ffff:10.1.1.1", "127.0.0.1"):
        assert is_refused(guard, text), text


def test_own_listeners_are_refused_at_own_addresses() -> None:
    guard = AddressGuard(allowed=["127.0.0.0/8"], own_ports=[8008])
    assert is_refused(guard, "127.0.0.1", 8008)
    assert not is_refused(guard, "127.0.0.1", 443)
    assert not is_refused(guard, "8.8.8.8", 8008)


async def test_C01_every_address_of_a_name_must_be_public() -> None:
    answers = {
        "good.example": ["8.8.8.8", "2606:4700::1"],
        "mixed.example": ["8.8.8.8", "127.0.0.1"],
        "none.example": [],
    }

    async def look_up(host: str) -> list[str]:
        if host not in answers:
            raise OSError("unknown")
        return answers[host]

    guard = AddressGuard(look_up=look_up)
    assert await guard.resolve("good.example", 443) == ["8.8.8.8", "2606:4700::1"]
    for host, kind in (("mixed.example", "refused"), ("none.example", "not reached"), ("other.example", "not reached")):
        with pytest.raises(OutboundFailed) as caught:
            await guard.resolve(host, 443)
        assert caught.value.kind == kind
    assert await guard.resolve("mixed.example", 5432, trusted=True) == ["8.8.8.8", "127.0.0.1"]


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 8008, 9108, 65535])
async def test_C01_C05_ports_that_are_not_the_webs_are_refused(port: int) -> None:
    with pytest.raises(OutboundFailed) as caught:
        await AddressGuard().resolve("8.8.8.8", port)
    assert caught.value.kind == "refused"
    assert await AddressGuard(ports=[]).resolve("8.8.8.8", port) == ["8.8.8.8"]


async def test_C10_names_are_looked_up_by_the_system_and_not_parsed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getaddrinfo(host: str, *args: object, **kwargs: object) -> object:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.4.4", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    names = NameLookUp()
    assert await names.look_up("example.org") == ["8.8.4.4"]
    assert asked == ["example.org"]
    names.close()


def spellings() -> list[str]:
    """Hosts that mean 127.0.0.1, [::1] or a cloud's metadata somewhere."""
    hosts = [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "127.1",
        "127.0.1",
        "0",
        "0x0",
        "00",
        "017700000001",
    ]
    hosts += ["2130706433", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.01", "127.000.000.001"]
    hosts += [
        "２１３０７０６４３３",
        "１２７.０.０.１",
        "127。0。0。1",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1%00.example.org",
    ]
    hosts += [
        "%6cocalhost",
        "user@127.0.0.1",
        "example.org@127.0.0.1",
        "example.org:80@127.0.0.1",
        "127.0.0.1\t",
        "[::1]",
    ]
    hosts += [f"[{text}]" for text in REFUSED_V6]
    hosts += [f"[::ffff:{text}]" for text in REFUSED_V4]
    for text in REFUSED_V4:
        number = int(IPv4Address(text))
        parts = text.split(".")
        hosts += [text, str(number), hex(number), oct(number).replace("0o", "0"), ".".join(map(hex, map(int, parts)))]
    return hosts


async def test_C01_no_spelling_of_an_internal_address_is_let_through() -> None:
    guard = AddressGuard(ports=[])
    tried = [f"{scheme}://{host}/" for scheme, host in itertools.product(("http", "https"), spellings())]
    assert len(tried) >= 400
    let_through = []
    for url in tried:
        with contextlib.suppress(OutboundFailed):
            target = parse_target(url)
            let_through.append((url, await guard.resolve(target.host, target.port)))
    guard.close()
    assert let_through == []


async def test_B30_names_that_are_never_answered_do_not_hold_up_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def resolve(host: str) -> list[str]:
        if host.startswith("dead"):
            released.wait(60)
            raise OSError("no name")
        return ["192.0.2.1"]

    monkeypatch.setattr(address_guard, "_addresses_of", resolve)
    names = NameLookUp()
    assert await names.look_up("living.test") == ["192.0.2.1"]
    waiting = [asyncio.ensure_future(names.look_up(f"dead{number}.test")) for number in range(40)]
    try:
        async with asyncio.timeout(30):
            assert await names.look_up("living.test") == ["192.0.2.1"]
        assert not any(one.done() for one in waiting)
    finally:
        released.set()
        assert all(isinstance(one, OSError) for one in await asyncio.gather(*waiting, return_exceptions=True))
        names.close()
