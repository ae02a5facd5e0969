"""What is no event crosses too: typing, receipts, presence, profiles, news of devices, messages to devices."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.federation.people import Person, all_see, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

Two = tuple[Person, Person]


@pytest.fixture
def room(host_and_guest: Two) -> str:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat")
    guest.join(room_id, host)
    eventually(lambda: host.membership(room_id, guest) == "join")
    for person in (host, guest):
        person.catch_up()
    return room_id


def test_typing_is_seen_and_ends(host_and_guest: Two, room: str) -> None:
    for typist, watcher in (host_and_guest, host_and_guest[::-1]):
        path = f"/rooms/{quote(room)}/typing/{quote(typist.user_id)}"
        typist.ok("PUT", path, {"typing": True, "timeout": 120_000})
        watcher.sees_ephemeral(room, "m.typing", lambda content: content["user_ids"] == [typist.user_id])  # noqa: B023
        typist.ok("PUT", path, {"typing": False})
        watcher.sees_ephemeral(room, "m.typing", lambda content: content["user_ids"] == [])


def test_receipts_are_seen(host_and_guest: Two, room: str) -> None:
    for writer, reader in (host_and_guest, host_and_guest[::-1]):
        event_id = writer.say(room, "read me")
        all_see(room, event_id, reader)
        reader.ok("POST", f"/rooms/{quote(room)}/receipt/m.read/{quote(event_id)}", {"thread_id": "main"})

        def is_read(content: Any) -> bool:
            receipt = content.get(event_id, {}).get("m.read", {}).get(reader.user_id)  # noqa: B023
            return receipt is not None and receipt["thread_id"] == "main" and receipt["ts"] > 0

        writer.sees_ephemeral(room, "m.receipt", is_read)


def test_presence_is_seen(host_and_guest: Two, room: str) -> None:
    for person, watcher in (host_and_guest, host_and_guest[::-1]):
        status = {"presence": "online", "status_msg": f"喝茶 {person.user_id}"}
        person.ok("PUT", f"/presence/{quote(person.user_id)}/status", status)

        def is_told(answer: dict[str, Any]) -> bool:
            return any(
                one["sender"] == person.user_id and one["content"].get("status_msg") == status["status_msg"]  # noqa: B023
                for one in answer.get("presence", {}).get("events", ())
            )

        watcher.follow(is_told)


def test_profiles_are_asked_for_and_their_changes_are_seen(host_and_guest: Two, room: str) -> None:
    for person, watcher in (host_and_guest, host_and_guest[::-1]):
        name = f"新名字 {person.user_id}"
        person.ok("PUT", f"/profile/{quote(person.user_id)}/displayname", {"displayname": name})
        eventually(
            lambda: watcher.state_content(room, "m.room.member", person.user_id).get("displayname") == name  # noqa: B023
        )
        shown = watcher.ok("GET", f"/profile/{quote(person.user_id)}")
        assert shown["displayname"] == name
        nobody = f"@nobody:{person.server.server_name}"
        assert watcher.call("GET", f"/profile/{quote(nobody)}")[0] == 404


def test_new_device_is_told_and_its_keys_can_be_asked_for(host_and_guest: Two, room: str) -> None:
    for person, watcher in (host_and_guest, host_and_guest[::-1]):
        status, device = person.server.call(
            "POST",
            "/_matrix/client/v3/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": person.user_id},
                "password": person.account.password,
            },
        )
        assert status == 200, device
        keys = {
            "user_id": person.user_id,
            "device_id": device["device_id"],
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {
                f"curve25519:{device['device_id']}": "A" * 43,
                f"ed25519:{device['device_id']}": "A" * 43,
            },
            "signatures": {person.user_id: {f"ed25519:{device['device_id']}": "A" * 86}},
        }
        status, answer = person.server.call(
            "POST", "/_matrix/client/v3/keys/upload", {"device_keys": keys}, token=device["access_token"]
        )
        assert status == 200, answer
        watcher.follow(lambda answer: person.user_id in answer.get("device_lists", {}).get("changed", ()))  # noqa: B023

        def known() -> bool:
            answer = watcher.ok("POST", "/keys/query", {"device_keys": {person.user_id: []}})  # noqa: B023
            return device["device_id"] in answer["device_keys"].get(person.user_id, {})  # noqa: B023

        eventually(known)
        status, answer = person.server.call("POST", "/_matrix/client/v3/logout", {}, token=device["access_token"])
        assert status == 200, answer
        eventually(lambda: not known())


def test_messages_to_devices_arrive_once(host_and_guest: Two, room: str) -> None:
    for sender, receiver in (host_and_guest, host_and_guest[::-1]):
        body = {"messages": {receiver.user_id: {receiver.account.device_id: {"secret": "暗号"}}}}
        sender.ok("PUT", "/sendToDevice/org.example.greeting/1", body)
        got = receiver.follow(lambda answer: answer.get("to_device", {}).get("events"))
        assert got == [{"type": "org.example.greeting", "sender": sender.user_id, "content": {"secret": "暗号"}}]
