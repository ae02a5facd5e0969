"""From an event to the request at a push gateway."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.push.services import PushSettings
from tests.push.phones import GATEWAY, down, open_phones, pusher
from tests.support.outbound import SentRequest


async def test_message_reaches_the_gateway_with_everything_that_the_spec_names() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
        await phones.add_pusher(bob, data={"format": None, "brand": "x"})
        event_id = await alice.say(room_id, "It is time for tea")
        await phones.quiet()
        (sent,) = phones.gateway.requests
        assert (sent.method, sent.url, sent.trusted) == ("POST", GATEWAY, False)
        assert phones.gateway.told == [
            {
                "event_id": event_id,
                "room_id": room_id,
                "type": "m.room.message",
                "sender": alice.user_id,
                "sender_display_name": "Alice",
                "room_name": "Tea",
                "prio": "low",
                "content": {"msgtype": "m.text", "body": "It is time for tea"},
                "counts": {"unread": 1},
                "devices": [
                    {
                        "app_id": "org.example",
                        "pushkey": "key",
                        "pushkey_ts": phones.server.clock.now_ms() // 1000,
                        "data": {"format": None, "brand": "x"},
                        "tweaks": {},
                    }
                ],
            }
        ]


async def test_G10_event_id_only_tells_nothing_of_the_message() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob, data={"format": "event_id_only"})
        mention = {"m.mentions": {"user_ids": [bob.user_id]}}
        event_id = await alice.say(room_id, "a secret for bob", **mention)
        await phones.quiet()
        (told,) = phones.gateway.told
        assert set(told) == {"event_id", "room_id", "prio", "counts", "devices"}
        assert (told["event_id"], told["prio"]) == (event_id, "high")
        assert set(told["devices"][0]) == {"app_id", "pushkey", "pushkey_ts", "data"}
        assert b"secret" not in (phones.gateway.requests[0].body or b"")


async def test_G10_operator_can_keep_content_at_home() -> None:
    async with open_phones(push=PushSettings(includes_content=False)) as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        await alice.say(room_id, "a secret for bob")
        await phones.quiet()
        assert "content" not in phones.gateway.told[0]
        assert b"secret" not in (phones.gateway.requests[0].body or b"")


async def test_rules_decide_who_is_told_and_with_which_tweaks() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        await alice.send(room_id, "m.room.message", {"msgtype": "m.notice", "body": "nothing"})
        await alice.send(room_id, "m.reaction", {})
        await bob.say(room_id, "one's own")
        await phones.quiet()
        assert phones.gateway.told == []
        await alice.say(room_id, "hello", **{"m.mentions": {"user_ids": [bob.user_id]}})
        await bob.put("/pushrules/global/content/tea", {"pattern": "tea", "actions": ["notify", {"set_tweak": "x"}]})
        await alice.say(room_id, "tea!")
        await bob.put(f"/pushrules/global/room/{room_id}", {"actions": []})
        await alice.say(room_id, "quiet now")
        await phones.quiet()
        assert [one["devices"][0]["tweaks"] for one in phones.gateway.told] == [
            {"sound": "default", "highlight": True},
            {"x": None},
        ]


async def test_encrypted_message_is_urgent_and_invitation_names_its_target() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        await alice.send(room_id, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})
        await phones.quiet()
        assert (phones.gateway.told[0]["type"], phones.gateway.told[0]["prio"]) == ("m.room.encrypted", "high")
        private = await alice.create_room(preset="private_chat")
        await alice.invite(private, bob)
        await phones.quiet()
        told = phones.gateway.told[1]
        assert (told["type"], told["room_id"], told["user_is_target"]) == ("m.room.member", private, True)
        assert told["membership"] == "invite"
        assert told["counts"] == {"unread": 2}


async def test_room_without_a_name_is_called_by_its_alias() -> None:
    async with open_phones() as phones:
        alice, bob, _ = await phones.pair()
        room_id = await alice.create_room(preset="public_chat", room_alias_name="tea")
        await bob.join(room_id)
        await phones.add_pusher(bob)
        await alice.say(room_id, "one")
        await phones.quiet()
        (told,) = phones.gateway.told
        assert (told["room_name"], told["room_alias"]) == ("#tea:halfdoor.test", "#tea:halfdoor.test")


async def test_threads_are_read_by_themselves() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        root = await alice.say(room_id, "root")
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        reply = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        threaded = await alice.say(room_id, "in the thread", **reply)
        main = await alice.say(room_id, "in the room")
        await phones.quiet()
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{main}", {"thread_id": "main"})
        phones.gateway.answer = None
        await phones.pass_time(60)
        assert [one for one in phones.gateway.events if one] == [threaded]
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{threaded}", {"thread_id": root})
        await phones.quiet()
        assert phones.gateway.told[-1]["counts"] == {"unread": 0}


async def test_answered_invitation_is_told_no_more_and_no_longer_counted() -> None:
    async with open_phones() as phones:
        alice, bob, _ = await phones.pair()
        await phones.add_pusher(bob)
        first = await alice.create_room(preset="private_chat")
        await alice.invite(first, bob)
        await phones.quiet()
        assert phones.gateway.told[-1]["counts"] == {"unread": 1}
        await bob.post(f"/rooms/{first}/leave")
        await phones.quiet()
        assert phones.gateway.told[-1]["counts"] == {"unread": 0}
        phones.gateway.answer = down
        second = await alice.create_room(preset="private_chat")
        await alice.invite(second, bob)
        await phones.quiet()
        await bob.join(second)
        phones.gateway.answer = None
        await phones.pass_time(10)
        assert second not in [one.get("room_id") for one in phones.gateway.told]


async def test_hidden_invitation_is_neither_told_nor_counted() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        filtering = "org.matrix.msc4155.invite_permission_config"
        await bob.put(f"/user/{bob.user_id}/account_data/{filtering}", {"ignored_users": [alice.user_id]})
        await alice.invite(await alice.create_room(preset="private_chat"), bob)
        await phones.quiet()
        assert phones.gateway.told == []
        await alice.say(room_id, "hello")
        await phones.quiet()
        assert phones.gateway.told[-1]["counts"] == {"unread": 1}


@pytest.mark.parametrize(("counts_rooms", "unread"), [(True, [1, 1, 2]), (False, [1, 2, 3])])
async def test_unread_counts_rooms_or_messages(counts_rooms: bool, unread: list[int]) -> None:
    async with open_phones(push=PushSettings(counts_rooms=counts_rooms)) as phones:
        alice, bob, room_id = await phones.pair()
        other = await alice.create_room(preset="public_chat")
        await bob.join(other)
        await phones.add_pusher(bob)
        for room in (room_id, room_id, other):
            await alice.say(room, "hello")
            await phones.quiet()
        assert [one["counts"]["unread"] for one in phones.gateway.told] == unread


async def test_rooms_without_news_are_not_loaded_to_be_counted() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        quiet = [await alice.create_room(preset="public_chat") for _ in range(4)]
        for number, other in enumerate(quiet):
            await bob.join(other)
            event_id = await alice.say(other, "hello")
            if number < 3:
                await bob.post(f"/rooms/{other}/receipt/m.read/{event_id}")
        await phones.add_pusher(bob)
        live = phones.server.homeserver.rooms.live
        live.forget_all()
        await alice.say(room_id, "one")
        await phones.quiet()
        assert phones.gateway.told[-1]["counts"] == {"unread": 2}
        assert [live.peek(other) is not None for other in quiet] == [False, False, False, True]


async def test_reading_elsewhere_clears_the_number_and_what_is_read_is_not_told() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        first = await alice.say(room_id, "one")
        await phones.quiet()
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{first}")
        await phones.quiet()
        assert phones.gateway.told[1]["counts"] == {"unread": 0}
        assert set(phones.gateway.told[1]) == {"counts", "devices"}
        await bob.post(f"/rooms/{room_id}/receipt/m.read.private/{first}")
        await phones.quiet()
        assert len(phones.gateway.told) == 2  # the number is the same

        phones.gateway.answer = down
        second = await alice.say(room_id, "two")
        await phones.quiet()
        await bob.post(f"/rooms/{room_id}/receipt/m.read.private/{second}")
        phones.gateway.answer = None
        await phones.pass_time(10)
        assert second not in phones.gateway.events


async def test_client_that_counts_for_itself_is_sent_no_numbers() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob, data={"org.matrix.msc4076.disable_badge_count": True})
        event_id = await alice.say(room_id, "one")
        await phones.quiet()
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
        await phones.quiet()
        assert phones.gateway.events == [event_id]
        assert "counts" not in phones.gateway.told[0]


async def test_rejected_pushkey_is_removed_and_foreign_ones_are_left_alone() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob, "mine")
        await phones.add_pusher(bob, "other", app_id="org.other")
        phones.gateway.rejected = ["mine", "somebody else's"]
        await alice.say(room_id, "one")
        await phones.quiet()
        assert [one["pushkey"] for one in (await bob.get("/pushers"))["pushers"]] == ["other"]
        phones.gateway.told.clear()
        await alice.say(room_id, "two")
        await phones.quiet()
        assert [one["devices"][0]["pushkey"] for one in phones.gateway.told] == ["other"]


async def test_gateway_that_fails_is_asked_again_ever_more_rarely_and_in_order() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        events = [await alice.say(room_id, f"message {number}") for number in range(3)]
        await phones.quiet()
        tries = [len(phones.gateway.requests)]
        await phones.pass_time(0.1)
        for seconds in (1, 2, 4, 8):
            await phones.pass_time(seconds - 0.2)
            assert len(phones.gateway.requests) == tries[-1]
            await phones.pass_time(0.2)
            tries.append(len(phones.gateway.requests))
        assert tries == [1, 2, 3, 4, 5]
        phones.gateway.answer = None
        await phones.pass_time(16)
        assert phones.gateway.events == events


async def test_gateway_says_when_to_come_back() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = lambda request: OutboundAnswer(429, {"retry-after": "120"})
        event_id = await alice.say(room_id, "one")
        await phones.pass_time(119)
        assert len(phones.gateway.requests) == 1
        phones.gateway.answer = None
        await phones.pass_time(2)
        assert phones.gateway.events == [event_id]


async def test_after_a_day_a_notification_is_given_up_and_the_next_is_tried() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        old = await alice.say(room_id, "old")
        await phones.pass_time(23 * 3600)
        new = await alice.say(room_id, "new")
        await phones.pass_time(2 * 3600)
        assert old in phones.gateway.requests[0].json["notification"]["event_id"]
        phones.gateway.answer = None
        await phones.pass_time(2 * 3600)
        assert phones.gateway.events == [new]
        assert phones.server.homeserver.push.deliveries.outcomes["given_up"] == 1


async def test_new_gateway_of_a_pusher_is_tried_at_once() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = lambda request: OutboundAnswer(503, {"retry-after": "3600"})
        event_id = await alice.say(room_id, "one")
        await phones.quiet()
        phones.gateway.answer = None
        await phones.add_pusher(bob, data={"url": GATEWAY.replace("push.", "new.")})
        assert phones.gateway.events == [event_id]
        assert phones.gateway.requests[-1].url == "https://new.example.org/_matrix/push/v1/notify"


async def test_G04_what_was_redacted_before_it_was_told_is_told_to_nobody() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        event_id = await alice.say(room_id, "a regretted secret")
        await phones.quiet()
        phones.gateway.requests.clear()
        await alice.put(f"/rooms/{room_id}/redact/{event_id}/1")
        phones.gateway.answer = None
        await phones.pass_time(60)
        assert phones.gateway.told == []
        queue = await phones.server.homeserver.db.fetch_all("SELECT * FROM push_queue")
        assert queue == []


async def test_C04_gateway_is_reached_through_the_guard_unless_the_operator_vouches_for_it() -> None:
    url = "http://10.1.2.3:5000/_matrix/push/v1/notify"
    trusted = PushSettings(trusted_gateways=("http://10.1.2.3:5000",))
    async with open_phones(push=trusted) as phones:
        alice, bob, room_id = await phones.pair()
        refused = await bob.request("POST", "/pushers/set", pusher(data={"url": url.replace("10.1.2.3", "10.1.2.4")}))
        assert refused.status == 400
        await phones.add_pusher(bob, "ours", data={"url": url})
        await phones.add_pusher(bob, "theirs", data={"url": "https://10.1.2.3/_matrix/push/v1/notify"})

        def guard(request: SentRequest) -> OutboundAnswer:
            if not request.trusted:
                raise OutboundFailed("refused")
            return OutboundAnswer(200)

        phones.gateway.answer = guard
        await alice.say(room_id, "one")
        await phones.quiet()
        assert len(phones.gateway.requests) == 2
        assert [one["devices"][0]["pushkey"] for one in phones.gateway.told] == ["ours"]


async def test_ignored_people_and_those_who_were_not_there_are_not_told() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        late = await phones.server.register("late")
        await phones.add_pusher(bob)
        await phones.add_pusher(late, "late's")
        await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}})
        await alice.say(room_id, "one")
        await late.join(room_id)
        await phones.quiet()
        assert phones.gateway.told == []


@pytest.mark.parametrize("flag", ["is_locked", "is_suspended"])
async def test_locked_and_suspended_people_are_told_nothing(flag: Any) -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        accounts = phones.server.homeserver.users.accounts
        await accounts.set_flag(bob.user_id, flag, True)
        await alice.say(room_id, "one")
        await phones.quiet()
        assert phones.gateway.told == []
        await accounts.set_flag(bob.user_id, flag, False)
        event_id = await alice.say(room_id, "two")
        await phones.quiet()
        assert phones.gateway.events == [event_id]


async def test_F16_nothing_goes_to_sessions_that_ended() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        other = await phones.server.log_in("bob")
        await phones.add_pusher(bob, "mine")
        await phones.add_pusher(other, "other's")
        phones.gateway.answer = down
        await alice.say(room_id, "one")
        await phones.quiet()
        await other.post("/logout")
        phones.gateway.answer = None
        await phones.pass_time(60)
        assert [one["devices"][0]["pushkey"] for one in phones.gateway.told] == ["mine"]
        db = phones.server.homeserver.db
        assert await db.fetch_all("SELECT 1 FROM push_queue") == []
        assert await db.fetch_all("SELECT 1 FROM push_progress WHERE pushkey = ?", ("other's",)) == []


async def test_device_whose_tokens_have_expired_is_told_nothing_until_it_is_back() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        db = phones.server.homeserver.db
        expire = "UPDATE access_tokens SET expires_ts = ? WHERE user_id = ?"
        await db.write(lambda txn: txn.execute(expire, (1, bob.user_id)))
        await alice.say(room_id, "one")
        await phones.quiet()
        assert phones.gateway.told == []
        back = await phones.server.log_in("bob", device_id=bob.device_id)
        event_id = await alice.say(room_id, "two")
        await phones.quiet()
        assert phones.gateway.events == [event_id]
        assert [one["pushkey"] for one in (await back.get("/pushers"))["pushers"]] == ["key"]


async def test_pusher_is_switched_off_and_on_from_another_device() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        other = await phones.server.log_in("bob")
        await phones.add_pusher(bob)
        await phones.add_pusher(other, **dict[str, Any]({"org.matrix.msc3881.enabled": False}))
        await alice.say(room_id, "one")
        await phones.quiet()
        assert phones.gateway.told == []
        (listed,) = (await other.get("/pushers"))["pushers"]
        assert (listed["org.matrix.msc3881.enabled"], listed["org.matrix.msc3881.device_id"]) == (False, bob.device_id)
        await phones.add_pusher(other, **dict[str, Any]({"org.matrix.msc3881.enabled": True}))
        event_id = await alice.say(room_id, "two")
        await phones.quiet()
        assert phones.gateway.events == [event_id]


async def test_server_without_pushers_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        events = phones.server.homeserver.rooms.events
        read: list[object] = []

        async def list_stream(*args: object) -> list[Any]:
            read.append(args)
            return []

        monkeypatch.setattr(events, "list_stream", list_stream)
        await alice.say(room_id, "one")
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{await alice.say(room_id, 'two')}")
        await phones.quiet()
        assert read == []
