"""matrix-nio, a Python client library, talks on the running server."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import nio
import pytest
import pytest_asyncio
from nio.api import RelationshipType

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

Login = Callable[..., Any]
SYNC_TIMEOUT_MS = 5000


@pytest_asyncio.fixture
async def login(server: ServerProcess, person: Callable[[str], Account]) -> AsyncIterator[Login]:
    """Makes an account and a client that is logged in with it."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str, base_url: str | None = None, account: Account | None = None) -> Any:
            account = account or person(name)
            config = nio.AsyncClientConfig(encryption_enabled=False, max_timeouts=0)
            client = nio.AsyncClient(base_url or server.base_url, account.user_id, config=config)
            stack.push_async_callback(client.close)
            client.restore_login(account.user_id, account.device_id, account.access_token)
            return client

        yield make


def checked(answer: Any) -> Any:
    """The answer of nio when it is a success."""
    assert not isinstance(answer, nio.ErrorResponse), f"nio: {answer}"
    return answer


async def room_of(*clients: Any, **options: Any) -> str:
    """A public room that the first client made and the others joined."""
    first, *others = clients
    preset = options.pop("preset", nio.RoomPreset.public_chat)
    room_id = str(checked(await first.room_create(preset=preset, **options)).room_id)
    for client in others:
        checked(await client.join(room_id))
    return room_id


async def say(client: Any, room: str, body: str, **more: Any) -> str:
    content = {"msgtype": "m.text", "body": body, **more}
    return str(checked(await client.room_send(room, "m.room.message", content)).event_id)


async def synced(client: Any, **options: Any) -> Any:
    return checked(await client.sync(timeout=SYNC_TIMEOUT_MS, **options))


def timeline(answer: Any, room: str) -> list[Any]:
    return list(answer.rooms.join[room].timeline.events) if room in answer.rooms.join else []


async def arrived(client: Any, room: str, count: int, kind: type[Any] = nio.Event) -> list[Any]:
    """The next events of a kind in the room, at least `count`, by as many syncs as it takes."""
    seen: list[Any] = []
    while len(seen) < count:
        seen += [event for event in timeline(await synced(client), room) if isinstance(event, kind)]
    return seen


async def until_in(client: Any, room: str, section: str) -> None:
    """Sync until the room is in the section (join, invite or leave)."""
    while room not in getattr((await synced(client)).rooms, section):
        pass


async def test_registers_logs_in_and_out(server: ServerProcess, person: Callable[[str], Account]) -> None:
    name = person("seed").user_id[1:].partition(":")[0] + "x"
    client = nio.AsyncClient(server.base_url, name)
    try:
        registered = checked(await client.register(name, "a long enough Passw0rd!", "nio"))
        assert registered.user_id == f"@{name}:{server.server_name}"
        assert checked(await client.whoami()).user_id == registered.user_id
        checked(await client.logout())
        assert isinstance(await client.login("wrong"), nio.LoginError)
        checked(await client.login("a long enough Passw0rd!", device_name="second"))
        assert [device.display_name for device in checked(await client.devices()).devices] == ["second"]
    finally:
        await client.close()


async def test_message_arrives_once_with_its_text(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    await synced(ben, full_state=True)
    await say(ann, room, "hello 你好 🎉")
    assert [event.body for event in await arrived(ben, room, 1)] == ["hello 你好 🎉"]


async def test_edits_and_reactions_arrive(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    original = await say(ann, room, "tpyo")
    await synced(ben, full_state=True)
    replacement = {"m.new_content": {"msgtype": "m.text", "body": "typo"}}
    edit = await say(
        ann, room, "* typo", **replacement, **{"m.relates_to": {"rel_type": "m.replace", "event_id": original}}
    )
    relation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": "👍"}}
    checked(await ann.room_send(room, "m.reaction", relation))
    seen = await arrived(ben, room, 2)
    assert seen[0].event_id == edit
    assert isinstance(seen[1], nio.ReactionEvent)
    assert (seen[1].key, seen[1].reacts_to) == ("👍", original)
    whole = checked(await ben.room_get_event(room, original)).event.source
    assert whole["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit


async def test_threads_are_listed_with_their_events(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    root = await say(ann, room, "root")
    replies = [
        await say(ben, room, f"reply {n}", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
        for n in range(3)
    ]
    threads = [event async for event in ann.room_get_threads(room)]
    assert [event.event_id for event in threads] == [root]
    related = ann.room_get_event_relations(room, root, RelationshipType.thread)
    assert [event.event_id async for event in related] == replies[::-1]


async def test_receipts_and_typing_are_seen(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    event = await say(ann, room, "read me")
    await synced(ann, full_state=True)
    checked(await ben.room_read_markers(room, event, event))
    checked(await ben.room_typing(room, True, 30000))
    seen: list[Any] = []
    while not {nio.ReceiptEvent, nio.TypingNoticeEvent} <= {type(each) for each in seen}:
        answer = await synced(ann)
        seen += answer.rooms.join[room].ephemeral if room in answer.rooms.join else []
    receipts = [receipt for each in seen if isinstance(each, nio.ReceiptEvent) for receipt in each.receipts]
    assert (event, ben.user_id) in [(receipt.event_id, receipt.user_id) for receipt in receipts]
    assert [ben.user_id] in [each.users for each in seen if isinstance(each, nio.TypingNoticeEvent)]


async def test_pagination_brings_everything_once_and_in_order(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    sent = [await say(ann, room, f"message {n}") for n in range(25)]
    answer = await synced(ann, sync_filter={"room": {"timeline": {"limit": 5}}}, full_state=True)
    got = [event.event_id for event in timeline(answer, room)]
    token = answer.rooms.join[room].timeline.prev_batch
    while token:
        page = checked(await ann.room_messages(room, token, direction=nio.MessageDirection.back, limit=7))
        got = [event.event_id for event in reversed(page.chunk)] + got
        token = page.end
    assert [event for event in got if event in sent] == sent
    assert len(got) == len(set(got))


async def test_context_surrounds_an_event(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann)
    sent = [await say(ann, room, f"message {n}") for n in range(5)]
    context = checked(await ann.room_context(room, sent[2], limit=4))
    assert [event.event_id for event in context.events_before] == [sent[1], sent[0]]
    assert [event.event_id for event in context.events_after] == [sent[3], sent[4]]


async def test_space_shows_its_rooms(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    space = await room_of(ann, space=True, name="Space")
    rooms = [await room_of(ann, name=f"Room {n}") for n in range(2)]
    for room in rooms:
        checked(await ann.room_put_state(space, "m.space.child", {"via": ["halfdoor.test"]}, room))
    checked(await ben.join(space))
    answer = checked(await ben.space_get_hierarchy(space))
    assert {each["room_id"] for each in answer.rooms} == {space, *rooms}


async def test_memberships_change_and_are_seen(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, preset=nio.RoomPreset.private_chat)
    await synced(ben, full_state=True)
    assert isinstance(await ben.join(room), nio.JoinError)
    checked(await ann.room_invite(room, ben.user_id))
    await until_in(ben, room, "invite")
    checked(await ben.join(room))
    await until_in(ben, room, "join")
    checked(await ann.room_kick(room, ben.user_id, "out"))
    await until_in(ben, room, "leave")
    checked(await ann.room_ban(room, ben.user_id))
    assert isinstance(await ben.join(room), nio.JoinError)
    checked(await ann.room_unban(room, ben.user_id))
    checked(await ann.room_invite(room, ben.user_id))
    checked(await ben.join(room))
    checked(await ben.room_leave(room))
    checked(await ben.room_forget(room))
    assert checked(await ann.joined_members(room)).members[0].user_id == ann.user_id


async def test_redaction_takes_the_words_away(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    event = await say(ann, room, "regret")
    await synced(ben, full_state=True)
    checked(await ann.room_redact(room, event, "sorry"))
    redactions = await arrived(ben, room, 1, nio.RedactionEvent)
    assert [(each.redacts, each.reason) for each in redactions] == [(event, "sorry")]
    assert isinstance(checked(await ben.room_get_event(room, event)).event, nio.RedactedEvent)


async def test_profile_change_is_seen(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    room = await room_of(ann, ben)
    await synced(ben, full_state=True)
    checked(await ann.set_displayname("Ann the Second"))
    checked(await ann.set_avatar("mxc://halfdoor.test/face"))
    profile = checked(await ben.get_profile(ann.user_id))
    assert (profile.displayname, profile.avatar_url) == ("Ann the Second", "mxc://halfdoor.test/face")
    names: list[str] = []
    while "Ann the Second" not in names:
        events = timeline(await synced(ben), room)
        names += [each.content.get("displayname") for each in events if isinstance(each, nio.RoomMemberEvent)]


async def test_aliases_and_directory(login: Login) -> None:
    ann, ben = await login("ann"), await login("ben")
    local = ann.user_id[1:].partition(":")[0]
    alias = f"#{local}:halfdoor.test"
    room = await room_of(ann, name="Listed", visibility=nio.RoomVisibility.public)
    checked(await ann.room_put_alias(alias, room))
    assert checked(await ben.room_resolve_alias(alias)).room_id == room
    assert checked(await ben.join(alias)).room_id == room
    listed = checked(await ben.list_public_rooms(limit=500))
    assert room in [each.room_id for each in listed.public_rooms]
    checked(await ann.room_delete_alias(alias))
    assert isinstance(await ben.room_resolve_alias(alias), nio.RoomResolveAliasError)


async def test_upgraded_room_points_to_its_successor(login: Login) -> None:
    ann = await login("ann")
    room = await room_of(ann, room_version="10", name="Old")
    new = checked(await ann.room_upgrade(room, "11")).room_id  # nio upgrades by itself, and does not know version 12
    tombstone = checked(await ann.room_get_state_event(room, "m.room.tombstone")).content
    assert tombstone["replacement_room"] == new
    created = checked(await ann.room_get_state_event(new, "m.room.create")).content
    assert created["predecessor"]["room_id"] == room


async def test_sync_goes_on_after_a_cut_without_loss_or_repetition(login: Login, server: ServerProcess) -> None:
    ann, account = await login("ann"), None
    async with CuttingProxy(server.port) as proxy:
        ben = await login("ben", base_url=proxy.base_url, account=account)
        room = await room_of(ann, ben)
        await synced(ben, full_state=True)
        got: list[str] = []
        sent = []
        for n in range(12):
            sent.append(await say(ann, room, f"message {n}"))
            if n % 3 == 1:
                proxy.cut()
            with contextlib.suppress(nio.LocalProtocolError, OSError):
                answer = await ben.sync(timeout=500)
                got += (
                    [event.event_id for event in timeline(answer, room)] if isinstance(answer, nio.SyncResponse) else []
                )
        while len(got) < len(sent):
            got += [event.event_id for event in timeline(await synced(ben), room)]
    assert got == sent


async def test_a_file_comes_back_as_it_went_in(login: Login) -> None:
    alice, bob = await login("alice"), await login("bob")
    content = b"words of alice" * 10_000
    sent, _ = await alice.upload(io.BytesIO(content), "text/plain", "words.txt", filesize=len(content))
    address = checked(sent).content_uri
    got = checked(await bob.download(address))
    assert (got.body, got.filename) == (content, "words.txt")
