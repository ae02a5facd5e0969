"""Which other servers are told of what happens in a room: worked out once, until somebody comes or goes."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from federation.client import EVERYBODY
from federation.transactions import acl_of
from homeserver.protocol.server_acl import ServerAcl
from homeserver.rooms.live_room import LiveRoom


class Audiences:
    """Remembers them for the rooms that are in memory."""

    def __init__(self, own_name: str, partners: ServerAcl = EVERYBODY) -> None:
        self._own_name = own_name
        self._partners = partners
        self._kept: WeakKeyDictionary[LiveRoom, tuple[tuple[int, str, bool], frozenset[str]]] = WeakKeyDictionary()

    def of(self, room: LiveRoom) -> frozenset[str]:
        """The other servers that have users in a room and that its access control list allows."""
        acl = room.state_event("m.room.server_acl")
        follows_from = (room.members_changed, "" if acl is None else acl.event_id, room.partial is None)
        kept = self._kept.get(room)
        if kept is not None and kept[0] == follows_from:
            return kept[1]
        allowed = acl_of(room)
        names = frozenset(name for name in room.server_names if self._may_hear(name, allowed))
        self._kept[room] = (follows_from, names)
        return names

    def _may_hear(self, name: str, acl: ServerAcl) -> bool:
        return name != self._own_name and acl.allows(name) and self._partners.allows(name)
