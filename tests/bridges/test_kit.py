"""The kit's promises: exactly once, in order, through every fault; ghosts that cannot be forged; a careful listener."""

from __future__ import annotations

import re
import sqlite3
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.kit import (
    Bridge,
    BridgeSettings,
    ChatDescription,
    MatrixMessage,
    MatrixUser,
    Person,
    RemoteDeletion,
    RemoteEdit,
    RemoteEvent,
    RemoteMessage,
    RemoteReaction,
    Undeliverable,
    new_token,
    registration,
    registration_file,
)
from bridges.kit.ghosts import escape
from bridges.kit.incoming import TooLong
from bridges.kit.requests import Answer
from bridges.kit.settings import BadSettings, load_settings
from bridges.kit.store import NewerDatabase, Store
from bridges.kit.testing import AS_TOKEN, ERROR, HS_TOKEN, LIMITED, LOST, OK, UNREACHABLE, BridgeHarness
from bridges.kit.text import clean_name, clean_text
from bridges.kit.translation import without_reply_fallback

MEI = "@mei:example.org"


class ListNetwork:
    """A network that writes down what it is given; it has every ability but media."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.changes: list[tuple[Any, ...]] = []
        self.outcomes: list[tuple[str, str]] = []
        self.fails = 0
        self.refuses = False

    async def start(self, bridge: Bridge) -> None:
        self.bridge = bridge

    async def stop(self) -> None:
        """Nothing to close."""

    async def describe_chat(self, chat: str) -> ChatDescription:
        return ChatDescription(name=f"Chat {chat}", invite=(MEI,))

    async def send(self, chat: str, message: MatrixMessage) -> str:
        if self.refuses:
            raise Undeliverable("the network is closed for today.")
        if self.fails:
            self.fails -= 1
            raise OSError("wobbly line")
        self.sent.append((chat, message.text))
        if message.reply_to:
            self.changes.append(("reply", message.reply_to))
        return f"remote {message.event_id}"

    async def edit(self, chat: str, remote_id: str, message: MatrixMessage) -> None:
        self.changes.append(("edit", remote_id, message.text))

    async def delete(self, chat: str, remote_id: str, event_id: str) -> None:
        self.changes.append(("delete", remote_id))

    async def react(self, chat: str, remote_id: str, key: str, sender: MatrixUser, event_id: str) -> str:
        self.changes.append(("react", remote_id, key, sender.user_id))
        return f"reaction {event_id}"

    async def set_typing(self, chat: str, users: Sequence[MatrixUser]) -> None:
        self.changes.append(("typing", [user.user_id for user in users]))

    async def mark_read(self, chat: str, remote_id: str, user: MatrixUser) -> None:
        self.changes.append(("read", remote_id, user.user_id))

    async def delivered(self, chat: str, remote_id: str, event_id: str) -> None:
        self.outcomes.append((remote_id, "delivered"))

    async def refused(self, chat: str, remote_id: str, reason: str) -> None:
        self.outcomes.append((remote_id, "refused"))


ANNA = Person("anna", "Anna")


def message(number: int, chat: str = "c1", **more: Any) -> RemoteMessage:
    return RemoteMessage(chat, f"m{number}", ANNA, f"text {number}", **more)


async def portal(harness: BridgeHarness) -> str:
    """A portal with one message from Anna, joined by Mei; the room's id."""
    await harness.bridge.receive(message(0))
    await harness.settle()
    room = harness.homeserver.portal_rooms()[0].room_id
    harness.homeserver.join(room, MEI, "Mei")
    await harness.settle()
    return room


@pytest.mark.parametrize("fault", [ERROR, LOST, LIMITED, UNREACHABLE])
async def test_every_call_may_fail_once_and_nothing_is_lost_doubled_or_reordered(fault: str) -> None:
    async with BridgeHarness(ListNetwork) as harness:
        turn = iter(range(10_000))
        harness.homeserver.fault = lambda method, path: fault if next(turn) % 2 == 0 else OK
        for number in range(6):
            await harness.bridge.receive(message(number))
        await harness.settle()
        (room,) = harness.homeserver.portal_rooms()
        assert [text for _, text in harness.homeserver.texts(room.room_id)] == [f"text {n}" for n in range(6)]
        assert harness.network.outcomes == [(f"m{n}", "delivered") for n in range(6)]


@pytest.mark.parametrize("closed", ["register", "createRoom"])
async def test_messages_wait_while_the_homeserver_does_not_accept_the_bridge(closed: str) -> None:
    async with BridgeHarness(ListNetwork) as harness:
        calls = iter(range(10_000))
        accepting = harness.homeserver.request

        async def refusing(method: str, path: str, *rest: Any) -> Answer:
            if path.endswith(closed) and next(calls) < 40:
                return Answer(403, b'{"errcode":"M_FORBIDDEN","error":"no registration"}')
            return await accepting(method, path, *rest)

        harness.homeserver.request = refusing  # type: ignore[method-assign,assignment]
        await harness.bridge.receive(message(0))
        await harness.settle()
        assert harness.network.outcomes == [("m0", "delivered")]


async def test_a_send_that_a_crash_interrupted_is_looked_up_before_it_is_repeated() -> None:
    class Forgetful(ListNetwork):
        async def send(self, chat: str, message: MatrixMessage) -> str:
            await super().send(chat, message)
            raise OSError("sent, but the line broke before the answer")

        async def find_sent(self, chat: str, event_id: str) -> str | None:
            return f"remote {event_id}" if self.sent else None

    async with BridgeHarness(Forgetful) as harness:
        room = await portal(harness)
        harness.homeserver.say(room, MEI, "once")
        await harness.settle()
        assert harness.network.sent == [("c1", "once")]


async def test_W19_a_remote_message_that_comes_five_times_is_one_event() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        for number in (0, 1, 0, 1, 1, 0, 2, 0, 1, 2):
            await harness.bridge.receive(message(number))
            await harness.settle()
        (room,) = harness.homeserver.portal_rooms()
        assert [text for _, text in harness.homeserver.texts(room.room_id)] == ["text 0", "text 1", "text 2"]


async def test_chats_do_not_wait_for_each_other_and_each_keeps_its_order() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        for number in range(12):
            await harness.bridge.receive(message(number, chat=f"c{number % 3}"))
        await harness.settle()
        rooms = harness.homeserver.portal_rooms()
        assert sorted(room.state["m.room.name", ""]["name"] for room in rooms) == ["Chat c0", "Chat c1", "Chat c2"]
        for room in rooms:
            numbers = [int(text.split()[1]) for _, text in harness.homeserver.texts(room.room_id)]
            assert len(numbers) == 4
            assert numbers == sorted(numbers)


async def test_a_crash_between_creating_and_remembering_a_room_makes_no_second_room() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        await portal(harness)
        async with harness.bridge.store.transaction() as txn:
            await txn.execute("DELETE FROM portals")
        await harness.bridge.receive(message(1))
        await harness.settle()
        assert len(harness.homeserver.portal_rooms()) == 1


async def test_staff_get_power_in_the_room() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        assert harness.homeserver.rooms[room].state["m.room.power_levels", ""]["users"] == {MEI: 50}


async def test_what_is_said_before_the_portal_is_remembered_waits_for_it() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = harness.homeserver.create_room(harness.bot)
        harness.homeserver.say(room, MEI, "too early?")
        await harness.settle()
        assert harness.network.sent == []
        await harness.bridge.portals.adopt("c9", room)
        await harness.settle()
        assert harness.network.sent == [("c9", "too early?")]


async def test_W33_a_transaction_that_is_repeated_is_taken_once() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        harness.homeserver.say(room, MEI, "one")
        await harness.push(times=5)
        await harness.settle()
        assert harness.network.sent == [("c1", "one")]


async def test_W33_an_event_that_comes_again_in_another_transaction_is_taken_once() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        harness.homeserver.say(room, MEI, "one")
        events = list(harness.homeserver.unsent)
        for name in ("a", "b", "c"):
            await harness.push_transaction(name, events)
        await harness.settle()
        assert harness.network.sent == [("c1", "one")]


async def test_a_network_that_fails_is_asked_again_in_order() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        harness.network.fails = 5
        for text in ("one", "two"):
            harness.homeserver.say(room, MEI, text)
        await harness.settle()
        assert harness.network.sent == [("c1", "one"), ("c1", "two")]


async def test_what_the_network_refuses_is_answered_in_the_room() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        harness.network.refuses = True
        harness.homeserver.say(room, MEI, "hello?")
        await harness.settle()
        assert harness.homeserver.texts(room)[-1] == (
            harness.bot,
            "⚠ Not delivered: the network is closed for today.",
        )


async def test_an_encrypted_message_is_answered_and_not_passed_on() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        harness.homeserver.add_event(room, MEI, "m.room.encrypted", {"ciphertext": "x"})
        await harness.settle()
        assert "encrypted" in harness.homeserver.texts(room)[-1][1]
        assert harness.network.sent == []


async def test_the_bots_receipt_says_that_the_network_has_a_message() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        event_id = harness.homeserver.say(room, MEI, "hello")
        await harness.settle()
        assert (harness.bot, event_id) in harness.homeserver.rooms[room].receipts


async def test_abilities_from_matrix_reach_the_network() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        hs = harness.homeserver
        (anna_event,) = [e["event_id"] for e in hs.rooms[room].events if e["type"] == "m.room.message"]
        mine = hs.say(room, MEI, "> quote\n\nanswer", **{"m.relates_to": {"m.in_reply_to": {"event_id": anna_event}}})
        hs.say(
            room,
            MEI,
            "* better",
            **{
                "m.new_content": {"msgtype": "m.text", "body": "better"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": mine},
            },
        )
        relation = {"rel_type": "m.annotation", "event_id": anna_event, "key": "👍"}
        reaction = hs.add_event(room, MEI, "m.reaction", {"m.relates_to": relation})
        hs.redact(room, MEI, reaction)
        hs.redact(room, MEI, "$unknown")
        hs.type(room, MEI, harness.bot)
        hs.read(room, MEI, anna_event)
        await harness.settle()
        assert harness.network.sent == [("c1", "answer")]
        # What is true for a moment does not wait in the queue of what is kept, so only the kept ones have an order.
        changes = harness.network.changes
        assert ("typing", [MEI]) in changes
        assert ("read", "m0", MEI) in changes
        assert [change for change in changes if change[0] not in ("typing", "read")] == [
            ("reply", "m0"),
            ("edit", f"remote {mine}", "better"),
            ("react", "m0", "👍", MEI),
            ("delete", f"reaction {reaction}"),
        ]


async def test_abilities_of_the_network_reach_matrix() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        events: list[RemoteEvent] = [
            RemoteEdit("c1", "e1", ANNA, "m0", "better"),
            RemoteReaction("c1", "r1", ANNA, "m0", "👍"),
            RemoteMessage("c1", "m1", ANNA, "answer", reply_to="m0"),
            RemoteMessage("c1", "m2", ANNA, "answer to nothing", reply_to="unknown"),
            RemoteDeletion("c1", "d1", ANNA, "m0"),
            RemoteDeletion("c1", "d2", ANNA, "unknown"),
        ]
        for event in events:
            await harness.bridge.receive(event)
        await harness.settle()
        first, *rest = [
            e
            for e in harness.homeserver.rooms[room].events
            if e["type"] in ("m.room.message", "m.reaction", "m.room.redaction")
        ]
        edit, reaction, answer, lone, deletion = [event["content"] for event in rest]
        assert edit["m.new_content"]["body"] == "better"
        assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": first["event_id"]}
        assert reaction["m.relates_to"]["key"] == "👍"
        assert answer["m.relates_to"] == {"m.in_reply_to": {"event_id": first["event_id"]}}
        assert "m.relates_to" not in lone
        assert deletion == {"redacts": first["event_id"]}


async def test_W26_a_reply_to_an_event_of_another_chat_quotes_nothing() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = await portal(harness)
        await harness.bridge.receive(message(7, chat="other"))
        await harness.settle()
        other = harness.homeserver.portal_rooms()[1]
        (secret,) = [e["event_id"] for e in other.events if e["type"] == "m.room.message"]
        harness.homeserver.say(room, MEI, "see", **{"m.relates_to": {"m.in_reply_to": {"event_id": secret}}})
        await harness.settle()
        assert harness.network.changes == []


async def test_an_invitation_to_a_bridge_that_opens_no_chats_is_declined() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        room = harness.homeserver.create_room(MEI, invite=[harness.bot])
        await harness.settle()
        assert harness.homeserver.rooms[room].membership(harness.bot) == "leave"


async def test_too_long_texts_are_refused_before_they_are_stored() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        with pytest.raises(TooLong):
            await harness.bridge.receive(RemoteMessage("c1", "m1", ANNA, "x" * 20_001))
        await harness.settle()
        assert harness.homeserver.portal_rooms() == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "query", "body", "expected"),
    [
        ("PUT", "transactions/1", {}, {}, b'{"events":[]}', (401, "M_MISSING_TOKEN")),
        ("PUT", "transactions/1", {"authorization": "Bearer wrong"}, {}, b'{"events":[]}', (403, "M_FORBIDDEN")),
        ("PUT", "transactions/1", {"authorization": HS_TOKEN}, {}, b'{"events":[]}', (401, "M_MISSING_TOKEN")),
        ("PUT", "transactions/1", {"authorization": f"Bearer {AS_TOKEN}"}, {}, b'{"events":[]}', (403, "M_FORBIDDEN")),
        ("PUT", "transactions/1", {}, {"access_token": "wrong"}, b'{"events":[]}', (403, "M_FORBIDDEN")),
        (
            "PUT",
            "transactions/1",
            {"authorization": f"Bearer {HS_TOKEN}"},
            {"access_token": "wrong"},
            b'{"events":[]}',
            (403, "M_FORBIDDEN"),
        ),
        ("PUT", "transactions/1", {}, {"access_token": HS_TOKEN}, b'{"events":[]}', (200, None)),
        ("PUT", "transactions/1", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"{", (400, "M_NOT_JSON")),
        ("PUT", "transactions/1", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"[]", (400, "M_BAD_JSON")),
        ("PUT", "transactions/1", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b'{"events":{}}', (400, "M_BAD_JSON")),
        ("PUT", "transactions/1", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b'{"events":[1,{}]}', (200, None)),
        ("POST", "transactions/1", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"{}", (405, "M_UNRECOGNIZED")),
        ("PUT", "transactions/1/2", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"{}", (404, "M_UNRECOGNIZED")),
        ("PUT", "transactions/", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"{}", (404, "M_UNRECOGNIZED")),
        ("GET", "thirdparty/protocol/x", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"", (404, "M_UNRECOGNIZED")),
        ("POST", "ping", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b'{"transaction_id":"x"}', (200, None)),
        ("GET", "users/%40_test_bot%3Aexample.org", {"authorization": f"Bearer {HS_TOKEN}"}, {}, b"", (200, None)),
        (
            "GET",
            "users/%40_test_x%3Aexample.org",
            {"authorization": f"Bearer {HS_TOKEN}"},
            {},
            b"",
            (404, "M_NOT_FOUND"),
        ),
        (
            "GET",
            "rooms/%23_test_x%3Aexample.org",
            {"authorization": f"Bearer {HS_TOKEN}"},
            {},
            b"",
            (404, "M_NOT_FOUND"),
        ),
    ],
)
async def test_the_listener_answers_as_the_specification_says(
    method: str,
    path: str,
    headers: dict[str, str],
    query: dict[str, str],
    body: bytes,
    expected: tuple[int, str | None],
) -> None:
    async with BridgeHarness(ListNetwork) as harness:
        status, answer = await harness.bridge.listener.answer(method, f"/_matrix/app/v1/{path}", headers, query, body)
        assert (status, answer.get("errcode")) == expected


@given(st.text(max_size=60), st.text(max_size=60))
def test_W20_two_remote_ids_never_share_a_ghost(one: str, other: str) -> None:
    allowed = set(string.ascii_lowercase + string.digits + ".-=_/+")
    assert set(escape(one)) <= allowed
    assert (escape(one) == escape(other)) == (one == other)


@given(st.text(min_size=0, max_size=3000))
def test_W20_a_ghost_id_is_never_too_long_and_a_hash_never_looks_like_an_escape(remote_id: str) -> None:
    escaped = escape(remote_id)
    assert len(escaped) <= 100
    if escaped.startswith("=h"):
        assert len(remote_id.encode()) > 33


def test_W20_ids_that_read_alike_are_different_ghosts() -> None:
    alike = ["mei", "Mei", "MEI", "mеi", "mei ", "mei\u200b", "m.ei", "@mei:example.org", "=6dei", "mei\x00"]
    assert len({escape(name) for name in alike}) == len(alike)


async def test_W20_a_ghosts_name_carries_the_networks_suffix_and_no_tricks() -> None:
    async with BridgeHarness(ListNetwork) as harness:
        object.__setattr__(
            harness.bridge.ghosts, "_settings", msgspec.structs.replace(harness.settings, name_suffix=" (x)")
        )
        await harness.bridge.receive(RemoteMessage("c1", "m1", Person("p", "Mei\u202e\n(staff)\x00"), "hi"))
        await harness.settle()
        assert harness.homeserver.users["@_test_p:example.org"] == "Mei (staff) (x)"


@given(st.text())
def test_W21_cleaned_text_has_no_controls_and_cleaning_is_stable(text: str) -> None:
    cleaned = clean_text(text)
    assert not [c for c in cleaned if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]
    assert clean_text(cleaned) == cleaned
    name = clean_name(text)
    assert "\n" not in name
    assert len(name) <= 100
    cleaned.encode()


def test_a_reply_fallback_is_dropped_and_other_quotes_stay() -> None:
    assert without_reply_fallback("> <@a:b> x\n> y\n\nz") == "z"
    assert without_reply_fallback("> only a quote") == "> only a quote"
    assert without_reply_fallback("> a\nb") == "> a\nb"


def settings(**more: Any) -> BridgeSettings:
    values: dict[str, Any] = {
        "id": "x",
        "homeserver_url": "http://127.0.0.1:8008",
        "server_name": "ex.ample",
        "as_token": new_token(),
        "hs_token": new_token(),
        "prefix": "_x.y_",
        "bot": "_x_bot",
    }
    return BridgeSettings(**(values | more))


def test_W20_the_registration_claims_its_ghosts_exclusively_and_exactly() -> None:
    found = registration(settings(listen_port=9000))
    assert found["url"] == "http://127.0.0.1:9000"
    (ghosts, bot) = found["namespaces"]["users"]
    assert ghosts["exclusive"] is bot["exclusive"] is True
    assert re.fullmatch(ghosts["regex"], "@_x.y_anna:ex.ample")
    assert not re.fullmatch(ghosts["regex"], "@_xzy_anna:ex.ample")
    assert not re.fullmatch(ghosts["regex"], "@_x.y_anna:exxample")
    assert msgspec.yaml.decode(registration_file(settings()))["sender_localpart"] == "_x_bot"


@pytest.mark.parametrize(
    "change",
    [{"as_token": "short"}, {"hs_token": ""}, {"prefix": "UP"}, {"prefix": "a:b"}, {"bot": "x y"}, {"server_name": ""}],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        settings(**change)


def test_a_wrong_settings_file_is_answered_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    with pytest.raises(BadSettings, match="cannot be read"):
        load_settings(file, BridgeSettings)
    file.write_text("id: x\nhomserver_url: y\n")
    with pytest.raises(BadSettings, match="homserver_url"):
        load_settings(file, BridgeSettings)
    file.write_bytes(msgspec.yaml.encode(settings()))
    assert load_settings(file, BridgeSettings).id == "x"


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    store = Store(path)
    await store.open()
    async with store.transaction() as txn:
        await txn.execute("SELECT 1")
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerDatabase):
        await Store(path).open()


async def test_a_transaction_that_fails_leaves_nothing_behind() -> None:
    store = Store(":memory:")
    await store.open()

    async def fail() -> None:
        async with store.transaction() as txn:
            await txn.execute("INSERT INTO transactions VALUES ('x', 1)")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with store.transaction() as txn:
        assert await txn.value("SELECT count(*) FROM transactions") == 0
    await store.close()
