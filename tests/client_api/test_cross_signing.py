"""Cross-signing keys and signatures over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.key_material import DeviceMaterial, Identity, Signer
from tests.support.server import PASSWORD, Server, User

UPLOAD = "/keys/device_signing/upload"
UNSTABLE = "/_matrix/client/unstable/keys/device_signing/upload"


async def publish(user: User) -> DeviceMaterial:
    made = DeviceMaterial(user.user_id, user.device_id)
    await user.post("/keys/upload", {"device_keys": made.device_keys()})
    return made


async def query(user: User, other: User) -> Any:
    return await user.post("/keys/query", {"device_keys": {other.user_id: []}})


async def with_password(user: User, body: dict[str, Any], path: str = UPLOAD) -> int:
    asked = await user.request("POST", path, body)
    assert asked.status == 401, asked.body
    identifier = {"type": "m.id.user", "user": user.user_id}
    auth = {"type": "m.login.password", "session": asked.json["session"], "password": PASSWORD}
    return (await user.request("POST", path, {**body, "auth": {**auth, "identifier": identifier}})).status


async def sign(user: User, target: User, key_id: str, signed: Any) -> Any:
    answer = await user.post("/keys/signatures/upload", {target.user_id: {key_id: signed}})
    return answer["failures"].get(target.user_id, {}).get(key_id, {}).get("errcode")


@pytest.mark.parametrize("path", [UPLOAD, UNSTABLE])
async def test_first_keys_need_no_proof_and_others_do(whole_server: Server, path: str) -> None:
    alice = await whole_server.register("alice")
    first, second = Identity(alice.user_id), Identity(alice.user_id, "second ")
    await alice.post(path, first.upload())
    await alice.post(path, first.upload())
    asked = await alice.request("POST", path, second.upload())
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.password"]}]
    body = await query(alice, alice)
    assert body["master_keys"][alice.user_id]["keys"] == first.key("master")["keys"]
    assert await with_password(alice, second.upload(), path) == 200
    body = await query(alice, alice)
    for usage in ("master", "self_signing", "user_signing"):
        assert body[f"{usage}_keys"][alice.user_id]["keys"] == second.key(usage)["keys"]


async def test_user_signing_key_is_shown_to_its_owner_alone(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    identity = Identity(bob.user_id)
    await bob.post(UPLOAD, identity.upload())
    seen = await query(alice, bob)
    assert seen["master_keys"] == {bob.user_id: {**identity.key("master"), "signatures": {}}}
    assert seen["self_signing_keys"] == {bob.user_id: identity.key("self_signing")}
    assert seen["user_signing_keys"] == {}
    assert (await query(bob, bob))["user_signing_keys"] == {bob.user_id: identity.key("user_signing")}


async def test_keys_must_be_signed_by_the_master_key(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    right, wrong = Identity(alice.user_id), Identity(alice.user_id, "other ")
    for usage in ("self_signing", "user_signing"):
        body = {"master_key": right.key("master"), f"{usage}_key": wrong.key(usage)}
        answer = await alice.request("POST", UPLOAD, body)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_SIGNATURE")
    answer = await alice.request("POST", UPLOAD, {"self_signing_key": right.key("self_signing")})
    assert (answer.status, answer.json["errcode"]) == (400, "M_MISSING_PARAM")
    assert (await query(alice, alice))["master_keys"] == {}
    await alice.post(UPLOAD, {"master_key": right.key("master")})
    assert await with_password(alice, {"self_signing_key": right.key("self_signing")}) == 200


async def test_B23_malformed_cross_signing_keys_are_refused(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    key = Identity(alice.user_id).key("master")
    for wrong in (
        Identity(bob.user_id).key("master"),
        {**key, "usage": ["self_signing"]},
        {**key, "keys": {}},
        {**key, "keys": {"ed25519:short": "short"}},
        {**key, "keys": {**key["keys"], "ed25519:x": "x"}},
        {**key, "keys": {"ed25519:one": next(iter(key["keys"].values()))}},
        {**key, "usage": "master"},
        {**key, "more": 0.5},
        {**key, "signatures": {alice.user_id: {"ed25519:A": {}}}},
    ):
        answer = await alice.request("POST", UPLOAD, {"master_key": wrong})
        assert answer.status == 400, wrong
        assert answer.json["errcode"] in ("M_INVALID_PARAM", "M_BAD_JSON")
    assert (await query(alice, alice))["master_keys"] == {}


async def test_device_and_cross_signing_key_cannot_have_one_name(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    identity = Identity(alice.user_id)
    device = await whole_server.log_in("alice", device_id=identity.master.public_key)
    answer = await alice.request("POST", UPLOAD, identity.upload())
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    await device.post("/logout")
    await alice.post(UPLOAD, identity.upload())
    device = await whole_server.log_in("alice", device_id=identity.self_signing.public_key)
    keys = DeviceMaterial(alice.user_id, device.device_id).device_keys()
    assert (await device.request("POST", "/keys/upload", {"device_keys": keys})).status == 403


async def test_own_device_is_signed_by_the_self_signing_key_and_all_see_it(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    keys, identity = (await publish(alice)).device_keys(), Identity(alice.user_id)
    await alice.post(UPLOAD, identity.upload())
    await bob.sync()
    signed = identity.self_signing.signed(keys)
    assert await sign(alice, alice, alice.device_id, signed) is None
    for who in (alice, bob):
        found = (await query(who, alice))["device_keys"][alice.user_id][alice.device_id]
        assert found["signatures"] == signed["signatures"]
    assert (await bob.sync())["device_lists"]["changed"] == [alice.user_id]


async def test_own_master_key_is_signed_by_a_device(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    device, identity = await publish(alice), Identity(alice.user_id)
    await alice.post(UPLOAD, identity.upload())
    signed = device.signed(identity.key("master"))
    assert await sign(alice, alice, identity.master.public_key, signed) is None
    assert (await query(bob, alice))["master_keys"][alice.user_id] == signed
    await alice.post("/logout")
    assert (await query(bob, alice))["master_keys"][alice.user_id]["signatures"] == {}


async def test_signature_of_somebody_else_is_seen_by_the_signer_alone(whole_server: Server) -> None:
    alice, bob, carol = [await whole_server.register(name) for name in ("alice", "bob", "carol")]
    tablet = await whole_server.log_in("alice")
    room = await alice.create_room(preset="public_chat")
    for user in (bob, carol):
        await user.join(room)
    mine, theirs = Identity(alice.user_id), Identity(bob.user_id)
    await alice.post(UPLOAD, mine.upload())
    await bob.post(UPLOAD, theirs.upload())
    for user in (tablet, bob, carol):
        await user.sync()
    signed = mine.user_signing.signed(theirs.key("master"))
    assert await sign(alice, bob, theirs.master.public_key, signed) is None
    assert (await query(tablet, bob))["master_keys"][bob.user_id]["signatures"] == signed["signatures"]
    for user in (bob, carol):
        assert (await query(user, bob))["master_keys"][bob.user_id]["signatures"] == {}
    assert (await tablet.sync())["device_lists"]["changed"] == [bob.user_id]
    for user in (bob, carol):
        assert "device_lists" not in await user.sync()


async def test_signatures_that_mean_nothing_are_refused_each_by_itself(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    device, mine, theirs = await publish(alice), Identity(alice.user_id), Identity(bob.user_id)
    bobs_device = await publish(bob)
    await alice.post(UPLOAD, mine.upload())
    await bob.post(UPLOAD, theirs.upload())
    keys, master = device.device_keys(), theirs.key("master")
    right = mine.self_signing.signed(keys)
    forged = {**right, "signatures": {alice.user_id: dict.fromkeys(right["signatures"][alice.user_id], "A" * 86)}}
    own, other = alice.device_id, theirs.master.public_key
    invalid = "M_INVALID_SIGNATURE"
    assert await sign(alice, alice, own, forged) == invalid
    assert await sign(alice, alice, own, {**right, "algorithms": []}) == "M_INVALID_PARAM"
    assert await sign(alice, alice, own, mine.user_signing.signed(keys)) == invalid
    assert await sign(alice, alice, own, mine.master.signed(keys)) == invalid
    assert await sign(alice, alice, own, "text") == "M_BAD_JSON"
    assert await sign(alice, alice, "NOWHERE", right) == "M_NOT_FOUND"
    assert await sign(alice, bob, other, mine.self_signing.signed(master)) == invalid
    assert await sign(alice, bob, other, Signer(alice.user_id, "unknown").signed(master)) == invalid
    assert await sign(alice, bob, other, theirs.self_signing.signed(master)) == invalid
    bobs_keys = mine.user_signing.signed(bobs_device.device_keys())
    assert await sign(alice, bob, bob.device_id, bobs_keys) == "M_NOT_FOUND"
    both = {alice.user_id: {own: right, "NOWHERE": right}}
    failures = (await alice.post("/keys/signatures/upload", both))["failures"]
    assert {name: list(each) for name, each in failures.items()} == {alice.user_id: ["NOWHERE"]}
    found = (await query(bob, alice))["device_keys"][alice.user_id][own]
    assert found["signatures"] == right["signatures"]


async def test_new_master_key_takes_the_old_signatures_away(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    device, first, second = await publish(alice), Identity(alice.user_id), Identity(alice.user_id, "new ")
    theirs = Identity(bob.user_id)
    await bob.post(UPLOAD, theirs.upload())
    await alice.post(UPLOAD, first.upload())
    await sign(alice, alice, alice.device_id, first.self_signing.signed(device.device_keys()))
    await sign(alice, bob, theirs.master.public_key, first.user_signing.signed(theirs.key("master")))
    assert await with_password(alice, {"master_key": second.key("master")}) == 200
    body = await alice.post("/keys/query", {"device_keys": {alice.user_id: [], bob.user_id: []}})
    assert body["device_keys"][alice.user_id][alice.device_id]["signatures"] == device.device_keys()["signatures"]
    assert body["master_keys"][bob.user_id]["signatures"] == {}
    assert alice.user_id not in body["self_signing_keys"]
    assert body["user_signing_keys"] == {}


async def test_keys_go_with_the_account(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await alice.post(UPLOAD, Identity(alice.user_id).upload())
    body = {"auth": {"type": "m.login.password", "password": PASSWORD}}
    await alice.post("/account/deactivate", body)
    assert (await query(bob, alice))["master_keys"] == {}


async def test_other_servers_learn_of_local_users_and_of_the_owners_signatures_alone(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    keys, mine, theirs = (await publish(bob)).device_keys(), Identity(alice.user_id), Identity(bob.user_id)
    await alice.post(UPLOAD, mine.upload())
    await bob.post(UPLOAD, theirs.upload())
    await sign(alice, bob, theirs.master.public_key, mine.user_signing.signed(theirs.key("master")))
    queries = whole_server.homeserver.encryption.key_queries
    seen = await queries.query_local(None, {bob.user_id: [], "@x:elsewhere.test": []})
    assert seen["device_keys"] == {bob.user_id: {bob.device_id: {**keys, "unsigned": {}}}}
    assert seen["master_keys"][bob.user_id]["signatures"] == {}
    assert seen["user_signing_keys"] == {}
    claims = whole_server.homeserver.encryption.one_time_keys
    assert await claims.claim_local({"@x:elsewhere.test": {"D": "signed_curve25519"}}) == {}
