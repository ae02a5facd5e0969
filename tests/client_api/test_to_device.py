"""Send-to-device messages over HTTP, and as /sync reads them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from homeserver.stream import Change
from homeserver.users import to_device
from tests.support.server import Server
from tests.support.user_server import IRC, SERVER_NAME, Person, UserServer, open_user_server


async def send(server: UserServer, sender: Person, txn_id: str, messages: Any, type: str = "m.room_key") -> int:
    body = {"messages": messages}
    return (await server.put(f"/sendToDevice/{type}/{txn_id}", body, token=sender.token)).status


async def inbox(server: UserServer, person: Person, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    up_to = server.stream.position
    events, _ = await server.services.to_device.list_messages(person.user_id, person.device_id, after, up_to, limit)
    decoded: list[dict[str, Any]] = json.loads(msgspec.json.encode(events))
    return decoded


async def test_message_reaches_the_named_device_alone(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    other = await server.log_in("bob")
    before = server.stream.position
    assert await send(server, alice, "1", {bob.user_id: {bob.device_id: {"n": 1}, "NOWHERE": {"n": 2}}}) == 200
    assert await inbox(server, bob) == [{"sender": alice.user_id, "type": "m.room_key", "content": {"n": 1}}]
    assert await inbox(server, other) == []
    assert server.stream.changed_since(Change.TO_DEVICE, bob.user_id, before)
    assert not server.stream.changed_since(Change.TO_DEVICE, alice.user_id, before)


async def test_star_is_every_device_that_is_not_named(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    other = await server.log_in("bob")
    await send(server, alice, "1", {bob.user_id: {"*": {"n": 1}, other.device_id: {"n": 2}}})
    assert [each["content"] for each in await inbox(server, bob)] == [{"n": 1}]
    assert [each["content"] for each in await inbox(server, other)] == [{"n": 2}]


async def test_repeated_transaction_sends_nothing_again(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    other = await server.log_in("alice")
    for _ in range(3):
        assert await send(server, alice, "same", {bob.user_id: {"*": {}}}) == 200
    assert len(await inbox(server, bob)) == 1
    await send(server, other, "same", {bob.user_id: {"*": {}}})
    await send(server, alice, "same", {bob.user_id: {"*": {}}}, type="m.other")
    assert len(await inbox(server, bob)) == 3


async def test_messages_come_in_order_by_pages_and_go_when_acknowledged(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    for number in range(5):
        await send(server, alice, str(number), {bob.user_id: {"*": {"n": number}}})
    service, up_to = server.services.to_device, server.stream.position
    read: list[int] = []
    after = 0
    while after < up_to:
        events, after = await service.list_messages(bob.user_id, bob.device_id, after, up_to, 2)
        read += [json.loads(bytes(event["content"]))["n"] for event in events]
    assert read == [0, 1, 2, 3, 4]
    events, middle = await service.list_messages(bob.user_id, bob.device_id, 0, up_to, 2)
    await service.acknowledge(bob.user_id, bob.device_id, middle)
    assert [each["content"]["n"] for each in await inbox(server, bob)] == [2, 3, 4]
    await service.acknowledge(bob.user_id, bob.device_id, up_to)
    assert await inbox(server, bob) == []
    await service.acknowledge(bob.user_id, bob.device_id, up_to)


async def test_messages_of_a_removed_device_are_gone(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await send(server, alice, "1", {bob.user_id: {"*": {}}})
    await server.post("/logout", token=bob.token)
    again = await server.log_in("bob", device_id=bob.device_id)
    assert await inbox(server, again) == []


async def test_messages_for_other_servers_go_to_the_hook(server: UserServer) -> None:
    sent: list[tuple[str, str, dict[str, Any]]] = []

    async def send_on(txn: object, sender: str, type: str, message_id: str, messages: Any) -> None:
        assert message_id
        sent.append((sender, type, dict(messages)))

    server.services.hooks.remote_messages.append(send_on)
    alice = await server.register("alice")
    for _ in range(2):
        await send(server, alice, "1", {"@x:elsewhere.test": {"D": {"n": 1}}, alice.user_id: {"*": {}}})
    assert sent == [(alice.user_id, "m.room_key", {"@x:elsewhere.test": {"D": {"n": 1}}})]
    assert len(await inbox(server, alice)) == 1


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"messages": []}, "M_BAD_JSON"),
        ({"messages": {"@a:b": []}}, "M_BAD_JSON"),
        ({"messages": {"@a:b": {"D": "text"}}}, "M_BAD_JSON"),
        ({"messages": {"nobody": {"D": {}}}}, "M_INVALID_PARAM"),
        ({"messages": {"@a:b": {"D": {"x": "y" * 65536}}}}, "M_TOO_LARGE"),
    ],
)
async def test_D11_bad_messages_are_refused(server: UserServer, body: Any, errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.put("/sendToDevice/m.x/1", body, token=alice.token)
    assert answer.json["errcode"] == errcode


async def test_D11_types_and_transaction_ids_have_bounds(server: UserServer) -> None:
    alice = await server.register("alice")
    for path in (f"/sendToDevice/{'x' * 256}/1", f"/sendToDevice/m.x/{'x' * 256}"):
        answer = await server.put(path, {"messages": {}}, token=alice.token)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_D11_flood_drives_out_its_own_messages_only(server: UserServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_device, "MAXIMUM_WAITING", 20)
    monkeypatch.setattr(to_device, "_CHECK_EVERY", 10)
    alice, bob, mallory = [await server.register(name) for name in ("alice", "bob", "mallory")]
    for number in range(5):
        await send(server, alice, str(number), {bob.user_id: {"*": {"n": number}}})
    for number in range(200):
        await send(server, mallory, str(number), {bob.user_id: {"*": {"n": number}}})
    messages = await inbox(server, bob, limit=1000)
    assert len(messages) <= 30
    assert [each["content"]["n"] for each in messages if each["sender"] == alice.user_id] == [0, 1, 2, 3, 4]
    assert messages[-1]["content"]["n"] == 199


async def test_application_service_sends_without_a_device() -> None:
    server = open_user_server(appservices=[IRC])
    alice = await server.register("alice")
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await server.post("/register", wish, token=IRC.as_token)
    body: dict[str, Any] = {"messages": {alice.user_id: {"*": {}}}}
    ghost = f"@_irc_bob:{SERVER_NAME}"
    for _ in range(2):
        answer = await server.put("/sendToDevice/m.x/1", body, token=IRC.as_token, user_id=ghost)
        assert answer.status == 200
    assert [each["sender"] for each in await inbox(server, alice)] == [ghost]


async def test_token_of_a_future_that_was_lost_deletes_no_message_that_waits(whole_server: Server) -> None:
    """As after a restored backup: what the device has is unknown, so it gets everything that waits."""
    alice = await whole_server.register()
    token = (await alice.sync())["next_batch"]
    future = f"s{int(token[1:].partition('_')[0]) + 1000}_0"
    message = {"messages": {alice.user_id: {alice.device_id: {"n": 1}}}}
    await alice.put("/sendToDevice/org.example.x/t1", message)
    body = await alice.get("/sync", since=future)
    assert [event["content"] for event in body["to_device"]["events"]] == [{"n": 1}]
    again = await alice.get("/sync", since=future)
    assert [event["content"] for event in again["to_device"]["events"]] == [{"n": 1}]
    alice.since = again["next_batch"]
    assert "to_device" not in await alice.sync()
