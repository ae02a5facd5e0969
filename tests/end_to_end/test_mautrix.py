"""mautrix, the Python library that many bridges stand on, talks on the running server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from mautrix.api import HTTPAPI
from mautrix.client import ClientAPI
from mautrix.errors import MBadState, MForbidden, MNotFound, MUnknownToken
from mautrix.types import (
    DeviceID,
    EventID,
    EventType,
    Membership,
    MessageType,
    PaginationDirection,
    PresenceState,
    RelatesTo,
    RelationType,
    RoomCreatePreset,
    RoomDirectoryVisibility,
    RoomNameStateEventContent,
    RoomTagInfo,
    SpaceChildStateEventContent,
    TextMessageEventContent,
    UserID,
)

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

Login = Callable[..., Any]


@pytest_asyncio.fixture
async def login(server: ServerProcess, person: Callable[[str], Account]) -> AsyncIterator[Login]:
    """Makes an account and a client that is logged in with it."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str, base_url: str | None = None) -> Any:
            account = person(name)
            session = await stack.enter_async_context(ClientSession())
            api = HTTPAPI(base_url or server.base_url, token=account.access_token, client_session=session)
            return ClientAPI(UserID(account.user_id), device_id=DeviceID(account.device_id), api=api)

        yield make


async def room_of(*clients: Any, **options: Any) -> Any:
    """A public room that the first client made and the others joined."""
    first, *others = clients
    room = await first.create_room(**{"preset": RoomCreatePreset.PUBLIC, **options})
    for client in others:
        await client.join_room_by_id(room)
    return room


async def since_now(client: Any) -> Any:
    return (await client.sync(timeout=0))["next_batch"]


def timeline(answer: Any, room: str) -> list[Any]:
    return list(answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", []))


def ephemeral(answer: Any, room: str) -> list[Any]:
    return list(answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", []))


def related(kind: RelationType, event: str, **more: Any) -> RelatesTo:
    return RelatesTo(rel_type=kind, event_id=EventID(event), **more)


async def test_logs_in_and_out(server: ServerProcess, person: Callable[[str], Account]) -> None:
    account = person("ann")
    async with ClientSession() as session:
        client = ClientAPI(api=HTTPAPI(server.base_url, client_session=session))
        with pytest.raises(MForbidden):
            await client.login(UserID(account.user_id), password="wrong")
        answer = await client.login(UserID(account.user_id), password=account.password, device_name="mautrix")
        assert answer.user_id == account.user_id
        assert (await client.whoami()).device_id == answer.device_id
        token = client.api.token
        await client.logout()
        client.api.token = token
        with pytest.raises(MUnknownToken):
            await client.whoami()


async def test_message_arrives_once_and_can_be_read(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    since = await since_now(ben)
    event_id = await ann.send_text(room, text="hello", html="<b>hello</b>")
    answer = await ben.sync(since, timeout=5000)
    assert [event["event_id"] for event in timeline(answer, room)] == [event_id]
    event = await ben.get_event(room, event_id)
    assert (event.content.body, event.content.formatted_body) == ("hello", "<b>hello</b>")
    assert event.sender == ann.mxid


async def test_the_same_transaction_sends_once(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    content = TextMessageEventContent(msgtype=MessageType.TEXT, body="once")
    first = await ann.send_message_event(room, EventType.ROOM_MESSAGE, content, txn_id="same")
    assert await ann.send_message_event(room, EventType.ROOM_MESSAGE, content, txn_id="same") == first


async def test_edits_and_reactions_are_bundled(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    original = await ann.send_text(room, text="tpyo")
    edited = TextMessageEventContent(msgtype=MessageType.TEXT, body="typo")
    edited.set_edit(original)
    edit = await ann.send_message(room, edited)
    reaction = await ben.react(room, original, "👍")
    event = await ben.get_event(room, original)
    assert event.unsigned.serialize()["m.relations"]["m.replace"]["event_id"] == edit
    assert (await ann.get_event(room, reaction)).content.relates_to.key == "👍"


async def test_reply_in_thread_counts_in_its_root(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    root = await ann.send_text(room, text="root")
    reply = await ben.send_text(room, text="reply", relates_to=related(RelationType.THREAD, root))
    thread = (await ann.get_event(room, root)).unsigned.serialize()["m.relations"]["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (1, reply)


async def test_receipts_and_typing_are_seen(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    event = await ann.send_text(room, text="read me")
    since = await since_now(ann)
    await ben.set_fully_read_marker(room, event, event)
    await ben.set_typing(room, timeout=30000)
    seen: dict[str, Any] = {}
    while set(seen) != {"m.receipt", "m.typing"}:
        answer = await ann.sync(since, timeout=5000)
        since = answer["next_batch"]
        seen |= {each["type"]: each["content"] for each in ephemeral(answer, room)}
    assert ben.mxid in seen["m.receipt"][event]["m.read"]
    assert seen["m.typing"]["user_ids"] == [ben.mxid]
    await ben.set_typing(room, timeout=0)


async def test_pagination_brings_everything_once_and_in_order(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    sent = [await ann.send_text(room, text=f"message {n}") for n in range(25)]
    token: Any = None
    got: list[Any] = []
    while True:
        page = await ann.get_messages(room, PaginationDirection.BACKWARD, from_token=token, limit=10)
        got = [event.event_id for event in reversed(page.events)] + got
        token = page.end
        if not token:
            break
    assert [event for event in got if event in sent] == sent
    assert len(got) == len(set(got))


async def test_context_surrounds_an_event(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    sent = [await ann.send_text(room, text=f"message {n}") for n in range(5)]
    context = await ann.get_event_context(room, sent[2], limit=4)
    assert [event.event_id for event in context.events_before] == [sent[1], sent[0]]
    assert [event.event_id for event in context.events_after] == [sent[3], sent[4]]


async def test_memberships_change_and_are_seen(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, preset=RoomCreatePreset.PRIVATE)
    with pytest.raises(MForbidden):
        await ben.join_room_by_id(room)
    since = await since_now(ben)
    await ann.invite_user(room, ben.mxid, reason="come")
    assert room in (await ben.sync(since, timeout=5000))["rooms"]["invite"]
    await ben.join_room_by_id(room)
    members = await ann.get_joined_members(room)
    assert set(members) == {ann.mxid, ben.mxid}
    await ann.kick_user(room, ben.mxid, reason="out")
    await ann.ban_user(room, ben.mxid)
    with pytest.raises((MForbidden, MBadState)):  # the specification leaves the code open here
        await ben.join_room_by_id(room)
    await ann.unban_user(room, ben.mxid)
    await ann.invite_user(room, ben.mxid)
    await ben.join_room_by_id(room)
    await ben.leave_room(room)
    await ben.forget_room(room)
    left = await ann.get_members(room, membership=Membership.LEAVE)
    assert [event.state_key for event in left] == [ben.mxid]


async def test_state_is_set_and_read(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    with pytest.raises(MNotFound):
        await ann.get_state_event(room, EventType.ROOM_NAME)
    await ann.send_state_event(room, EventType.ROOM_NAME, RoomNameStateEventContent(name="Named"))
    assert (await ann.get_state_event(room, EventType.ROOM_NAME)).name == "Named"
    assert EventType.ROOM_NAME in [event.type for event in await ann.get_state(room)]


async def test_space_has_its_child(login: Login) -> None:
    ann = await login("ann")
    space = await room_of(ann, creation_content={"type": "m.space"})
    room = await room_of(ann)
    content = SpaceChildStateEventContent(via=["halfdoor.test"], suggested=True)
    await ann.send_state_event(space, EventType.SPACE_CHILD, content, state_key=room)
    path = f"/_matrix/client/v1/rooms/{space}/hierarchy"
    answer = await ann.api.request("GET", path)
    assert {each["room_id"] for each in answer["rooms"]} == {space, room}


async def test_redaction_takes_the_words_away(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    event = await ann.send_text(room, text="regret")
    redaction = await ann.redact(room, event, reason="sorry")
    redacted = await ben.get_event(room, event)
    assert "body" not in redacted.content.serialize()
    assert redacted.unsigned.serialize()["redacted_because"]["event_id"] == redaction


async def test_profile_changes(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    await ann.set_displayname("Ann the Second")
    await ann.set_avatar_url("mxc://halfdoor.test/face")
    profile = await ben.get_profile(ann.mxid)
    assert (profile.displayname, profile.avatar_url) == ("Ann the Second", "mxc://halfdoor.test/face")


async def test_account_data_and_tags_are_kept(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    await ann.set_account_data("org.example.x", {"a": [1, None]})
    await ann.set_account_data("org.example.y", {"b": 2}, room_id=room)
    await ann.set_room_tag(room, "u.work", RoomTagInfo(order=0.5))
    assert await ann.get_account_data("org.example.x") == {"a": [1, None]}
    assert await ann.get_account_data("org.example.y", room_id=room) == {"b": 2}
    assert (await ann.get_room_tag(room, "u.work")).order == 0.5
    await ann.remove_room_tag(room, "u.work")
    assert await ann.get_room_tag(room, "u.work") is None


async def test_aliases_and_directory(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    local = ann.mxid[1:].partition(":")[0]
    room = await room_of(ann, name=f"Listed by {local}", alias_localpart=local)
    await ann.set_room_directory_visibility(room, RoomDirectoryVisibility.PUBLIC)
    assert (await ben.resolve_room_alias(f"#{local}:halfdoor.test")).room_id == room
    assert await ben.join_room(f"#{local}:halfdoor.test") == room
    found = await ben.get_room_directory(search_query=f"Listed by {local}")
    assert [each.room_id for each in found.chunk] == [room]
    await ann.remove_room_alias(local)
    with pytest.raises(MNotFound):
        await ben.resolve_room_alias(f"#{local}:halfdoor.test")


async def test_presence_is_told(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    await room_of(ann, ben)
    await ann.set_presence(PresenceState.UNAVAILABLE, status="away")
    seen = await ben.get_presence(ann.mxid)
    assert (seen.presence, seen.status_msg) == (PresenceState.UNAVAILABLE, "away")


async def test_search_finds_a_message(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    event = await ann.send_text(room, text="a quagga in the garden")
    body = {"search_categories": {"room_events": {"search_term": "quagga", "order_by": "recent"}}}
    found: list[str] = []
    for _ in range(100):  # the other server indexes a moment later
        answer = await ann.api.request("POST", "/_matrix/client/v3/search", body)
        found = [each["result"]["event_id"] for each in answer["search_categories"]["room_events"]["results"]]
        if found:
            break
    assert found == [event]


async def test_sync_goes_on_after_a_cut_without_loss_or_repetition(login: Login, server: ServerProcess) -> None:
    ann = await login("ann")
    async with CuttingProxy(server.port) as proxy:
        ben = await login("ben", base_url=proxy.base_url)
        room = await room_of(ann, ben)
        since = await since_now(ben)
        got: list[str] = []
        sent: list[str] = []
        for n in range(10):
            waiting = asyncio.ensure_future(ben.sync(since, timeout=10000))
            if n % 2:
                proxy.cut()
            sent.append(await ann.send_text(room, text=f"message {n}"))
            answer = await waiting  # mautrix repeats the request that was cut
            since = answer["next_batch"]
            got += [event["event_id"] for event in timeline(answer, room)]
        while len(got) < len(sent):
            answer = await ben.sync(since, timeout=5000)
            since = answer["next_batch"]
            got += [event["event_id"] for event in timeline(answer, room)]
    assert got == sent


async def test_a_file_comes_back_as_it_went_in(login: Login) -> None:
    alice, bob = await login("alice"), await login("bob")
    address = await alice.upload_media(b"words of alice", mime_type="text/plain", filename="words.txt")
    assert await bob.download_media(address) == b"words of alice"
