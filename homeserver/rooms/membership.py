"""Who is in a room: join, invite, knock, leave, kick, ban, unban, forget.

What is allowed is for the authorization rules to say; here stands what they leave open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from homeserver.hooks import Hooks, InviteToCheck
from homeserver.protocol.authorization import NotAuthorized
from homeserver.protocol.errors import Forbidden, GuestAccessForbidden, InvalidParam, MatrixError, NotInRoom, Unknown
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.rooms.receiving import Accepted, Receiver
from homeserver.rooms.remote import MAY_NOT_JOIN, MAY_NOT_KNOCK, RemoteServers
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Membership, RoomStore
from homeserver.stream import Change, Stream

ProfileOf = Callable[[str], Awaitable[Mapping[str, Any]]]
"""The profile members (`displayname`, `avatar_url`) that a user's member events carry."""

IsGuest = Callable[[str], Awaitable[bool]]
"""Whether a user of this server is a guest."""


class Memberships:
    """Changes of membership by local users, and who is where."""

    def __init__(
        self,
        *,
        db: Database,
        store: RoomStore,
        rooms: LiveRooms,
        pipeline: Pipeline,
        receiver: Receiver,
        remote: RemoteServers,
        stream: Stream,
        hooks: Hooks,
        profile_of: ProfileOf,
        is_guest: IsGuest,
        server_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._rooms = rooms
        self._pipeline = pipeline
        self._receiver = receiver
        self._remote = remote
        self._stream = stream
        self._hooks = hooks
        self._profile_of = profile_of
        self._is_guest = is_guest
        self._server_name = server_name
        self.joined: list[Callable[[str, str], Awaitable[None]]] = []
        """Called with (user id, room id) after a join."""
        self.gates: list[Callable[[str], Awaitable[None]]] = []
        """Asked with the room's id before anybody of this server enters it, is invited or knocks."""

    # ---- changes

    async def join(
        self, user_id: str, room_id: str, *, content: Mapping[str, Any] | None = None, via: tuple[str, ...] = ()
    ) -> str:
        """Join; joining twice is joining once. `content`: further members of the event. Returns the room id."""
        await self._pass_gates(room_id)
        room = await self._rooms.find(room_id)
        is_new = room is not None and room.membership(user_id) != "join"
        if room is None or not self._takes_part(room, via) or (room.partial is not None and is_new):
            # Also where only a part of the state is here: others know whether this user may join, too.
            return await self._remote.join(user_id, room_id, dict(content or {}), via)
        if room.membership(user_id) == "join" and not content:
            return room_id
        extra = dict(content or {})
        extra.pop("join_authorised_via_users_server", None)
        if self.needs_authorising_user(room, user_id):
            extra["join_authorised_via_users_server"] = await self.authorising_user(room, user_id)
        was_joined = room.membership(user_id) == "join"
        try:
            await self._change(room, user_id, user_id, "join", extra)
        except NotAuthorized as refusal:
            await self._conceal(room_id, user_id, Forbidden(MAY_NOT_JOIN), refusal)
            raise
        if not was_joined:
            await self.tell_joined(user_id, room_id)
        return room_id

    async def tell_joined(self, user_id: str, room_id: str) -> None:
        """Let those who listen know that a local user has joined a room."""
        for listener in self.joined:
            await listener(user_id, room_id)

    async def check_guest_may_join(self, room_id: str) -> None:
        """Raises GuestAccessForbidden unless the room's m.room.guest_access lets guests in."""
        room = await self._rooms.find(room_id)
        if room is None or room.content("m.room.guest_access").get("guest_access") != "can_join":
            raise GuestAccessForbidden("Guests may not join this room; register an account first")

    async def remove_guests(self, room_id: str) -> None:
        """The room may have stopped to let guests in: those of this server leave it, as the spec says they MUST."""
        room = await self._rooms.get(room_id)
        if room.content("m.room.guest_access").get("guest_access") == "can_join":
            return
        for user_id in list(room.members):
            if domain_of(user_id) != self._server_name or room.membership(user_id) != "join":
                continue
            if await self._is_guest(user_id):
                await self._change(room, user_id, user_id, "leave", {}, reason="Guests may not be here any more")

    async def invite(
        self,
        sender: str,
        room_id: str,
        target: str,
        *,
        reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Invite a user, local or remote."""
        await self._pass_gates(room_id)
        room = await self._joined_room(sender, room_id, target)
        await self.check_invite(sender, room_id, target)
        if room.membership(target) == "join":
            raise Forbidden(f"{target} is already in the room")
        if room.membership(target) == "ban":
            raise Forbidden(f"{target} is banned from the room")
        await self._change(room, sender, target, "invite", dict(extra or {}), reason=reason)

    async def check_invite(self, sender: str, room_id: str, target: str) -> None:
        """Ask the hooks whether an invite may be made; `room_id` is "" for a room that is yet to be made."""
        for check in self._hooks.check_invite:
            await check(InviteToCheck(room_id, sender, target))

    async def knock(self, user_id: str, room_id: str, *, reason: str | None = None, via: tuple[str, ...] = ()) -> str:
        """Ask to be let in. Returns the room id."""
        await self._pass_gates(room_id)
        room = await self._rooms.find(room_id)
        if room is None or not self._takes_part(room, via):
            return await self._remote.knock(user_id, room_id, reason, via)
        if room.membership(user_id) == "knock":
            return room_id
        try:
            await self._change(room, user_id, user_id, "knock", {}, reason=reason)
        except NotAuthorized as refusal:
            await self._conceal(room_id, user_id, Forbidden(MAY_NOT_KNOCK), refusal)
            raise
        return room_id

    async def leave(self, user_id: str, room_id: str, *, reason: str | None = None) -> None:
        """Leave, reject an invite or take back a knock. Leaving twice is leaving once."""
        membership = await self._store.find_membership(room_id, user_id)
        if membership is None:
            raise NotInRoom()
        if membership.membership == "leave":
            return
        if membership.membership == "ban":
            raise Forbidden("You are banned from the room")
        room = await self._rooms.find(room_id)
        if room is None or not self._takes_part(room, ()):
            await self._remote.leave(user_id, room_id, reason)
            return
        await self._change(room, user_id, user_id, "leave", {}, reason=reason)

    async def kick(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Make somebody leave; also takes back an invite or declines a knock."""
        room = await self._joined_room(sender, room_id, target)
        if room.membership(target) not in ("join", "invite", "knock"):
            raise Forbidden(f"{target} is not in the room")
        await self._change(room, sender, target, "leave", {}, reason=reason)

    async def ban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        room = await self._joined_room(sender, room_id, target)
        await self._change(room, sender, target, "ban", {}, reason=reason)

    async def unban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        room = await self._joined_room(sender, room_id, target)
        if room.membership(target) != "ban":
            raise Forbidden(f"{target} is not banned")
        await self._change(room, sender, target, "leave", {}, reason=reason)

    async def forget(self, user_id: str, room_id: str) -> None:
        """Drop a room that the user has left from what the user sees."""
        membership = await self._store.find_membership(room_id, user_id)
        if membership is None:
            raise Unknown("You were never in this room")
        if membership.membership not in ("leave", "ban"):
            raise Unknown(f"You are still in the room (membership {membership.membership}); leave it first")

        async def job(txn: Transaction) -> None:
            await self._store.set_forgotten(txn, user_id, room_id)
            position = txn.next_position()
            txn.on_commit(lambda: self._stream.announce(Change.MEMBERSHIP, position, users=(user_id,)))

        await self._db.write(job)

    async def change_by_event(
        self, sender: str, room_id: str, target: str, content: Mapping[str, Any], *, transaction_key: str | None = None
    ) -> StoredEvent | None:
        """A member event sent as plain state. None when nothing would change."""
        membership = content.get("membership")
        if membership not in ("join", "invite", "leave", "ban", "knock"):
            raise InvalidParam("membership must be one of join, invite, knock, leave and ban")
        parse_user_id(target)
        room = await self._rooms.get(room_id) if sender == target else await self._joined_room(sender, room_id, target)
        if membership in ("join", "invite", "knock"):
            await self._pass_gates(room_id)
        if membership == "invite":
            await self.check_invite(sender, room_id, target)
        extra = {key: value for key, value in content.items() if key != "membership"}
        if membership == "join" and sender == target and room.membership(sender) not in ("join", "invite"):
            extra.pop("join_authorised_via_users_server", None)
            if self.needs_authorising_user(room, sender):
                extra["join_authorised_via_users_server"] = await self.authorising_user(room, sender)
        current = await self._rooms.member_event(room, target)
        if current is not None and current.event.content == {"membership": membership, **extra}:
            return current
        try:
            return await self._change(
                room, sender, target, membership, extra, with_profile=False, transaction_key=transaction_key
            )
        except NotAuthorized as refusal:
            await self._conceal(room_id, sender, NotInRoom(), refusal)
            raise

    async def refresh_profile(self, user_id: str) -> None:
        """The user's profile changed: say so in every room that the user is in."""
        for row in await self._store.list_memberships(user_id):
            if row.membership != "join":
                continue
            room = await self._rooms.find(row.room_id)
            current = None if room is None else await self._rooms.member_event(room, user_id)
            if current is None:
                continue
            profile = await self._profile_of(user_id)
            kept = {
                key: value
                for key, value in current.event.content.items()
                if key not in ("displayname", "avatar_url", "join_authorised_via_users_server", "membership", "reason")
            }
            content = {"membership": "join", **kept, **profile}
            if content != current.event.content:
                try:
                    await self._pipeline.send(row.room_id, Draft(user_id, MEMBER, content, state_key=user_id))
                except MatrixError:
                    continue  # one room's rules do not keep the others from hearing of it

    # ---- questions

    async def joined_rooms(self, user_id: str) -> list[str]:
        """The ids of the rooms that the user is in."""
        return [row.room_id for row in await self._store.list_memberships(user_id) if row.membership == "join"]

    async def invite_by_address(self, sender: str, room: LiveRoom, user_id: str, third_party: dict[str, Any]) -> None:
        """The invite of somebody who has shown that an address is theirs, in the name of who invited the address.
        Raises NotAuthorized, Forbidden."""
        await self._change(room, sender, user_id, "invite", {"third_party_invite": third_party})

    async def membership_in(self, user_id: str, room_id: str) -> str:
        """A user's membership in a room, which this server need not be in; "leave" for those who were never there."""
        found = await self._store.find_membership(room_id, user_id)
        return "leave" if found is None else found.membership

    async def memberships(self, user_id: str) -> list[Membership]:
        """Every membership that the user has or had, forgotten ones included."""
        return await self._store.list_memberships(user_id)

    async def mutual_rooms(self, one: str, other: str) -> list[str]:
        """The rooms that both are joined to, in a fixed order."""
        return sorted(set(await self.joined_rooms(one)) & set(await self.joined_rooms(other)))

    # ---- how

    async def _pass_gates(self, room_id: str) -> None:
        for gate in self.gates:
            await gate(room_id)

    async def _joined_room(self, sender: str, room_id: str, target: str) -> LiveRoom:
        """The room of somebody who wants to change another's membership, with that known."""
        room = await self._rooms.get(room_id)
        if room.membership(sender) != "join":
            raise NotInRoom()
        if room.partial is not None and (MEMBER, target) not in room.state_ids:
            room = await self._rooms.whole(room_id)
        return room

    async def _change(
        self,
        room: LiveRoom,
        sender: str,
        target: str,
        membership: str,
        extra: dict[str, Any],
        *,
        reason: str | None = None,
        with_profile: bool = True,
        transaction_key: str | None = None,
    ) -> StoredEvent:
        content: dict[str, Any] = {**extra, "membership": membership}
        if reason is not None:
            content["reason"] = reason
        if with_profile and membership in ("join", "invite", "knock") and domain_of(target) == self._server_name:
            for key, value in (await self._profile_of(target)).items():
                content.setdefault(key, value)
        draft = Draft(sender, MEMBER, content, state_key=target, transaction_key=transaction_key)
        if membership == "invite" and domain_of(target) != self._server_name:
            return await self._invite_elsewhere(room, draft)
        return await self._pipeline.send(room.room_id, draft)

    async def _invite_elsewhere(self, room: LiveRoom, draft: Draft) -> StoredEvent:
        """The invited user's server signs the invite before anybody else hears of it."""
        signed = await self._remote.countersign(room, await self._pipeline.draft(room.room_id, draft))
        if signed is None:
            return await self._pipeline.send(room.room_id, draft)
        outcome = await self._receiver.receive(signed)
        if isinstance(outcome, Accepted):
            return outcome.stored
        raise Forbidden("The room has changed meanwhile, and does not allow the invite any more")

    async def _conceal(self, room_id: str, user_id: str, answer: Forbidden, refusal: NotAuthorized) -> None:
        """Answer as for a room that does not exist, unless the user had to do with this one before (G12)."""
        if await self._store.find_membership(room_id, user_id) is None:
            raise answer from refusal

    def _takes_part(self, room: LiveRoom, via: tuple[str, ...]) -> bool:
        """Whether this server can say what happens in a room: somebody of it is there, or nobody is anywhere else."""
        if not room.servers:
            return all(server == self._server_name for server in via)
        return self._server_name in room.servers

    def needs_authorising_user(self, room: LiveRoom, user_id: str) -> bool:
        """Whether a join is one by membership of another room. Without that the authorization rules have the word."""
        if not room.version.restricted or room.membership(user_id) in ("join", "invite", "ban"):
            return False
        return room.join_rule == "restricted" or (
            room.join_rule == "knock_restricted" and room.version.knock_restricted
        )

    async def authorising_user(self, room: LiveRoom, user_id: str) -> str:
        """A local member who may invite, for a join by membership of another room (restricted rooms, v8 and later).

        Raises Forbidden when the user is in none of the allowed rooms.
        """
        if not await self.may_join_restricted(room, user_id):
            raise Forbidden(MAY_NOT_JOIN)
        levels = room.power_levels
        best: str | None = None
        for member in room.joined_members():
            if domain_of(member) == self._server_name and levels.of(member) >= levels.invite:
                best = member if best is None or levels.of(member) > levels.of(best) else best
        if best is None:
            raise Forbidden("No member of this server may let you in")
        return best

    async def may_join_restricted(self, room: LiveRoom, user_id: str) -> bool:
        """Whether the user is in one of the rooms that the join rule names."""
        allow = room.content("m.room.join_rules").get("allow")
        for entry in allow if isinstance(allow, list) else ():
            if not isinstance(entry, dict) or entry.get("type") != "m.room_membership":
                continue
            allowed = entry.get("room_id")
            if not isinstance(allowed, str):
                continue
            other = await self._rooms.find(allowed)
            if other is not None and other.membership(user_id) == "join":
                return True
        return False
