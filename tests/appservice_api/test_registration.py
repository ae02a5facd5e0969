"""Registration files: what is refused, and with which sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from homeserver.appservice_api.registration import RegistrationRefused, load_registration, parse_registration
from homeserver.appservice_api.registry import Registry
from tests.appservice_api.appservices import document, registration
from tests.support.server import SERVER_NAME


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "irc.yaml"
    file.write_text(yaml.safe_dump(document(protocols=["irc"], receive_ephemeral=True)))
    appservice = load_registration(file, SERVER_NAME)
    assert appservice.sender == f"@ircbot:{SERVER_NAME}"
    assert appservice.url == "http://irc.test"
    assert appservice.protocols == ("irc",)
    assert appservice.receive_ephemeral
    assert appservice.may_act_as(f"@_irc_bob:{SERVER_NAME}")
    assert appservice.may_act_as(appservice.sender)
    assert not appservice.may_act_as(f"@bob:{SERVER_NAME}")


def test_secrets_are_not_in_its_repr() -> None:
    assert "token of irc" not in repr(registration())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"as_token": ""}, "two different secrets"),
        ({"hs_token": "as_token of irc"}, "two different secrets"),
        ({"sender_localpart": "a:b"}, "not a user id"),
        ({"url": "irc.test"}, "must begin with http"),
        ({"namespaces": {"users": [{"exclusive": True, "regex": "("}]}}, r"namespaces.users\[0\].regex"),
        ({"namespaces": {"users": [{"regex": 5}]}}, "regex"),
        ({"rate_limited": "yes"}, "rate_limited"),
    ],
)
def test_F10_a_wrong_registration_is_refused_with_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RegistrationRefused, match=sentence):
        parse_registration(document(**changes), SERVER_NAME, source="irc.yaml")


@pytest.mark.parametrize("text", ["", "- a list", "id: [", "id: irc"])
def test_F10_a_file_that_is_no_registration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "irc.yaml"
    file.write_text(text)
    with pytest.raises(RegistrationRefused, match=r"irc\.yaml"):
        load_registration(file, SERVER_NAME)


@pytest.mark.parametrize("same", ["id", "as_token", "hs_token", "sender_localpart"])
def test_F10_two_services_share_neither_name_nor_secret(same: str) -> None:
    with pytest.raises(RegistrationRefused, match="the same"):
        Registry([registration("irc"), registration("xmpp", **{same: document("irc")[same]})])


def test_a_regex_matches_whole_names_only() -> None:
    appservice = registration(namespaces={"users": [{"regex": "@_irc_", "exclusive": True}]})
    assert not appservice.may_act_as(f"@_irc_bob:{SERVER_NAME}")
