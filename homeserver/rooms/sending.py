"""What users send into rooms: messages, state, redactions; with the rules that the authorization rules leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeserver.protocol.errors import BadJson, DuplicateAnnotation, Forbidden, InvalidParam, NotFound, NotInRoom
from homeserver.protocol.relations import ANNOTATION, THREAD, annotation_key, may_be_thread_root, relation_of
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.rooms.transactions import DELAYED, SendTransactions, transaction_key
from homeserver.rooms.typing import Typing
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent
from homeserver.storage.relations import RelationStore
from homeserver.users.requester import Requester

REDACTION: Final = "m.room.redaction"


class Sending:
    """Sends events for local users."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        relations: RelationStore,
        pipeline: Pipeline,
        memberships: Memberships,
        aliases: Aliases,
        transactions: SendTransactions,
        typing: Typing,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._relations = relations
        self._pipeline = pipeline
        self._memberships = memberships
        self._aliases = aliases
        self._transactions = transactions
        self._typing = typing

    async def send_message(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        txn_id: str,
        content: Mapping[str, Any],
        *,
        origin_server_ts: int | None = None,
        sticky_ms: int | None = None,
    ) -> str:
        """Send a message event; a repeated transaction gets the first one's event id. Returns the event id.

        `sticky_ms`: for how long every member is told of it (MSC4354).
        """
        sender = requester.user_id
        device_id = _scope(requester)
        key = transaction_key(device_id, event_type, txn_id)
        return await self._transactions.once(
            sender,
            device_id,
            room_id,
            key,
            lambda: self._send_message(sender, room_id, event_type, content, key, origin_server_ts, sticky_ms),
        )

    async def _send_message(
        self,
        sender: str,
        room_id: str,
        event_type: str,
        content: Mapping[str, Any],
        key: str,
        origin_server_ts: int | None,
        sticky_ms: int | None,
    ) -> str:
        if event_type == REDACTION:
            target = content.get("redacts")
            if not isinstance(target, str):
                raise InvalidParam("A redaction needs the id of an event as redacts")
            rest = {name: value for name, value in content.items() if name != "redacts"}
            return await self._redact(sender, room_id, target, rest, key)
        room = await self._rooms.get(room_id)
        if room.membership(sender) != "join":
            raise NotInRoom()
        await self._check_relation(room, sender, event_type, content)
        stored = await self._pipeline.send(
            room_id,
            Draft(
                sender,
                event_type,
                content,
                transaction_key=key,
                origin_server_ts=origin_server_ts,
                sticky_ms=sticky_ms,
            ),
        )
        self._typing.stop(sender, room_id)
        return stored.event_id

    async def send_delayed(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        state_key: str | None,
        content: Mapping[str, Any],
        *,
        delay_id: str,
        origin_server_ts: int | None = None,
        sticky_ms: int | None = None,
    ) -> str:
        """Send what was scheduled (MSC4140), once: a delay id that made an event before gets that one's id."""
        sender = requester.user_id
        key = transaction_key(_scope(requester), DELAYED, delay_id)
        earlier = await self._events.find_by_transaction(sender, room_id, key)
        if earlier is not None:
            return earlier
        if state_key is None:
            return await self._send_message(sender, room_id, event_type, content, key, origin_server_ts, sticky_ms)
        return await self.set_state(
            requester,
            room_id,
            event_type,
            state_key,
            content,
            origin_server_ts=origin_server_ts,
            sticky_ms=sticky_ms,
            key=key,
        )

    async def set_state(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        state_key: str,
        content: Mapping[str, Any],
        *,
        origin_server_ts: int | None = None,
        sticky_ms: int | None = None,
        key: str | None = None,
    ) -> str:
        """Set state; saying again what is the state already answers with the event that said it. Returns its id.

        `key`: the transaction key of a delayed event.
        """
        sender = requester.user_id
        room = await self._rooms.get(room_id)
        if event_type == MEMBER:
            stored = await self._memberships.change_by_event(sender, room_id, state_key, content, transaction_key=key)
            return stored.event_id if stored is not None else ""
        if room.membership(sender) != "join":
            raise NotInRoom()
        if event_type == "m.room.create":
            raise Forbidden("A room is created once")
        current = room.state_event(event_type, state_key)
        if current is not None and current.event.content == content and current.event.sender == sender:
            return current.event_id
        if event_type == "m.room.canonical_alias":
            before = {} if current is None else current.event.content
            await self._aliases.check_canonical(dict(content), room_id, before)
        _check_known_state(event_type, content)
        sent = await self._pipeline.send(
            room_id,
            Draft(
                sender,
                event_type,
                content,
                state_key=state_key,
                transaction_key=key,
                origin_server_ts=origin_server_ts,
                sticky_ms=sticky_ms,
            ),
        )
        if event_type == "m.room.guest_access":
            await self._memberships.remove_guests(room_id)
        return sent.event_id

    async def redact(
        self, requester: Requester, room_id: str, event_id: str, txn_id: str, content: Mapping[str, Any]
    ) -> str:
        """Redact an event. Returns the redaction's id."""
        device_id = _scope(requester)
        key = transaction_key(device_id, f"{REDACTION}/{event_id}", txn_id)
        sender = requester.user_id
        return await self._transactions.once(
            sender, device_id, room_id, key, lambda: self._redact(sender, room_id, event_id, content, key)
        )

    async def _redact(self, sender: str, room_id: str, event_id: str, content: Mapping[str, Any], key: str) -> str:
        room = await self._rooms.get(room_id)
        if room.membership(sender) != "join":
            raise NotInRoom()
        target = await self._find(room, event_id)
        if target is None:
            raise NotFound("The event to redact is not in the room")
        if target.event.type == "m.room.create":
            raise Forbidden("The creation of a room cannot be redacted")
        if target.event.type == "m.room.server_acl":
            raise Forbidden("Server ACLs cannot be redacted; set new ones")
        levels = room.power_levels
        if target.event.sender != sender and levels.of(sender) < levels.redact:
            raise Forbidden("You may not redact events of others")
        stored = await self._pipeline.send(
            room_id,
            Draft(sender, REDACTION, content, redacts=event_id, transaction_key=key, redaction_target=target),
        )
        return stored.event_id

    async def _find(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        for stored in await self._events.find_events(room.room_id, room.version, [event_id]):
            if stored.status == ACCEPTED:
                return stored
        return None

    async def _check_relation(self, room: LiveRoom, sender: str, event_type: str, content: Mapping[str, Any]) -> None:
        """What the spec has servers refuse of relations: second equal annotations, threads on related events."""
        if "m.relates_to" not in content:
            return
        relation = relation_of(content)
        if relation.event_id is None:
            return
        if relation.rel_type == ANNOTATION:
            wanted = annotation_key(event_type, sender, content)
            if wanted is None:
                return
            for row in (await self._relations.list_relations([relation.event_id], (ANNOTATION,))).get(
                relation.event_id, ()
            ):
                if row.sender != sender or row.type != event_type:
                    continue
                earlier = await self._find(room, row.event_id)
                if earlier is not None and annotation_key(row.type, sender, earlier.event.content) == wanted:
                    raise DuplicateAnnotation("You have annotated the event so already")
        elif relation.rel_type == THREAD:
            root = await self._find(room, relation.event_id)
            if root is not None and not may_be_thread_root(root.event.content):
                raise InvalidParam("A thread cannot start at an event that relates to another")


def _scope(requester: Requester) -> str:
    """Whose transaction ids these are: the device's, or the application service's."""
    if requester.device_id is not None:
        return requester.device_id
    return f"appservice {requester.appservice_id}" if requester.appservice_id is not None else ""


def _check_known_state(event_type: str, content: Mapping[str, Any]) -> None:
    """Refuse state that would be ignored for its form, where the authorization rules let it pass."""
    if event_type == "m.room.server_acl":
        for name in ("allow", "deny"):
            value = content.get(name, [])
            if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
                raise BadJson(f"{name} must be a list of server names")
    if event_type == "m.room.join_rules" and not isinstance(content.get("join_rule"), str):
        raise BadJson("join_rule must be a string")
