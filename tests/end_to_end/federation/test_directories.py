"""Rooms of the other server, found: by alias, in its directory, in a space, and after they moved."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.federation.people import Person, all_see, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

Two = tuple[Person, Person]


def test_alias_leads_to_the_other_servers_room(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    name = f"大厅{host.account.device_id}"
    room_id = host.create_room(preset="public_chat", room_alias_name=name)
    alias = f"#{name}:{host.server.server_name}"
    found = guest.ok("GET", f"/directory/room/{quote(alias)}")
    assert found["room_id"] == room_id
    assert host.server.server_name in found["servers"]
    assert guest.join(alias) == room_id
    all_see(room_id, guest.say(room_id, "by its name"), host)
    assert guest.call("GET", f"/directory/room/{quote('#nowhere:' + host.server.server_name)}")[0] == 404


def test_directory_of_the_other_server_is_read_and_searched(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    word = f"茶馆{host.account.device_id}"
    room_id = host.create_room(preset="public_chat", visibility="public", name=word, topic="tea")
    host.create_room(preset="public_chat", visibility="public", name="something else")
    server = host.server.server_name
    query = {"filter": {"generic_search_term": word}, "limit": 10}
    found = eventually(lambda: guest.ok("POST", "/publicRooms", query, server=server)["chunk"])
    assert [(one["room_id"], one["name"], one["num_joined_members"]) for one in found] == [(room_id, word, 1)]
    listed = guest.ok("GET", "/publicRooms", server=server, limit=1)
    assert len(listed["chunk"]) == 1
    assert listed["next_batch"]


def test_space_of_the_other_server_shows_its_rooms(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    space = host.create_room(preset="public_chat", name="空间", creation_content={"type": "m.space"})
    inside = host.create_room(preset="public_chat", name="里面")
    theirs = guest.create_room(preset="public_chat", name="yours")
    hidden = host.create_room(preset="private_chat", name="secret")
    for room_id, person in ((inside, host), (theirs, guest), (hidden, host)):
        via: dict[str, Any] = {"via": [person.server.server_name]}
        host.set_state(space, "m.space.child", via, room_id)
    guest.join(space, host)
    eventually(lambda: host.state(space) == guest.state(space))
    target = f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy"
    status, answer = guest.server.call("GET", target, token=guest.account.access_token)
    assert status == 200, answer
    assert {room["room_id"]: room.get("name") for room in answer["rooms"]} == {
        space: "空间",
        inside: "里面",
        theirs: "yours",
    }


def test_upgraded_room_is_followed(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    old = host.create_room(preset="public_chat", room_version="10", name="旧")
    guest.join(old, host)
    all_see(old, guest.say(old, "last words"), host)
    new = host.ok("POST", f"/rooms/{quote(old)}/upgrade", {"new_version": "12"})["replacement_room"]
    moved = eventually(lambda: guest.state_content(old, "m.room.tombstone"))
    assert moved["replacement_room"] == new
    guest.join(new, host)
    created = guest.state_content(new, "m.room.create")
    assert created["predecessor"]["room_id"] == old
    assert guest.state_content(new, "m.room.name") == {"name": "旧"}
    all_see(new, guest.say(new, "moved"), host)
    assert host.state(new) == guest.state(new)
    status, _ = guest.call("PUT", f"/rooms/{quote(old)}/send/m.room.message/x", {"msgtype": "m.text", "body": "late"})
    assert status == 403
