"""Signing and hashing: the specification's published vectors, and events of ours and of others."""

from __future__ import annotations

from typing import Any

import pytest
import signedjson.key
from signedjson.types import SigningKey, VerifyKey

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson, TooLarge
from homeserver.protocol.event_format import check_format, parse_event
from homeserver.protocol.hashes import content_hash, event_id_of, has_valid_content_hash, reference_hash
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import ROOM_VERSIONS, V1, V3, V12, RoomVersion
from homeserver.protocol.signatures import (
    InvalidSignature,
    required_signers,
    seal_event,
    sign,
    sign_event,
    verify,
    verify_event,
)
from tests.protocol.furnished_room import ALL_VERSIONS, BOB, DAN, Room

# Spec: appendices, "Cryptographic Test Vectors".
SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
KEY: SigningKey = signedjson.key.decode_signing_key_base64("ed25519", "1", SEED)
PUBLIC: VerifyKey = signedjson.key.get_verify_key(KEY)
OTHER: SigningKey = signedjson.key.decode_signing_key_base64("ed25519", "1", "A" * 43)

MINIMAL: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE: dict[str, Any] = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}


@pytest.mark.parametrize(
    ("obj", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_signing_json_as_the_specification_publishes(obj: dict[str, Any], signature: str) -> None:
    assert sign(obj, "domain", KEY) == {**obj, "signatures": {"domain": {"ed25519:1": signature}}}


@pytest.mark.parametrize(
    ("event", "sha256", "signature"),
    [
        (
            MINIMAL,
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            REDACTABLE,
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_signing_events_as_the_specification_publishes(event: dict[str, Any], sha256: str, signature: str) -> None:
    assert content_hash(event) == sha256
    hashed = {**event, "hashes": {"sha256": sha256}}
    signed = sign_event(hashed, V1, "domain", KEY)
    assert signed == {**hashed, "signatures": {"domain": {"ed25519:1": signature}}}
    verify_event(signed, V1, "domain", PUBLIC)
    verify_event(redact(signed, V1), V1, "domain", PUBLIC)


def test_signing_keeps_other_signatures_and_unsigned_and_leaves_the_object_alone() -> None:
    obj = {"a": 1, "unsigned": {"age": 3}, "signatures": {"other": {"k": "s"}, "domain": {"ed25519:0": "old"}}}
    before = repr(obj)
    signed = sign(obj, "domain", KEY)
    assert repr(obj) == before
    assert signed["unsigned"] == {"age": 3}
    assert signed["signatures"]["other"] == {"k": "s"}
    assert set(signed["signatures"]["domain"]) == {"ed25519:0", "ed25519:1"}
    verify(signed, "domain", PUBLIC)
    verify({**signed, "unsigned": {"age": 4}}, "domain", PUBLIC)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda signed: {**signed, "a": 2},
        lambda signed: {**signed, "b": None},
        lambda signed: {key: value for key, value in signed.items() if key != "signatures"},
        lambda signed: {**signed, "signatures": []},
        lambda signed: {**signed, "signatures": {"domain": []}},
        lambda signed: {**signed, "signatures": {"other": signed["signatures"]["domain"]}},
        lambda signed: {**signed, "signatures": {"domain": {"ed25519:1": 5}}},
        lambda signed: {**signed, "signatures": {"domain": {"ed25519:1": ""}}},
        lambda signed: {**signed, "signatures": {"domain": {"ed25519:1": "A" * 86}}},
        lambda signed: {**signed, "signatures": {"domain": {"ed25519:1": "ä!?"}}},
        lambda signed: sign({"a": 1}, "domain", OTHER),
    ],
)
def test_spoiled_signatures_are_refused(spoil: Any) -> None:
    with pytest.raises(InvalidSignature):
        verify(spoil(sign({"a": 1}, "domain", KEY)), "domain", PUBLIC)


def _draft(version: RoomVersion, **members: Any) -> dict[str, Any]:
    pdu: dict[str, Any] = {
        "type": "m.room.message",
        "content": {"body": "Grüße, 日本", "msgtype": "m.text"},
        "sender": "@alice:domain",
        "room_id": "!" + "r" * 43 if version.room_id_is_create_hash else "!r:domain",
        "depth": 7,
        "origin_server_ts": 1_700_000_000_000,
        "prev_events": [],
        "auth_events": [],
    }
    if version.has_event_ids_in_pdus:
        pdu["event_id"] = "$abc:domain"
    return {**pdu, **members}


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_sealed_event_is_hashed_signed_named_and_well_formed(version: RoomVersion) -> None:
    draft = _draft(version)
    before = repr(draft)
    event = seal_event(draft, version, "domain", KEY)
    assert repr(draft) == before
    assert has_valid_content_hash(event.pdu)
    verify_event(event.pdu, version, "domain", PUBLIC)
    assert event.event_id == event_id_of(event.pdu, version)
    check_format(event.pdu, version)
    again = parse_event({**event.pdu, "unsigned": {"age": 1}}, version)
    assert (again.event_id, again.pdu) == (event.event_id, event.pdu)
    assert {name: value for name, value in event.pdu.items() if name not in ("hashes", "signatures")} == draft


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_sealing_equals_the_steps_of_the_specification(version: RoomVersion) -> None:
    draft = _draft(version)
    slow = sign_event({**draft, "hashes": {"sha256": content_hash(draft)}}, version, "domain", KEY)
    assert seal_event(draft, version, "domain", KEY).pdu == slow


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_D06_no_event_of_ours_leaves_canonical_json(version: RoomVersion) -> None:
    for value in (1.5, 2**53, "\ud800", float("nan")):
        with pytest.raises(BadJson):
            seal_event(_draft(version, content={"body": value}), version, "domain", KEY)


def test_A19_too_large_an_event_is_not_sealed() -> None:
    with pytest.raises(TooLarge):
        seal_event(_draft(V12, content={"body": "x" * 65_536}), V12, "domain", KEY)
    with pytest.raises(TooLarge):
        seal_event(_draft(V12, type="ü" * 128), V12, "domain", KEY)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A18_event_with_a_wrong_content_hash_is_redacted_and_keeps_its_id(version: RoomVersion) -> None:
    event = seal_event(_draft(version), version, "domain", KEY)
    forged = parse_event({**event.pdu, "content": {"body": "forged"}}, version)
    assert forged.content == {}
    assert forged.event_id == event.event_id
    verify_event(forged.pdu, version, "domain", PUBLIC)
    whole = parse_event(event.pdu, version)
    assert whole.content == event.content


@pytest.mark.parametrize("hashes", [{}, {"sha256": 5}, {"sha256": "?"}, {"sha256": "ä"}, {"md5": "x"}, {"sha256": ""}])
def test_A18_event_without_a_usable_hash_is_redacted(hashes: dict[str, Any]) -> None:
    event = parse_event({**seal_event(_draft(V12), V12, "domain", KEY).pdu, "hashes": hashes}, V12)
    assert event.content == {}


def test_A18_event_id_is_computed_and_never_believed() -> None:
    event = seal_event(_draft(V12), V12, "domain", KEY)
    claimed = parse_event({**event.pdu, "event_id": "$" + "x" * 43}, V12)
    # `event_id` is among what redaction keeps, so it changes the reference hash as any other member does.
    assert claimed.event_id not in (event.event_id, "$" + "x" * 43)


def test_event_id_formats() -> None:
    assert seal_event(_draft(V1), V1, "domain", KEY).event_id == "$abc:domain"
    pdu = _draft(V12, hashes={"sha256": ""})
    for version, alphabet in ((V3, "+/"), (ROOM_VERSIONS["4"], "-_")):
        ids = {event_id_of({**pdu, "depth": depth}, version) for depth in range(40)}
        assert all(len(event_id) == 44 and event_id[0] == "$" for event_id in ids)
        used = {character for event_id in ids for character in event_id[1:] if not character.isalnum()}
        assert used == set(alphabet)
    assert event_id_of(pdu, V3)[1:] == reference_hash(pdu, V3)


def test_event_of_v1_without_id_is_refused() -> None:
    for event_id in (None, 5):
        with pytest.raises(BadJson):
            event_id_of({"type": "X", "content": {}, "event_id": event_id}, V1)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_servers_that_must_have_signed(version: RoomVersion) -> None:
    room = Room.furnished(version)
    message = room.event("m.room.message", {}, sender="@x:b.example", event_id="$1:c.example")
    explicit = {"c.example"} if version.has_event_ids_in_pdus else set()
    assert required_signers(message) == {"b.example"} | explicit
    invite = {"membership": "invite", "third_party_invite": {}}
    invited = room.event("m.room.member", invite, DAN, sender="@x:b.example", event_id="$1:c.example")
    assert required_signers(invited) == explicit
    joined = {"membership": "join", "join_authorised_via_users_server": BOB}
    join = room.event("m.room.member", joined, DAN, sender="@x:b.example", event_id="$1:c.example")
    authoriser = {"a.example"} if version.restricted else set()
    assert required_signers(join) == {"b.example"} | authoriser | explicit


def test_keys_of_v12_rooms_name_the_room_by_the_create_event_A02() -> None:
    draft = _draft(V12, type="m.room.create", content={"room_version": "12"}, state_key="")
    del draft["room_id"]
    create = seal_event(draft, V12, "domain", KEY)
    assert create.room_id == "!" + create.event_id[1:]
    assert "room_id" not in create.pdu
    assert canonical_json.encode(create.pdu).count(create.room_id.encode()) == 0
