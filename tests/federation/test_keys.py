"""Keys: our own and those that we have used, those of others, and what a notary tells and is believed for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from federation.keyring import VALID_MAX_MS, Keyring, NoKey, Notary
from federation.services import FederationSettings
from homeserver.protocol.errors import NotFound
from homeserver.protocol.signatures import key_id_of, sign, verify
from homeserver.storage.server_keys import ServerKeyStore
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.federation import FederatedServer, Network, open_federated

DAY = 24 * 3600 * 1000
KEY, OLD, NOTARY_KEY, OWN = (generate_signing_key(version) for version in ("a", "old", "n", "own"))


def public(key: SigningKey) -> str:
    return encode_base64(key.verify_key.encode())


def published(now: int, key: SigningKey = KEY, *, valid_ms: int = DAY, **members: Any) -> dict[str, Any]:
    said = {
        "server_name": "far.test",
        "verify_keys": {key_id_of(key): {"key": public(key)}},
        "valid_until_ts": now + valid_ms,
        **members,
    }
    return sign(said, "far.test", key)


class Answers:
    """Answers for a server and a notary; None: not reached."""

    def __init__(self, direct: Any = None, notary: Any = None) -> None:
        self.direct, self.notary = direct, notary
        self.asked: list[str] = []

    async def fetch_keys(self, server_name: str, *, patient: bool = False) -> Any:
        self.asked.append(server_name)
        if self.direct is None:
            raise NotFound("away")
        return self.direct

    async def query_notary(self, notary: str, server_name: str, key_ids: Collection[str]) -> Any:
        self.asked.append(notary)
        return {"server_keys": [self.notary]}


def keyring(clock: FakeClock, answers: Answers, **options: Any) -> Keyring:
    db = open_in_memory()
    return Keyring(
        db=db,
        store=ServerKeyStore(db),
        fetcher=answers,
        clock=clock,
        own_name="own.test",
        own_keys={key_id_of(OWN): get_verify_key(OWN)},
        **options,
    )


NOTARY = Notary("notary.test", {key_id_of(NOTARY_KEY): get_verify_key(NOTARY_KEY)})


async def test_B06_key_is_valid_for_seven_days_at_most_and_asked_for_again_then() -> None:
    clock = FakeClock()
    answers = Answers(published(clock.now_ms(), valid_ms=365 * DAY))
    ring = keyring(clock, answers)
    await ring.key_for_request("far.test", "ed25519:a")
    await clock.advance(VALID_MAX_MS / 1000 - 1)
    await ring.key_for_request("far.test", "ed25519:a")
    assert answers.asked == ["far.test"]
    await clock.advance(2)
    answers.direct = None
    with pytest.raises(NoKey):
        await ring.key_for_request("far.test", "ed25519:a")
    assert answers.asked == ["far.test", "far.test"]


async def test_notary_is_asked_for_the_keys_of_a_server_that_does_not_answer() -> None:
    clock = FakeClock()
    told = sign(published(clock.now_ms()), "notary.test", NOTARY_KEY)
    answers = Answers(None, told)
    found = await keyring(clock, answers, notaries=[NOTARY]).key_for_request("far.test", "ed25519:a")
    assert found.encode() == KEY.verify_key.encode()
    assert answers.asked == ["far.test", "notary.test"]


@pytest.mark.parametrize("lie", ["not signed by the notary", "signed by another", "of another server"])
async def test_B06_notary_that_lies_is_not_believed(lie: str) -> None:
    clock = FakeClock()
    said = published(clock.now_ms())
    if lie == "signed by another":
        said = sign(said, "notary.test", generate_signing_key("n"))
    elif lie == "of another server":
        said = sign(
            sign({**said, "server_name": "else.test", "signatures": {}}, "else.test", KEY), "notary.test", NOTARY_KEY
        )
    ring = keyring(clock, Answers(None, said), notaries=[NOTARY])
    with pytest.raises(NoKey):
        await ring.key_for_request("far.test", "ed25519:a")


async def test_own_old_key_is_ours_until_it_was_replaced() -> None:
    clock = FakeClock()
    now = clock.now_ms()
    ring = keyring(clock, Answers(), own_old_keys={key_id_of(OLD): (get_verify_key(OLD), now - DAY)})
    assert ring._own_key("ed25519:old", now - 2 * DAY, strict=True) == get_verify_key(OLD)
    assert ring._own_key("ed25519:old", now, strict=False) == get_verify_key(OLD)
    with pytest.raises(NoKey):
        ring._own_key("ed25519:old", now, strict=True)


async def test_old_keys_of_the_configuration_are_published_and_believed_for_their_time(network: Network) -> None:
    now = FakeClock().now_ms()
    settings = FederationSettings(old_keys={"ed25519:old": (public(OLD), now - DAY)})
    one = await open_federated(network, "one.test", federation_settings=settings)
    two = await open_federated(network, "two.test")
    said = await two.federation.client.fetch_keys("one.test")
    assert said["old_verify_keys"] == {"ed25519:old": {"key": public(OLD), "expired_ts": now - DAY}}
    verify(said, "one.test", get_verify_key(one.homeserver.settings.signing_key))
    kept = {key.key_id: key for key in two.federation.keyring.read("one.test", said)}
    assert (kept["ed25519:old"].is_old, kept["ed25519:old"].valid_until_ts) == (True, now - DAY)


async def query(server: FederatedServer, wanted: Any) -> Any:
    body = msgspec.json.encode({"server_keys": wanted})
    headers = {"content-type": "application/json"}
    reply = await server.federation_application.respond("POST", "/_matrix/key/v2/query", headers, body, "192.0.2.1")
    assert isinstance(reply.body, bytes)
    return reply.status, msgspec.json.decode(reply.body)


async def test_we_are_a_notary_for_others(network: Network, one: FederatedServer, two: FederatedServer) -> None:
    key = two.homeserver.settings.signing_key
    status, body = await query(
        one, {"two.test": {key_id_of(key): {}}, "one.test": {}, "nobody.test": {}, "no name": {}}
    )
    assert status == 200
    told = {said["server_name"]: said for said in body["server_keys"]}
    assert sorted(told) == ["one.test", "two.test"]
    verify(told["two.test"], "two.test", get_verify_key(key))
    verify(told["two.test"], "one.test", get_verify_key(one.homeserver.settings.signing_key))
    reply = await one.federation_application.respond("GET", "/_matrix/key/v2/query/two.test", {}, b"", "192.0.2.1")
    assert isinstance(reply.body, bytes)
    assert msgspec.json.decode(reply.body)["server_keys"] == [told["two.test"]]


async def test_notary_asks_again_only_for_what_must_be_valid_longer(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    key_id = key_id_of(two.homeserver.settings.signing_key)
    await query(one, {"two.test": {key_id: {}}})
    now = one.clock.now_ms()

    async def asked_for(until: int) -> int:
        network.requests.clear()
        _, body = await query(one, {"two.test": {key_id: {"minimum_valid_until_ts": until}}})
        assert len(body["server_keys"]) == 1
        return len([request for origin, request in network.requests if request.url.endswith("/key/v2/server")])

    await one.clock.advance(61)
    await two.clock.advance(61)
    assert await asked_for(now + DAY - 1) == 0
    assert await asked_for(now + DAY + 1) == 1
    assert await asked_for(now + 30 * DAY) == 0  # nothing is asked for twice within a minute


async def test_B08_notary_remembers_over_a_restart_what_others_published(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    key_id = key_id_of(two.homeserver.settings.signing_key)
    _, before = await query(one, {"two.test": {key_id: {}}})
    await one.federation.stop()
    network.lost = lambda origin, request: True
    network.requests.clear()
    again = await open_federated(network, "one.test", one.homeserver.db)
    status, body = await query(again, {"two.test": {key_id: {}}})
    assert status == 200
    told, was = body["server_keys"][0], before["server_keys"][0]
    assert {name: told[name] for name in was if name != "signatures"} == {
        name: was[name] for name in was if name != "signatures"
    }
    verify(told, "two.test", get_verify_key(two.homeserver.settings.signing_key))
    verify(told, "one.test", get_verify_key(again.homeserver.settings.signing_key))
    assert not network.requests


async def test_B07_notary_tells_nothing_of_a_key_that_was_blocked_since(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    key = two.homeserver.settings.signing_key
    await query(one, {"two.test": {key_id_of(key): {}}})
    await one.federation.stop()
    settings = FederationSettings(blocked_keys=[public(key)])
    again = await open_federated(network, "one.test", one.homeserver.db, settings)
    assert (await query(again, {"two.test": {}}))[1] == {"server_keys": []}


async def test_notary_passes_on_what_a_notary_told_of_a_server_that_does_not_answer() -> None:
    clock = FakeClock()
    said = published(clock.now_ms())
    ring = keyring(clock, Answers(None, sign(said, "notary.test", NOTARY_KEY)), notaries=[NOTARY])
    told = await ring.find_published("far.test", {"ed25519:a": None})
    assert told is not None
    assert told["verify_keys"] == said["verify_keys"]
    verify(told, "far.test", get_verify_key(KEY))


async def test_key_is_replaced_and_what_the_old_one_signed_is_still_believed(network: Network) -> None:
    """As docs/federation.md tells operators to do it."""
    two = await open_federated(network, "two.test")
    one = await open_federated(network, "one.test")
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    said = await alice.say(room_id, "before")
    await one.clock.advance(60)
    old = one.homeserver.settings.signing_key
    await one.federation.stop()
    settings = FederationSettings(old_keys={key_id_of(old): (public(old), one.clock.now_ms())})
    again = await open_federated(network, "one.test", one.homeserver.db, settings)
    await again.clock.advance(120)
    await two.clock.advance(120)
    assert key_id_of(again.homeserver.settings.signing_key) != key_id_of(old)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=50)
    assert said in {event["event_id"] for event in page["chunk"]}


@pytest.mark.parametrize("wanted", [[], {f"s{number}.test": {} for number in range(21)}, {"two.test": 1}])
async def test_query_for_too_much_is_refused(one: FederatedServer, wanted: Any) -> None:
    status, body = await query(one, wanted)
    assert (status, body["errcode"]) == (400, "M_INVALID_PARAM")
