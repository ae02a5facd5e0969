"""Push rules over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.stream import Change
from tests.support.user_server import UserServer

CONTENT = "/pushrules/global/content"
RULE = {"pattern": "cake*", "actions": ["notify", {"set_tweak": "sound", "value": "bing"}]}


async def ids(server: UserServer, token: str, kind: str) -> list[str]:
    rules = (await server.get("/pushrules/", token=token)).json["global"][kind]
    return [rule["rule_id"] for rule in rules if not rule["default"]]


async def test_everybody_has_the_default_rules(server: UserServer) -> None:
    alice = await server.register("alice")
    everything = (await server.get("/pushrules/", token=alice.token)).json
    assert set(everything) == {"global"}
    assert set(everything["global"]) == {"override", "underride", "sender", "room", "content", "postcontent"}
    assert (await server.get("/pushrules/global/", token=alice.token)).json == everything["global"]
    master = (await server.get("/pushrules/global/override/.m.rule.master", token=alice.token)).json
    assert master["default"] is True
    assert master["enabled"] is False
    mention = (await server.get("/pushrules/global/override/.m.rule.is_user_mention", token=alice.token)).json
    assert mention["conditions"][0]["value"] == alice.user_id


async def test_rule_is_added_read_changed_and_deleted(server: UserServer) -> None:
    alice = await server.register("alice")
    assert (await server.put(f"{CONTENT}/cake", RULE, token=alice.token)).status == 200
    expected = {"rule_id": "cake", "default": False, "enabled": True, **RULE}
    assert (await server.get(f"{CONTENT}/cake", token=alice.token)).json == expected
    assert (await server.put(f"{CONTENT}/cake/enabled", {"enabled": False}, token=alice.token)).status == 200
    assert (await server.get(f"{CONTENT}/cake/enabled", token=alice.token)).json == {"enabled": False}
    assert (await server.put(f"{CONTENT}/cake/actions", {"actions": []}, token=alice.token)).status == 200
    assert (await server.get(f"{CONTENT}/cake/actions", token=alice.token)).json == {"actions": []}
    assert (await server.delete(f"{CONTENT}/cake", token=alice.token)).status == 200
    assert (await server.get(f"{CONTENT}/cake", token=alice.token)).json["errcode"] == "M_NOT_FOUND"


async def test_rules_of_rooms_and_senders_are_named_by_ids(server: UserServer) -> None:
    alice = await server.register("alice")
    for kind, rule_id in (("room", "!r:x.y"), ("sender", "@u:x.y"), ("override", "own"), ("underride", "own")):
        path = f"/pushrules/global/{kind}/{rule_id}"
        assert (await server.put(path, {"actions": ["notify"]}, token=alice.token)).status == 200
        assert (await server.get(path, token=alice.token)).json["rule_id"] == rule_id


async def test_default_rules_are_disabled_and_given_other_actions_but_not_deleted(server: UserServer) -> None:
    alice = await server.register("alice")
    path = "/pushrules/global/underride/.m.rule.message"
    assert (await server.put(f"{path}/enabled", {"enabled": False}, token=alice.token)).status == 200
    assert (await server.put(f"{path}/actions", {"actions": ["notify"]}, token=alice.token)).status == 200
    rule = (await server.get(path, token=alice.token)).json
    assert (rule["enabled"], rule["actions"], rule["default"]) == (False, ["notify"], True)
    assert (await server.delete(path, token=alice.token)).status == 400


async def test_new_rules_are_the_most_important_unless_placed(server: UserServer) -> None:
    alice = await server.register("alice")
    for name, place in (
        ("a", {}),
        ("b", {}),
        ("c", {"before": "a"}),
        ("d", {"after": "a"}),
        ("e", {"before": "b", "after": "d"}),
    ):
        assert (await server.put(f"{CONTENT}/{name}", RULE, token=alice.token, **place)).status == 200
    assert await ids(server, alice.token, "content") == ["e", "b", "c", "a", "d"]
    await server.put(f"{CONTENT}/a", {**RULE, "pattern": "new"}, token=alice.token)
    assert await ids(server, alice.token, "content") == ["e", "b", "c", "a", "d"]
    await server.put(f"{CONTENT}/d", RULE, token=alice.token, before="e")
    assert await ids(server, alice.token, "content") == ["d", "e", "b", "c", "a"]


@pytest.mark.parametrize("place", [{"before": "nothing"}, {"after": "nothing"}, {"before": ".m.rule.master"}])
async def test_place_beside_a_rule_that_is_not_there_is_refused(server: UserServer, place: dict[str, str]) -> None:
    alice = await server.register("alice")
    answer = await server.put(f"{CONTENT}/x", RULE, token=alice.token, **place)
    assert answer.status == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "errcode"),
    [
        (f"{CONTENT}/.own", RULE, 400, "M_INVALID_PARAM"),
        (f"{CONTENT}/a%2Fb", RULE, 400, "M_INVALID_PARAM"),
        (f"{CONTENT}/a%5Cb", RULE, 400, "M_INVALID_PARAM"),
        (f"{CONTENT}/{'x' * 301}", RULE, 413, "M_TOO_LARGE"),
        (f"{CONTENT}/x", {"actions": []}, 400, "M_MISSING_PARAM"),
        (f"{CONTENT}/x", {"pattern": "x"}, 400, "M_MISSING_PARAM"),
        (f"{CONTENT}/x", {"pattern": 5, "actions": []}, 400, "M_BAD_JSON"),
        (f"{CONTENT}/x", {"pattern": "x", "actions": "notify"}, 400, "M_BAD_JSON"),
        (f"{CONTENT}/x", {"pattern": "x" * 2000, "actions": []}, 413, "M_TOO_LARGE"),
        ("/pushrules/global/unknown/x", RULE, 400, "M_INVALID_PARAM"),
        ("/pushrules/global/override/x", {"actions": [], "conditions": "x"}, 400, "M_BAD_JSON"),
        (f"{CONTENT}/nothing/enabled", {"enabled": True}, 404, "M_NOT_FOUND"),
        (f"{CONTENT}/nothing/actions", {"actions": []}, 404, "M_NOT_FOUND"),
        ("/pushrules/global/override/.m.rule.master/enabled", {"enabled": "yes"}, 400, "M_BAD_JSON"),
        ("/pushrules/global/override/.m.rule.master/enabled", {}, 400, "M_MISSING_PARAM"),
        ("/pushrules/global/override/.m.rule.master/actions", {"actions": "x"}, 400, "M_BAD_JSON"),
    ],
)
async def test_bad_rules_are_refused(server: UserServer, path: str, body: Any, status: int, errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.put(path, body, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


@pytest.mark.parametrize("suffix", ["", "/enabled", "/actions"])
async def test_what_is_not_there_is_not_found(server: UserServer, suffix: str) -> None:
    alice = await server.register("alice")
    answer = await server.get(f"{CONTENT}/nothing{suffix}", token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await server.delete(f"{CONTENT}/nothing", token=alice.token)).status == 404


async def test_changes_are_announced_as_account_data_and_no_change_is_not(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    before = server.stream.position
    await server.put(f"{CONTENT}/cake", RULE, token=alice.token)
    after = server.stream.position
    assert after > before
    assert server.stream.changed_since(Change.ACCOUNT_DATA, alice.user_id, before)
    changes = await server.services.account_data.list_changes(alice.user_id, before, after)
    assert [change.type for change in changes] == ["m.push_rules"]
    assert '"cake"' in changes[0].content
    await server.put(f"{CONTENT}/cake", RULE, token=alice.token)
    assert server.stream.position == after
    assert await ids(server, bob.token, "content") == []


async def test_rules_of_many_are_read_at_once_and_remembered(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await server.put(f"{CONTENT}/cake", RULE, token=alice.token)
    rules = server.services.push_rules
    first = await rules.rules_of_many([alice.user_id, bob.user_id])
    assert [len(first[person.user_id].custom) for person in (alice, bob)] == [1, 0]
    await server.put(f"{CONTENT}/pie", RULE, token=alice.token)
    assert len((await rules.rules_of(alice.user_id)).custom) == 2
    rules.forget_all()
    assert len((await rules.rules_of(alice.user_id)).custom) == 2


async def test_F18_guests_have_no_push_rules(server: UserServer) -> None:
    guest = (await server.post("/register", {}, kind="guest")).json["access_token"]
    assert (await server.get("/pushrules/", token=guest)).json["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
