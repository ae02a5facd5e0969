"""The device lists of users of other servers: kept, followed, and asked for anew where an update is missing."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.http.application import Reply
from tests.federation.lies import Scene
from tests.support.clock import FakeClock
from tests.support.clock import settle as let_run
from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.key_material import DeviceMaterial, Identity, Signer
from tests.support.liar import Asked
from tests.support.server import User

DEVICES = "/user/devices/"
LIVE = "/user/keys/query"


class Phone:
    """What the liar's server truly says of its user's devices."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.user = scene.liar.user
        self.stream_id = 1
        self.devices: dict[str, dict[str, Any]] = {}
        self.names: dict[str, str] = {}
        self.keys: dict[str, Any] = {}
        self.is_down = False
        scene.liar.answers[DEVICES] = self._list
        scene.liar.answers[LIVE] = self._live

    def _list(self, asked: Asked) -> tuple[int, Any]:
        if self.is_down:
            return 500, {}
        devices: list[dict[str, Any]] = [{"device_id": name, "keys": keys} for name, keys in self.devices.items()]
        for device in devices:
            if device["device_id"] in self.names:
                device["device_display_name"] = self.names[device["device_id"]]
        return 200, {"user_id": self.user, "stream_id": self.stream_id, "devices": devices, **self.keys}

    def _live(self, asked: Asked) -> tuple[int, Any]:
        if self.is_down:
            return 500, {}
        return 200, {"device_keys": {self.user: self.devices}}

    def add(self, name: str, **extra: Any) -> dict[str, Any]:
        """A new device, and the update that tells of it."""
        self.devices[name] = DeviceMaterial(self.user, name).device_keys()
        before, self.stream_id = self.stream_id, self.stream_id + 1
        return {
            "user_id": self.user,
            "device_id": name,
            "stream_id": self.stream_id,
            "prev_id": [before],
            "keys": self.devices[name],
            **extra,
        }

    async def tell(self, *contents: dict[str, Any], kind: str = "m.device_list_update") -> None:
        await self.scene.liar.send(self.scene.one, edus=[{"edu_type": kind, "content": one} for one in contents])
        await let_run(100)

    async def known(self) -> list[str]:
        """The devices of the liar's user that Alice is told of."""
        answer = await self.scene.alice.post("/keys/query", {"device_keys": {self.user: []}})
        await let_run(100)
        return sorted(answer["device_keys"].get(self.user, {}))

    async def followed(self) -> None:
        """Until the list is kept."""
        await self.known()
        self.asked()

    def asked(self) -> tuple[int, int]:
        """(lists, live queries) that the liar was asked for since the last time."""
        targets = [asked.target for asked in self.scene.liar.asked]
        self.scene.liar.asked.clear()
        return sum(DEVICES in target for target in targets), sum(LIVE in target for target in targets)


@pytest.fixture
def phone(scene: Scene) -> Phone:
    return Phone(scene)


async def changed(user: User, since: str) -> list[str]:
    body = await user.sync(since=since)
    found: list[str] = body.get("device_lists", {}).get("changed", [])
    return found


async def test_list_is_fetched_once_and_answers_from_then_on(phone: Phone) -> None:
    phone.add("ONE")
    phone.names["ONE"] = "电话"
    assert await phone.known() == ["ONE"]
    assert phone.asked() == (1, 1)
    for _ in range(3):
        answer = await phone.scene.alice.post("/keys/query", {"device_keys": {phone.user: []}})
        told = answer["device_keys"][phone.user]["ONE"]
        assert told["keys"] == phone.devices["ONE"]["keys"]
        assert told["signatures"] == phone.devices["ONE"]["signatures"]
        assert told["unsigned"] == {"device_display_name": "电话"}
        assert answer["failures"] == {}
    assert phone.asked() == (0, 0)
    one_of_none = await phone.scene.alice.post("/keys/query", {"device_keys": {phone.user: ["OTHER"]}})
    assert one_of_none["device_keys"][phone.user] == {}


async def test_who_shares_no_room_is_asked_every_time_and_not_followed(phone: Phone) -> None:
    phone.user = "@stranger:liar.test"
    phone.add("ONE")
    for _ in range(2):
        assert await phone.known() == ["ONE"]
        assert phone.asked() == (0, 1)


async def test_updates_in_their_order_are_taken_without_asking(phone: Phone) -> None:
    phone.add("ONE")
    await phone.followed()
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell(phone.add("TWO"), phone.add("THREE", device_display_name="板"))
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert await phone.known() == ["ONE", "THREE", "TWO"]
    gone = phone.add("TWO", deleted=True)
    del gone["keys"]
    await phone.tell(gone)
    assert await phone.known() == ["ONE", "THREE"]
    assert phone.asked() == (0, 0)


async def test_an_update_that_comes_twice_is_no_news(phone: Phone) -> None:
    phone.add("ONE")
    await phone.followed()
    update = phone.add("TWO")
    await phone.tell(update)
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell(update, update)
    assert await changed(phone.scene.alice, since) == []
    assert phone.asked() == (0, 0)


async def test_B24_a_gap_makes_the_list_be_fetched_anew(phone: Phone) -> None:
    phone.add("ONE")
    await phone.followed()
    phone.add("LOST")
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell(phone.add("TWO"))
    assert phone.asked() == (1, 0)
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert await phone.known() == ["LOST", "ONE", "TWO"]
    await phone.tell(phone.add("THREE"))
    assert await phone.known() == ["LOST", "ONE", "THREE", "TWO"]
    assert phone.asked() == (0, 0)


@pytest.mark.parametrize(
    "broken", [{"stream_id": "x"}, {"prev_id": 7}, {"device_id": ""}, {"stream_id": 2**60}, {"prev_id": []}]
)
async def test_B24_an_update_that_cannot_be_followed_makes_the_list_be_fetched_anew(
    phone: Phone, broken: dict[str, Any]
) -> None:
    phone.add("ONE")
    await phone.followed()
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell({**phone.add("TWO"), **broken})
    assert phone.asked()[0] == 1
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert await phone.known() == ["ONE", "TWO"]


async def test_B24_a_list_that_cannot_be_had_is_asked_for_less_and_less_often(phone: Phone) -> None:
    clock = phone.scene.one.clock
    assert isinstance(clock, FakeClock)
    phone.add("ONE")
    await phone.followed()
    phone.is_down = True
    phone.add("LOST")
    await phone.tell(phone.add("TWO"))
    assert phone.asked() == (1, 0)
    answer = await phone.scene.alice.post("/keys/query", {"device_keys": {phone.user: []}})
    assert list(answer["device_keys"][phone.user]) == ["ONE"]
    assert "liar.test" in answer["failures"]
    await clock.advance(6 * 3600)
    asked = phone.asked()[0]
    assert 3 <= asked <= 12
    since = (await phone.scene.alice.sync())["next_batch"]
    phone.is_down = False
    await clock.advance(12 * 3600)
    assert phone.asked() == (1, 0)
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert await phone.known() == ["LOST", "ONE", "TWO"]
    assert phone.asked() == (0, 0)


async def test_B24_a_server_that_is_there_again_is_asked_at_once(phone: Phone) -> None:
    phone.add("ONE")
    await phone.followed()
    phone.is_down = True
    phone.add("LOST")
    await phone.tell(phone.add("TWO"))
    phone.is_down = False
    phone.asked()
    await phone.scene.liar.request(phone.scene.one, "GET", "/_matrix/federation/v1/query/profile?user_id=x")
    await let_run(100)
    assert phone.asked() == (1, 0)
    assert await phone.known() == ["LOST", "ONE", "TWO"]


async def test_B24_an_update_during_the_fetch_makes_it_be_done_again(phone: Phone) -> None:
    phone.add("ONE")
    await phone.followed()
    phone.add("LOST")
    respond, updates = phone.scene.liar.respond, [phone.add("TWO")]

    async def answer_late(method: str, target: str, *rest: Any) -> Reply:
        reply = await respond(method, target, *rest)
        if DEVICES in target and len(updates) == 1:
            updates.append(phone.add("THREE"))
            await phone.tell(updates[1])  # while the answer is on its way
        return reply

    phone.scene.liar.respond = answer_late  # type: ignore[method-assign,assignment]
    await phone.tell(updates[0])
    await let_run(300)
    assert phone.asked() == (2, 0)
    assert await phone.known() == ["LOST", "ONE", "THREE", "TWO"]
    assert phone.asked() == (0, 0)


async def test_B24_a_stale_list_is_fetched_after_a_restart(network: Network, phone: Phone) -> None:
    scene = phone.scene
    phone.add("ONE")
    await phone.followed()
    phone.is_down = True
    phone.add("LOST")
    await phone.tell(phone.add("TWO"))
    await scene.one.federation.stop()
    phone.is_down = False
    phone.asked()
    again = await open_federated(network, "one.test", scene.one.homeserver.db)
    assert isinstance(again.clock, FakeClock)
    await again.clock.advance(3600)
    assert phone.asked() == (1, 0)
    answer = await again.homeserver.encryption.key_queries.query(scene.alice.user_id, {phone.user: []}, 1000)
    assert sorted(answer["device_keys"][phone.user]) == ["LOST", "ONE", "TWO"]
    assert answer["failures"] == {}
    assert phone.asked() == (0, 0)


async def test_B24_of_a_flood_of_devices_a_thousand_are_kept(phone: Phone) -> None:
    material = DeviceMaterial(phone.user, "D").device_keys()
    for number in range(1_100):
        name = f"D{number}"
        keys = {f"ed25519:{name}": material["keys"]["ed25519:D"]}
        phone.devices[name] = {**material, "device_id": name, "keys": keys}
    await phone.followed()
    assert len(await phone.known()) == 1_000
    await phone.tell(phone.add("NEW"))
    assert len(await phone.known()) == 1_000


async def test_B24_huge_keys_of_one_user_fill_no_disk(phone: Phone) -> None:
    for number in range(100):
        phone.add(f"D{number}")
        phone.devices[f"D{number}"]["padding"] = "x" * 30_000
    await phone.followed()
    known = await phone.known()
    assert 60 <= len(known) < 75
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell(phone.add("SMALL"))  # which still has room
    big = phone.add("BIG")
    big["keys"]["padding"] = "x" * 32_000
    await phone.tell(big, phone.add("D0"))
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert set(await phone.known()) == {*known, "SMALL", "D0"}


async def test_B23_of_a_list_only_what_clients_understand_is_kept(phone: Phone) -> None:
    phone.add("GOOD")
    good = phone.devices["GOOD"]
    phone.devices["NUMBERS"] = {**good, "device_id": "NUMBERS", "algorithms": 7}
    phone.devices["OTHER"] = good
    phone.devices["BIG"] = {**good, "device_id": "BIG", "x": "x" * 100_000}
    phone.keys = {"master_key": {"user_id": phone.user}, "self_signing_key": 7}
    await phone.followed()
    answer = await phone.scene.alice.post("/keys/query", {"device_keys": {phone.user: []}})
    assert list(answer["device_keys"][phone.user]) == ["GOOD"]
    assert answer["master_keys"] == answer["self_signing_keys"] == {}
    bad = phone.add("GOOD", keys={"user_id": phone.user})
    await phone.tell(bad)
    assert await phone.known() == []


async def test_cross_signing_keys_are_kept_and_replaced(phone: Phone) -> None:
    def key(usage: str, seed: str) -> dict[str, Any]:
        signer = Signer(phone.user, seed)
        return {"user_id": phone.user, "usage": [usage], "keys": {signer.key_id: signer.public_key}}

    async def told() -> tuple[Any, Any]:
        answer = await phone.scene.alice.post("/keys/query", {"device_keys": {phone.user: []}})
        keys = [answer[f"{usage}_keys"].get(phone.user, {}).get("keys") for usage in ("master", "self_signing")]
        return keys[0], keys[1]

    old, new = key("master", "old"), key("master", "new")
    selfsign = key("self_signing", "self")
    phone.add("ONE")
    phone.keys = {"master_key": old, "self_signing_key": selfsign}
    await phone.followed()
    assert await told() == (old["keys"], selfsign["keys"])
    since = (await phone.scene.alice.sync())["next_batch"]
    await phone.tell({"user_id": phone.user, "master_key": new}, kind="m.signing_key_update")
    assert await changed(phone.scene.alice, since) == [phone.user]
    assert await told() == (new["keys"], selfsign["keys"])
    assert phone.asked() == (0, 0)
    phone.keys = {"master_key": old}
    await phone.tell({"user_id": phone.user, "master_key": {"user_id": phone.user}}, kind="m.signing_key_update")
    assert phone.asked() == (1, 0)
    assert await told() == (old["keys"], None)


async def test_leaving_the_last_shared_room_forgets_the_list(phone: Phone) -> None:
    scene = phone.scene
    phone.add("ONE")
    await phone.followed()
    other = await scene.alice.create_room(preset="public_chat")
    await scene.liar.join(scene.one, other)
    since = (await scene.alice.sync())["next_batch"]
    await scene.alice.post(f"/rooms/{other}/leave", {})
    await let_run(100)
    assert await phone.known() == ["ONE"]
    assert phone.asked() == (0, 0)
    await scene.alice.post(f"/rooms/{scene.room_id}/leave", {})
    await let_run(100)
    assert (await scene.alice.sync(since=since))["device_lists"] == {"changed": [], "left": [phone.user]}
    phone.add("TWO")
    assert await phone.known() == ["ONE", "TWO"]
    assert phone.asked() == (0, 1)
    assert await scene.one.federation.device_lists._store.find_list(phone.user) is None


async def test_whoever_leaves_is_forgotten(phone: Phone) -> None:
    scene = phone.scene
    phone.add("ONE")
    await phone.followed()
    leave = scene.liar.event(scene.room, "m.room.member", {"membership": "leave"}, state_key=phone.user)
    await scene.liar.send(scene.one, leave)
    await let_run(100)
    assert await scene.one.federation.device_lists._store.find_list(phone.user) is None


async def test_updates_of_strangers_leave_no_trace(phone: Phone) -> None:
    store = phone.scene.one.homeserver.users.device_lists
    phone.user = "@stranger:liar.test"
    await phone.tell(phone.add("ONE"))
    assert phone.user not in await store.list_changed_users(0, 2**53)


@pytest.fixture
async def pair(one: FederatedServer, two: FederatedServer) -> tuple[User, User]:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    return alice, bob


async def test_two_servers_of_ours_tell_each_other_of_every_device(
    one: FederatedServer, two: FederatedServer, pair: tuple[User, User]
) -> None:
    alice, bob = pair

    async def known() -> list[str]:
        answer = await alice.post("/keys/query", {"device_keys": {bob.user_id: []}})
        await settle(one, two)
        return sorted(answer["device_keys"][bob.user_id])

    names = [bob.device_id]
    await bob.post("/keys/upload", {"device_keys": DeviceMaterial(bob.user_id, bob.device_id).device_keys()})
    await settle(one, two)
    assert await known() == names
    for _ in range(3):
        since = (await alice.sync())["next_batch"]
        other = await two.log_in("bob")
        await other.post("/keys/upload", {"device_keys": DeviceMaterial(bob.user_id, other.device_id).device_keys()})
        names.append(other.device_id)
        await settle(one, two)
        assert await changed(alice, since) == [bob.user_id]
        assert await known() == sorted(names)
    await other.post("/logout", {})
    await settle(one, two)
    assert await known() == sorted(names[:-1])


async def test_two_servers_of_ours_tell_each_other_who_their_users_are_by_cross_signing(
    one: FederatedServer, two: FederatedServer, pair: tuple[User, User]
) -> None:
    alice, bob = pair
    identity = Identity(bob.user_id)
    wanted: dict[str, Any] = {"device_keys": {bob.user_id: []}}
    await bob.post("/keys/upload", {"device_keys": DeviceMaterial(bob.user_id, bob.device_id).device_keys()})
    await settle(one, two)
    await alice.post("/keys/query", wanted)
    await settle(one, two)
    since = (await alice.sync())["next_batch"]
    await bob.post("/keys/device_signing/upload", identity.upload())
    await settle(one, two)
    assert await changed(alice, since) == [bob.user_id]
    answer = await alice.post("/keys/query", wanted)
    assert answer["master_keys"][bob.user_id]["keys"] == identity.key("master")["keys"]
    assert answer["self_signing_keys"][bob.user_id]["keys"] == identity.key("self_signing")["keys"]
    assert answer["user_signing_keys"] == {}
    signed = identity.self_signing.signed(DeviceMaterial(bob.user_id, bob.device_id).device_keys())
    since = (await alice.sync())["next_batch"]
    await bob.post("/keys/signatures/upload", {bob.user_id: {bob.device_id: signed}})
    await settle(one, two)
    assert await changed(alice, since) == [bob.user_id]
    told = (await alice.post("/keys/query", wanted))["device_keys"][bob.user_id][bob.device_id]
    assert identity.self_signing.key_id in told["signatures"][bob.user_id]


async def test_alice_signs_the_key_of_somebody_elsewhere_and_sees_it_beside_what_is_kept(
    one: FederatedServer, two: FederatedServer, pair: tuple[User, User]
) -> None:
    alice, bob = pair
    hers, his = Identity(alice.user_id), Identity(bob.user_id)
    await alice.post("/keys/device_signing/upload", hers.upload())
    await bob.post("/keys/device_signing/upload", his.upload())
    await settle(one, two)
    for _ in range(2):
        await alice.post("/keys/query", {"device_keys": {bob.user_id: []}})
        await settle(one, two)
    signed = hers.user_signing.signed(his.key("master"))
    body = {bob.user_id: {his.master.public_key: signed}}
    assert (await alice.post("/keys/signatures/upload", body))["failures"] == {}
    for user, sees in ((alice, True), (await one.register("carol"), False)):
        master = (await user.post("/keys/query", {"device_keys": {bob.user_id: []}}))["master_keys"][bob.user_id]
        assert (alice.user_id in master.get("signatures", {})) is sees
