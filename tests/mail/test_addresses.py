"""E-mail addresses and the one form in which they are compared."""

from __future__ import annotations

import pytest

from homeserver.mail.addresses import canonical_address, domain_of_address


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Alice@Example.ORG", "alice@example.org"),
        ("Strauß@Example.com", "strauss@example.com"),
        (" alice+tag@example.org\t", "alice+tag@example.org"),
        ("o'neil@mail.example.org", "o'neil@mail.example.org"),
        ("用户@例子.测试", "用户@例子.测试"),
        ("a@localhost", "a@localhost"),
    ],
)
def test_addresses_are_folded(typed: str, kept: str) -> None:
    assert canonical_address(typed) == kept


@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "@b", "a@b@c", "a b@c.d", "a@b..c", "a@b.", "<a@b.c>", "mailto:a@b.c", "a@b.c\nx", "a" * 300],
)
def test_other_text_is_no_address(text: str) -> None:
    assert canonical_address(text) is None


def test_domains_in_headers_are_ascii() -> None:
    assert domain_of_address("a@例子.测试") == "xn--fsqu00a.xn--0zwm56d"
