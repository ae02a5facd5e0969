"""X-Forwarded-For (row D14)."""

from __future__ import annotations

import pytest

from homeserver.http.client_address import ProxyTrust


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),  # not a proxy: its word counts nothing
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),  # what the client itself wrote stands left
        ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:DB8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1::5", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("unix", "198.51.100.7", "unix"),
    ],
)
def test_D14_the_last_hop_that_is_no_proxy_is_the_client(peer: str, header: str | None, client: str) -> None:
    assert ProxyTrust(["10.0.0.0/8", "2001:db8:1::/48"]).client_of(peer, header) == client


def test_D14_without_configured_proxies_the_header_is_ignored() -> None:
    assert ProxyTrust().client_of("127.0.0.1", "1.2.3.4") == "127.0.0.1"


def test_D14_a_unix_socket_is_believed_when_it_is_listed() -> None:
    assert ProxyTrust(["unix"]).client_of("unix", "198.51.100.7") == "198.51.100.7"


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError):
        ProxyTrust(["10.0.0.1/8"])
