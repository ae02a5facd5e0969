"""A room's access control list keeps a server out, and lets it in again."""

from __future__ import annotations

import pytest

from tests.end_to_end.federation.people import Person, all_see, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

ACL = "m.room.server_acl"


def host_name(person: Person) -> str:
    """A server's name as access lists know it: without the port."""
    return person.server.server_name.rpartition(":")[0]


def test_denied_server_is_not_heard_until_it_is_allowed(host_and_guest: tuple[Person, Person], carol: Person) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat")
    guest.join(room_id, host)
    carol.join(room_id, host)
    eventually(lambda: guest.state(room_id) == carol.state(room_id) == host.state(room_id))
    everybody = {"allow": ["*"], "allow_ip_literals": True}
    host.set_state(room_id, ACL, {**everybody, "deny": [host_name(guest)]})
    eventually(lambda: carol.state_content(room_id, ACL).get("deny"))
    unheard = guest.say(room_id, "can you hear me?")
    all_see(room_id, host.say(room_id, "among ourselves"), carol)
    # What the denied server sends comes by the same road as this, which it sent later, of another room.
    other = guest.create_room(preset="public_chat")
    for person in (host, carol):
        person.join(other, guest)
    all_see(other, guest.say(other, "and here?"), host, carol)
    for person in (host, carol):
        assert unheard not in person.newest(room_id)
        assert person.event(room_id, unheard) == {}
    host.set_state(room_id, ACL, {**everybody, "deny": []})
    eventually(lambda: guest.state_content(room_id, ACL).get("deny") == [])
    all_see(room_id, guest.say(room_id, "and now?"), host, carol)
    all_see(room_id, host.say(room_id, "welcome back"), guest, carol)


def test_denied_server_is_not_let_in(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    denied = {"allow": ["*"], "deny": [host_name(guest)], "allow_ip_literals": True}
    rules = {"type": ACL, "state_key": "", "content": denied}
    room_id = host.create_room(preset="public_chat", initial_state=[rules])
    assert guest.may_not_join(room_id, host)
    host.set_state(room_id, ACL, {"allow": ["*"], "allow_ip_literals": True})
    guest.join(room_id, host)
    all_see(room_id, guest.say(room_id, "in"), host)
