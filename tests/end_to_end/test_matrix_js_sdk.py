"""matrix-js-sdk, the library of Element and others, talks on the running server (flows in `js/flows.mjs`).

Needs Node.js 20 or newer and npm; the library is installed into `js/node_modules` when it is not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.end_to_end.javascript import play_flow
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

PEOPLE = ("ann", "ben", "cid", "dan", "eva", "fay", "gil", "hal")

Flow = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def flow(node: str, server: ServerProcess, person: Callable[[str], Account]) -> Flow:
    """Plays one flow with fresh people and returns its facts."""

    async def play(name: str, proxy: CuttingProxy | None = None, people: int = 2, **more: Any) -> dict[str, Any]:
        accounts = [person(each) for each in PEOPLE[:people]]
        tokens = [
            {"userId": each.user_id, "accessToken": each.access_token, "deviceId": each.device_id} for each in accounts
        ]
        given = {"baseUrl": server.base_url, "serverName": server.server_name, "people": tokens, **more}
        if proxy is not None:
            given["proxyUrl"] = proxy.base_url

        def obey(what: str) -> None:
            assert proxy is not None
            if what == "cut":
                proxy.cut(hold=True)
            else:
                proxy.resume()

        facts = await play_flow(node, name, given, obey)
        return {**facts, "people": [each.user_id for each in accounts]}

    return play


async def test_registers_logs_in_and_out(flow: Flow, server: ServerProcess, person: Callable[[str], Account]) -> None:
    username = "js" + person("seed").user_id[1:].partition(":")[0]
    facts = await flow("registration", username=username, password="a long enough Passw0rd!")
    assert facts["registered"] == facts["who"] == f"@{username}:{server.server_name}"
    assert facts["device"]
    assert (facts["wrong"], facts["after"]) == ("M_FORBIDDEN", "M_UNKNOWN_TOKEN")


async def test_messages_arrive_once_and_in_order(flow: Flow) -> None:
    facts = await flow("messages")
    assert facts["got"] == facts["sent"]


async def test_edits_and_reactions_are_shown(flow: Flow) -> None:
    facts = await flow("edits_and_reactions")
    assert facts["body"] == "typo"
    assert facts["keys"] == [["👍", 1]]
    assert (facts["bundled"], facts["related"]) == ("typo", 1)


async def test_threads_are_kept_apart_and_listed(flow: Flow) -> None:
    facts = await flow("threads")
    assert facts["length"] == 3
    assert not facts["mainHasReplies"]
    assert facts["listed"] == [[facts["root"], 3]]


async def test_receipts_clear_unread_counts(flow: Flow) -> None:
    facts = await flow("receipts")
    assert (facts["before"], facts["after"]) == (2, 0)
    assert facts["people"][1] in facts["readers"]


async def test_typing_is_seen_to_begin_and_to_end(flow: Flow) -> None:
    assert (await flow("typing"))["typing"] is False


async def test_search_finds_a_message(flow: Flow) -> None:
    facts = await flow("search")
    assert (facts["found"], facts["count"]) == ([facts["wanted"]], 1)


async def test_space_shows_its_rooms(flow: Flow) -> None:
    facts = await flow("spaces")
    assert set(facts["listed"]) == {facts["space"], *facts["rooms"]}
    assert set(facts["children"]) == set(facts["rooms"])


async def test_pagination_brings_everything_once_and_in_order(flow: Flow) -> None:
    facts = await flow("pagination")
    assert facts["initially"] == 5
    assert facts["got"] == facts["sent"]
    assert facts["first"] == "m.room.create"


async def test_sync_goes_on_after_cuts_without_loss_or_repetition(flow: Flow, server: ServerProcess) -> None:
    async with CuttingProxy(server.port) as proxy:
        facts = await flow("reconnection", proxy)
    assert facts["interruptions"] == 3
    assert facts["got"] == facts["sent"]


async def test_gap_of_a_limited_sync_is_filled_by_pagination(flow: Flow) -> None:
    facts = await flow("limited_sync")
    assert facts["got"] == facts["sent"]
    assert facts["name"] == "Renamed meanwhile"


async def test_lazy_loading_leaves_out_silent_members(flow: Flow) -> None:
    facts = await flow("lazy_loading", people=len(PEOPLE))
    speaker, *_, last = facts["people"]  # up to five silent ones come too, as heroes of the room's summary
    assert last not in facts["before"]
    assert speaker in facts["before"]
    assert facts["count"] == len(PEOPLE)
    assert facts["after"] == sorted(facts["people"])


async def test_redaction_takes_the_words_away(flow: Flow) -> None:
    facts = await flow("redaction")
    assert (facts["content"], facts["reason"]) == ({}, "sorry")


async def test_memberships_change_and_are_seen(flow: Flow) -> None:
    facts = await flow("memberships")
    assert facts["uninvited"] == "M_FORBIDDEN"
    assert facts["history"] == ["invite", "join", "leave", "ban", "leave", "invite", "join", "leave"]
    assert facts["banned"] in {"M_FORBIDDEN", "M_BAD_STATE"}
    assert facts["joined"] == [facts["people"][0]]


async def test_profile_change_is_seen(flow: Flow, server: ServerProcess) -> None:
    facts = await flow("profile")
    assert facts["name"] == "Ann the Second"
    assert facts["profile"]["displayname"] == "Ann the Second"
    assert facts["profile"]["avatar_url"] == f"mxc://{server.server_name}/face"


async def test_account_data_and_tags_are_kept(flow: Flow) -> None:
    facts = await flow("account_data")
    assert facts["global"] == {"a": [1, None]}
    assert facts["room"] == {"b": 2}
    assert facts["tags"] == {"u.work": {"order": 0.5}}


async def test_upgraded_room_points_to_its_successor(flow: Flow) -> None:
    facts = await flow("upgrade")
    assert facts["tombstone"] == facts["replacement"]
    assert facts["predecessor"] == facts["room"]
    assert (facts["version"], facts["name"]) == ("12", "Old")


async def test_aliases_and_directory(flow: Flow, person: Callable[[str], Account]) -> None:
    facts = await flow("directory", alias="js-" + person("alias").user_id[1:].partition(":")[0])
    assert facts["resolved"] == facts["joined"] == facts["room"]
    assert facts["listed"] == [facts["room"]]
    assert facts["after"] == "M_NOT_FOUND"


async def test_two_people_with_two_devices_each_talk_in_secret(flow: Flow) -> None:
    facts = await flow("encryption", password="a long enough Passw0rd!")
    assert (facts["onTheWire"], facts["first"]) == ("m.room.encrypted", "the first secret")
    assert facts["restored"] >= 1
    assert facts["firstOnPhone"] == "the first secret"
    assert facts["sameEmoji"]
    assert facts["sameEmojiAgain"]
    assert facts["signed"] == facts["verified"] == [True] * 4
    assert facts["second"] == ["the second secret"] * 4


async def test_one_time_keys_are_refilled_when_they_were_claimed(flow: Flow) -> None:
    facts = await flow("one_time_keys_are_refilled")
    assert facts["claimed"] == facts["before"] <= facts["after"]


async def test_device_that_slept_has_the_keys_of_what_was_said_meanwhile(flow: Flow) -> None:
    facts = await flow("dehydrated_device", password="a long enough Passw0rd!")
    assert facts["supported"]
    assert facts["dehydrated"]
    assert facts["read"] == "while you slept"


@pytest.mark.parametrize("sticky", [False, True])
async def test_whoever_vanishes_from_a_call_leaves_it_by_a_delayed_event(flow: Flow, sticky: bool) -> None:
    facts = await flow("call", sticky=sticky)
    assert facts["who"] == [facts["people"][1]]
    assert (facts["there"], facts["stays"], facts["waiting"], facts["gone"]) == (True, True, 1, True)
    assert facts["transports"] == []
    assert facts["matrixServer"]


@pytest.mark.parametrize("sticky", [False, True])
async def test_whoever_leaves_a_call_is_gone_and_leaves_nothing_waiting(flow: Flow, sticky: bool) -> None:
    facts = await flow("call_left", sticky=sticky)
    assert (facts["there"], facts["gone"], facts["waiting"]) == (True, True, 0)


async def test_slides_over_its_rooms_and_through_cuts(flow: Flow, server: ServerProcess) -> None:
    async with CuttingProxy(server.port) as proxy:
        facts = await flow("sliding", proxy)
    assert facts["outside"], "a room below the range was told of"
    assert sorted(facts["got"]) == facts["sent"]  # the library puts what filled a gap before what it had
    assert facts["name"] == "The first"
    assert facts["unread"] >= 1
    assert facts["count"] == 2
