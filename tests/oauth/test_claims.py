"""From a provider's claims to a user name."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.sso.claims import fill_template, localpart_from

CLAIMS: dict[str, Any] = {
    "preferred_username": "Dora.Müller@example.org",
    "name": " Dora ",
    "address": {"country": "DE", "empty": ""},
    "employee": 17,
    "is_admin": True,
    "groups": ["a"],
    "http://schema.example/claim": "x",
    "dotted.name": "plain",
}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{preferred_username}", "Dora.Müller@example.org"),
        ("{name}", "Dora"),
        ("{name}-{employee}", "Dora -17"),
        ("{address.country}", "DE"),
        ("{dotted.name}", "plain"),
        ("{http://schema.example/claim}", "x"),
        ("fixed", "fixed"),
        ("{missing}", ""),
        ("{name} {missing}", ""),
        ("{address.empty}", ""),
        ("{address.missing.deeper}", ""),
        ("{is_admin}", ""),
        ("{groups}", ""),
        ("{address}", ""),
        ("{name.__class__}", ""),
    ],
)
def test_a_template_is_filled_with_texts_and_numbers_alone(template: str, filled: str) -> None:
    assert fill_template(template, CLAIMS) == filled


def test_what_a_claim_holds_is_no_template() -> None:
    assert fill_template("{a}", {"a": "{b}", "b": "secret"}) == "{b}"


def test_a_long_claim_is_cut() -> None:
    assert len(fill_template("{a}", {"a": "x" * 5000})) == 200


@pytest.mark.parametrize(
    ("text", "localpart"),
    [
        ("Dora.Müller@example.org", "dora.muller"),
        ("Dora Müller", "dora.muller"),
        ("@dora", ""),
        ("_irc_dora", "irc_dora"),
        ("d:o/r\\a\x00<script>", "do/rascript"),
        ("张伟", ""),
        ("", ""),
    ],
)
def test_a_proposed_name_is_one_that_somebody_may_have(text: str, localpart: str) -> None:
    assert localpart_from(text) == localpart
