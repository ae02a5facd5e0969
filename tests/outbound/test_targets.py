"""What URLs of strangers mean."""

from __future__ import annotations

import pytest

from homeserver.outbound.client import OutboundFailed
from homeserver.outbound.targets import parse_target


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://Example.ORG", "https://example.org/"),
        ("https://example.org.:443/a?b=c#d", "https://example.org/a?b=c"),
        ("http://example.org:8448/", "http://example.org:8448/"),
        ("https://[2606:4700:0:0::6810:1]:443/x", "https://[2606:4700::6810:1]/x"),
        ("https://例子.测试/路径?名=值", "https://xn--fsqu00a.xn--0zwm56d/%E8%B7%AF%E5%BE%84?%E5%90%8D=%E5%80%BC"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://my_host.example/", "http://my_host.example/"),
        ("http://example.org/%2e%2e/a%20b", "http://example.org/%2e%2e/a%20b"),
        ("http://１.1.1.1/", "http://1.1.1.1/"),
    ],
)
def test_plain_addresses_are_understood(url: str, meant: str) -> None:
    assert parse_target(url).url == meant


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org:70/_x",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://",
        "http:///path",
        "http://:80/",
        "http://example.org:/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:80:80/",
        "http://example.org:8o/",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://example.org@127.0.0.1/",
        "http://127.0.0.1\\@example.org/",
        "http:\\\\127.0.0.1\\",
        "http://exa mple.org/",
        "http://example.org/a b",
        " http://example.org/",
        "http://example.org/\r\nHost: evil",
        "http://example.org/\x00",
        "http://example\t.org/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%00.example.org/",
        "http://example..org/",
        "http://-example.org/",
        "http://" + "a" * 64 + ".org/",
        "http://" + "a." * 130 + "org/",
        "http://example.org/" + "a" * 9000,
        "http://[::1/",
        "http://[::1%25lo]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://\u202eexample.org/",
        "http://example\u3002\u3002org/",
    ],
)
def test_C01_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(OutboundFailed) as caught:
        parse_target(url)
    assert caught.value.kind == "refused"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [("/x", "http://a.example/x"), ("//b.example/y", "http://b.example/y"), ("z", "http://a.example/p/z")],
)
def test_redirects_are_relative_to_where_they_come_from(location: str, leads_to: str) -> None:
    assert parse_target("http://a.example/p/q").follow(location).url == leads_to


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "gopher://x/", "http://a@b/"])
def test_C02_redirects_lead_to_web_addresses_alone(location: str) -> None:
    with pytest.raises(OutboundFailed):
        parse_target("http://a.example/").follow(location)
