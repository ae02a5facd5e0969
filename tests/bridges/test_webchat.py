"""The web chat without sockets: the protocol, isolation of visitors, what they may see, limits, reopening."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.webchat import Limits
from tests.bridges.webchat_harness import GENEROUS, MEI, ORIGIN, Visitor, WebchatHarness

CLIENT_ID = "client-id-1"


async def test_the_first_message_makes_a_private_room_with_the_staff_invited() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect(page={"title": "Teapots", "url": "https://shop.example/teapots"})
        assert harness.homeserver.rooms == {}
        await visitor.say("hello", CLIENT_ID)
        assert visitor.of_type("ack") == [{"type": "ack", "client_id": CLIENT_ID, "seq": 1}]
        await visitor.settle()
        (room,) = harness.homeserver.portal_rooms()
        assert room.membership(MEI) == "invite"
        assert room.state["m.room.name", ""]["name"].endswith("· Teapots")
        assert room.state["m.room.history_visibility", ""] == {"history_visibility": "shared"}
        ((sender, text),) = harness.homeserver.texts(room.room_id)
        assert (sender[:6], text) == ("@_web_", "hello")
        assert harness.homeserver.users[sender].startswith("Visitor ")


async def test_answers_arrive_with_the_name_of_the_agent_and_ticks_tell_what_became_of_a_message() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        harness.homeserver.read(room, MEI, harness.homeserver.rooms[room].events[-2]["event_id"])
        question = next(e for e in harness.homeserver.rooms[room].events if e["type"] == "m.room.message")
        harness.homeserver.read(room, MEI, question["event_id"])
        harness.homeserver.type(room, MEI)
        harness.homeserver.say(room, MEI, "good day")
        await visitor.settle()
        kinds = [(frame["seq"], frame["kind"]) for frame in visitor.of_type("event")]
        assert kinds == [(1, "message"), (2, "delivered"), (3, "message"), (4, "read")] or kinds == [
            (1, "message"),
            (2, "delivered"),
            (3, "read"),
            (4, "message"),
        ]
        answer = next(f for f in visitor.of_type("event") if f.get("from") == "staff")
        assert (answer["name"], answer["text"]) == ("Mei", "good day")
        assert {"type": "typing", "typing": True, "name": "Mei"} in visitor.wire.frames


async def test_a_resend_with_the_same_client_id_is_acknowledged_and_adds_nothing() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        for _ in range(5):
            await visitor.say("once", CLIENT_ID)
        await visitor.settle()
        assert [frame["seq"] for frame in visitor.of_type("ack")] == [1] * 5
        assert [t for _, t in harness.homeserver.texts(harness.homeserver.portal_rooms()[0].room_id)] == ["once"]


async def test_a_token_of_before_the_first_message_keeps_its_conversation_when_the_connection_drops_in_between() -> (
    None
):
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        first = visitor.token
        visitor.disconnect()
        await visitor.connect()
        assert visitor.token == first
        await visitor.say("hello", CLIENT_ID)
        visitor.disconnect()
        await visitor.connect()
        assert visitor.token == first
        assert visitor.texts() == ["hello"]


async def test_a_reload_gets_the_history_and_a_resume_only_what_is_new() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("one", "client-0001")
        room = await harness.welcome_staff(visitor)
        visitor.disconnect()
        harness.homeserver.say(room, MEI, "two")
        await harness.settle()
        await visitor.connect(since=2)
        assert visitor.texts() == ["two"]
        await visitor.connect(since=0)
        assert visitor.texts() == ["one", "two"]
        assert visitor.of_type("welcome")[0]["seq"] == 3


async def test_W01_two_browsers_with_the_same_email_share_nothing() -> None:
    async with WebchatHarness() as harness:
        anna, other = Visitor(harness), Visitor(harness)
        await anna.connect(email="anna@customer.example", name="Anna")
        await anna.say("my secret", CLIENT_ID)
        await anna.settle()
        await other.connect(email="anna@customer.example", name="Anna")
        await other.send({"type": "label", "name": "Anna", "email": "anna@customer.example"})
        await other.say("who am I?", CLIENT_ID)
        await other.settle()
        assert other.texts() == ["who am I?"]
        assert "my secret" not in json.dumps(other.wire.frames)
        assert len(harness.homeserver.portal_rooms()) == 2
        assert anna.token != other.token


async def test_W02_a_visitor_cannot_name_a_conversation_or_room() -> None:
    async with WebchatHarness() as harness:
        anna, evil = Visitor(harness), Visitor(harness)
        await anna.connect()
        await anna.say("private matter", CLIENT_ID)
        room = await harness.welcome_staff(anna)
        ids: list[Any] = [room]
        async with harness.bridge.store.transaction() as txn:
            conversation = await txn.value("SELECT id FROM conversations")
        ids += [conversation, f"@_web_{conversation}:example.org", anna.token]
        for name in ("conversation", "room", "room_id", "rid", "chat", "id", "token", "sender", "user_id"):
            for value in ids:
                await evil.connect(**({name: value} if name != "token" else {}))
                await evil.send({"type": "message", "client_id": "evil-0001", "text": "x", name: value})
                await evil.send({"type": "read", "seq": 1, name: value})
                evil.disconnect()
                evil.token = None
        await harness.settle()
        assert "private matter" not in json.dumps(evil.wire.frames)
        assert [text for _, text in harness.homeserver.texts(room)] == ["private matter"]


async def test_W03_a_token_opens_nothing_on_another_site() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("on the shop", CLIENT_ID)
        thief = Visitor(harness, site="other", origin="https://other.example")
        thief.token = visitor.token
        await thief.connect()
        assert thief.token != visitor.token
        assert thief.texts() == []


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "*",
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://evil-shop.example",
        "https://sub.shop.example",
        "https://example",
        "https://shop.example:8443",
        "https://shop.example:443",
        "https://shop.example/",
        "https://shop.example/path",
        "https://SHOP.example",
        " https://shop.example",
        "https://user@shop.example",
        "https://shop.example\x00",
        "https://shop.example.",
        "file://",
        "https://other.example",
        "https://shop.example, https://evil.example",
    ],
)
async def test_W10_only_the_exact_origin_of_the_site_is_let_in(origin: str | None) -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness, origin=origin)
        await visitor.connect()
        assert visitor.wire.closed_with == 4403
        assert visitor.of_type("welcome") == []
        if origin != "https://other.example":
            assert not harness.door.knows_origin(origin)
        assert harness.door.knows_origin(ORIGIN)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"type":"steal"}',
        b'{"type":"message","client_id":"short","text":"x"}',
        b'{"type":"message","client_id":"client-0001","text":7}',
        b'{"type":"message","client_id":["client-0001"],"text":"x"}',
        b'{"type":"read","seq":-1}',
        b'{"type":"read","seq":true}',
        b'{"type":"ack","seq":1e400}',
        b'{"type":"typing","typing":"yes"}',
        b'{"type":"hello","site":"shop"}',
    ],
)
async def test_W04_frames_of_another_shape_end_the_connection(frame: bytes) -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.send(frame)
        assert visitor.of_type("error")[0]["code"] == "bad_frame"
        assert visitor.wire.closed_with == 4400


async def test_nothing_is_done_before_the_hello() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness, origin="https://evil.example")
        await visitor.connect()
        await visitor.say("let me in", CLIENT_ID)
        await harness.settle()
        assert harness.homeserver.rooms == {}


async def test_W13_a_session_that_floods_is_told_to_wait_and_nothing_beyond_the_burst_gets_through() -> None:
    async with WebchatHarness(limits=Limits(message_burst=5)) as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        for number in range(50):
            await visitor.say("spam", f"client-{number:04}")
        await visitor.settle()
        assert len(visitor.of_type("ack")) == 5
        waits = [frame["retry_after_ms"] for frame in visitor.of_type("error") if frame["code"] == "too_fast"]
        assert len(waits) == 45
        harness.clock.advance(waits[-1] / 1000)
        await visitor.say("patience", "client-9999")
        assert len(visitor.of_type("ack")) == 6


async def test_W13_ten_thousand_hostile_visitors_make_no_more_rooms_than_the_limits_allow() -> None:
    limits = Limits(
        conversation_burst=4, site_conversation_burst=30, connect_burst=100_000, address_message_burst=100_000
    )
    async with WebchatHarness(limits=limits) as harness:
        for number in range(10_000):
            visitor = Visitor(harness)
            await visitor.connect(address=f"198.51.{number % 256}.{number // 256}")
            if number % 10 == 0:
                await visitor.say("buy my pills", "client-0001")
            visitor.disconnect()
        await harness.settle()
        assert len(harness.homeserver.portal_rooms()) <= 30
        async with harness.bridge.store.transaction() as txn:
            assert await txn.value("SELECT count(*) FROM conversations") <= 30


async def test_W13_too_many_frames_at_once_end_the_connection() -> None:
    async with WebchatHarness(limits=Limits(frame_burst=20)) as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        for _ in range(30):
            await visitor.send({"type": "ping"})
        assert visitor.wire.closed_with == 4429


async def test_W13_connections_of_one_address_are_counted() -> None:
    async with WebchatHarness(limits=Limits(connections_per_address=3)) as harness:
        door = harness.door
        assert [door.enter("2001:db8::1") for _ in range(4)] == [True, True, True, False]
        assert not door.enter("2001:db8::ffff")
        assert door.enter("2001:db8:0:1::1")
        door.leave("2001:db8::1")
        assert door.enter("2001:db8::2")


SEEN_BY_VISITORS = {
    "welcome": {"token", "start", "seq", "read", "site", "longest_text"},
    "event": {"seq", "kind", "from", "name", "text", "ts", "client_id", "target", "upto", "edited", "deleted", "file"},
    "ack": {"client_id", "seq"},
    "typing": {"typing", "name"},
    "error": {"code", "message", "client_id", "retry_after_ms"},
    "pong": set(),
}


async def test_W14_visitors_see_nothing_but_the_allow_list() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        hs = harness.homeserver
        hs.join(room, "@boss:example.org", "boss@internal.example")
        hs.say(room, MEI, "// do not tell him the discount")
        hs.say(room, MEI, "//whisper")
        hs.add_event(room, MEI, "m.room.message", {"msgtype": "m.notice", "body": "bot says credit score 3"})
        hs.add_event(room, MEI, "m.room.message", {"msgtype": "m.location", "body": "geo secret", "geo_uri": "geo:1,2"})
        hs.add_event(room, MEI, "org.example.internal", {"body": "custom secret"})
        hs.add_event(room, MEI, "m.room.topic", {"topic": "secret topic"}, "")
        hs.say(
            room, MEI, "visible", formatted_body="<b>formatted secret</b>", format="org.matrix.custom.html", extra="x"
        )
        edited = hs.say(room, MEI, "first")
        hs.say(
            room,
            MEI,
            "* // now secret",
            **{
                "m.new_content": {"msgtype": "m.text", "body": "// now secret"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": edited},
            },
        )
        hs.say(room, "@boss:example.org", "I am the boss")
        hs.type(room, "@boss:example.org")
        hs.set_member(room, "@boss:example.org", "leave")
        await visitor.settle()
        await visitor.connect(since=0)
        seen = json.dumps(visitor.wire.frames)
        for secret in (
            "discount",
            "whisper",
            "credit",
            "secret",
            "internal",
            "@mei",
            "@boss",
            ":example.org",
            "$event",
        ):
            assert secret not in seen, secret
        assert visitor.texts() == ["hello", "visible", "", "I am the boss"]
        for frame in visitor.wire.frames:
            assert set(frame) - {"type"} <= SEEN_BY_VISITORS[frame["type"]], frame


async def test_edits_and_deletions_of_staff_reach_the_visitor_and_do_not_return_with_the_history() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        hs = harness.homeserver
        price, gone = hs.say(room, MEI, "12 euro"), hs.say(room, MEI, "oops")
        hs.say(
            room,
            MEI,
            "* 14 euro",
            **{
                "m.new_content": {"msgtype": "m.text", "body": "14 euro"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": price},
            },
        )
        hs.say(  # somebody else cannot change Mei's words
            room,
            "@ben:example.org",
            "* 99 euro",
            **{
                "m.new_content": {"msgtype": "m.text", "body": "99 euro"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": price},
            },
        )
        hs.redact(room, MEI, gone)
        await visitor.settle()
        changes = [frame for frame in visitor.of_type("event") if frame["kind"] in ("edit", "delete")]
        assert [(c["kind"], c["target"], c.get("text")) for c in changes] == [
            ("edit", 3, "14 euro"),
            ("delete", 4, None),
        ]
        await visitor.connect(since=0)
        assert visitor.texts() == ["hello", "14 euro", ""]
        assert "oops" not in json.dumps(visitor.wire.frames)


async def test_files_of_staff_become_links_that_only_the_random_id_opens() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        image = {
            "msgtype": "m.image",
            "body": "pot.png",
            "url": "mxc://example.org/abc",
            "info": {"mimetype": "image/png"},
        }
        harness.homeserver.add_event(room, MEI, "m.room.message", image)
        await visitor.settle()
        shown = visitor.of_type("event")[-1]
        assert (shown["file"]["name"], shown["file"]["image"], shown["text"]) == ("pot.png", True, "")
        assert "mxc" not in json.dumps(visitor.wire.frames)
        assert len(shown["file"]["id"]) >= 22


async def test_a_conversation_that_the_staff_left_opens_again_when_the_visitor_comes_back() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", "client-0001")
        room = await harness.welcome_staff(visitor)
        harness.homeserver.set_member(room, MEI, "leave")
        await visitor.settle()
        assert harness.homeserver.rooms[room].membership(MEI) == "leave"
        visitor.disconnect()
        await visitor.connect(since=2)
        await visitor.say("one more thing", "client-0002")
        await visitor.settle()
        assert harness.homeserver.rooms[room].membership(MEI) == "invite"
        assert [text for _, text in harness.homeserver.texts(room)] == [
            "hello",
            "one more thing",
            "The visitor came back.",
        ]
        assert len(harness.homeserver.portal_rooms()) == 1


async def test_a_banned_visitor_learns_that_his_message_failed_and_not_why() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("rude", "client-0001")
        room = await harness.welcome_staff(visitor)
        ghost = next(s for s, t in harness.homeserver.texts(room) if t == "rude")
        harness.homeserver.set_member(room, ghost, "ban", MEI)
        await visitor.settle()
        await visitor.say("ruder", "client-0002")
        await visitor.settle()
        failed = visitor.of_type("event")[-1]
        assert (failed["kind"], failed["target"]) == ("failed", 3)
        assert "ban" not in json.dumps(visitor.wire.frames).lower()


async def test_the_visitors_read_and_typing_show_in_matrix() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        answer = harness.homeserver.say(room, MEI, "hi")
        await visitor.settle()
        await visitor.send({"type": "read", "seq": 3})
        await visitor.send({"type": "typing", "typing": True})
        await harness.finish_errands()
        (ghost,) = [s for s, t in harness.homeserver.texts(room) if t == "hello"]
        shown = harness.homeserver.rooms[room]
        assert (ghost, answer) in shown.receipts
        assert (harness.bot, answer) in shown.receipts
        assert shown.typing == {ghost}


async def test_control_characters_do_not_cross_and_long_or_empty_texts_are_refused() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("a\x00b\x1b[31mc\r\nd\u2028e\x85f\x7f", "client-0001")
        await visitor.say("  \x00 ", "client-0002")
        await visitor.say("x" * (GENEROUS.longest_text + 1), "client-0003")
        await visitor.settle()
        room = harness.homeserver.portal_rooms()[0]
        assert [text for _, text in harness.homeserver.texts(room.room_id)] == ["ab[31mc\nd\ne\nf"]
        assert [frame["code"] for frame in visitor.of_type("error")] == ["empty", "too_long"]


async def test_W29_tokens_are_not_in_the_database(tmp_path: Path) -> None:
    async with WebchatHarness(database=str(tmp_path / "webchat.db")) as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        await visitor.settle()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 -- a test's own small file
    assert visitor.token is not None
    assert len(visitor.token) == 43
    assert visitor.token.encode() not in stored


async def test_W09_a_token_that_the_server_did_not_give_is_not_taken_over() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        visitor.token = "A" * 43
        await visitor.connect()
        assert visitor.token != "A" * 43
        malformed: Any = Visitor(harness)
        malformed.token = "../../etc"
        await malformed.connect()
        assert malformed.wire.closed_with == 4400
