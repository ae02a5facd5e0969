"""Ending a room by an operator's will: its local users leave (into another room, if wished), it can be blocked, and all
that this server holds of it is deleted.

While it is deleted the room is closed (`LiveRooms.close`): nobody finds it, and what was drafted on it is void. The
row in `rooms` goes first, so that the rest is invisible from then on; the events follow a few at a time. A server that
is stopped in between goes on at its next start. Devices that have not heard of it are told by /sync that the room is
left (`storage/purges.py`: `deleted_rooms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.notifier import Notifier
from homeserver.protocol.errors import InvalidParam, MatrixError, NotFound
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.rooms.background_tasks import BackgroundTasks, Report
from homeserver.rooms.blocking import RoomBlocks
from homeserver.rooms.creation import RoomCreation, RoomRequest
from homeserver.rooms.live_room import MEMBER, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.storage.aliases import AliasStore
from homeserver.storage.background_tasks import BackgroundTask
from homeserver.storage.database import Database, Transaction
from homeserver.storage.purges import PurgeStore
from homeserver.storage.rooms import RoomStore
from homeserver.stream import Change, Stream

ACTION: Final = "shutdown_and_purge_room"
TOLD_MS: Final = 90 * 24 * 3600 * 1000
"""How long devices that come back are told of a deleted room."""
NEW_ROOM_NAME: Final = "A room was closed"
MESSAGE: Final = "The operators of this server have closed the room that you were in."


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """`requester` asks. `new_room_user_id`: makes a room that the local members are moved to. `purge`: delete what the
    server holds; else the room stays, without local members. `force_purge`: also when somebody could not be made to
    leave."""

    requester: str
    new_room_user_id: str | None = None
    room_name: str = NEW_ROOM_NAME
    message: str = MESSAGE
    block: bool = False
    purge: bool = True
    force_purge: bool = False


@dataclass(slots=True)
class Shutdown:
    """What became of the members."""

    kicked_users: list[str] = field(default_factory=list)
    failed_to_kick_users: list[str] = field(default_factory=list)
    local_aliases: list[str] = field(default_factory=list)
    new_room_id: str | None = None


class RoomDeletion:
    """Shuts rooms down and deletes them."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        room_store: RoomStore,
        store: PurgeStore,
        aliases: AliasStore,
        blocks: RoomBlocks,
        creation: RoomCreation,
        memberships: Memberships,
        pipeline: Pipeline,
        tasks: BackgroundTasks,
        stream: Stream,
        notifier: Notifier,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._room_store = room_store
        self._store = store
        self._aliases = aliases
        self._blocks = blocks
        self._creation = creation
        self._memberships = memberships
        self._pipeline = pipeline
        self._tasks = tasks
        self._stream = stream
        self._notifier = notifier
        self._clock = clock
        self._server_name = server_name
        self.pause_seconds = 0.0
        self.pauses_for_bridges = False
        """Between everybody's leaving and the deletion, so that other servers and bridges hear who left."""
        self.closing: list[Callable[[str], None]] = []
        """Called with the room's id before its members leave: whoever keeps them there lets them go."""
        self.purged: list[Callable[[str], None]] = []
        """Called with the room's id when the room is gone, from the commit."""
        tasks.register(ACTION, self._work, before=self._before)

    async def begin(self, room_id: str, request: DeletionRequest) -> str:
        """Start it; the number of the task. Raises NotFound, InvalidParam (also when it is under way)."""
        self._check(request)
        if await self._rooms.find(room_id) is None:
            raise NotFound("This server does not know the room.")
        for task in await self._tasks.list_tasks(resource_id=room_id, action=ACTION):
            if task.status in ("scheduled", "active"):
                raise InvalidParam("This room is being deleted already.")
        return await self._tasks.add(ACTION, room_id, asdict(request))

    async def delete(self, room_id: str, request: DeletionRequest) -> Mapping[str, Any]:
        """The same, and wait for its end; a room that is unknown can be blocked. Returns the fields of `Shutdown`.
        Raises what went wrong."""
        self._check(request)
        if await self._rooms.find(room_id) is None:
            if not request.block:
                raise NotFound("This server does not know the room.")
            await self._blocks.block(room_id, request.requester)
            return asdict(Shutdown())
        task = await self._tasks.run(ACTION, room_id, asdict(request))
        if task.status == "failed":
            raise InvalidParam(task.error or "The room could not be deleted.")
        return {name: value for name, value in task.result.items() if name in asdict(Shutdown())}

    def _check(self, request: DeletionRequest) -> None:
        creator = request.new_room_user_id
        if creator is not None and domain_of(parse_user_id(creator)) != self._server_name:
            raise InvalidParam("'new_room_user_id' must be a user of this server.")

    def _before(self, task: BackgroundTask) -> None:
        # After a restart in the middle of a deletion nobody shall find what is left.
        if task.result.get("is_purging"):
            self._rooms.close(task.resource_id)

    async def _work(self, task: BackgroundTask, report: Report) -> Mapping[str, Any]:
        room_id, request = task.resource_id, DeletionRequest(**task.params)
        shutdown = Shutdown(**{key: task.result[key] for key in asdict(Shutdown()) if key in task.result})
        if not task.result.get("is_purging"):
            if request.block:
                await self._blocks.block(room_id, request.requester)
            for listener in self.closing:
                listener(room_id)
            await self._empty(room_id, request, shutdown, report)
            if not request.purge:
                return asdict(shutdown)
            if shutdown.failed_to_kick_users and not request.force_purge:
                raise InvalidParam(
                    f"{len(shutdown.failed_to_kick_users)} users of this server could not be made to leave; "
                    "'force_purge' deletes the room nevertheless."
                )
            if self.pause_seconds and shutdown.kicked_users and await self._is_heard_elsewhere(room_id):
                await self._clock.sleep(self.pause_seconds)
            await report({**asdict(shutdown), "is_purging": True})
        await self._purge(room_id)
        return asdict(shutdown)

    async def _is_heard_elsewhere(self, room_id: str) -> bool:
        """Whether anybody outside of this process is to hear that people have left."""
        room = await self._rooms.find(room_id)
        return self.pauses_for_bridges or (room is not None and bool(room.server_names - {self._server_name}))

    async def _empty(self, room_id: str, request: DeletionRequest, shutdown: Shutdown, report: Report) -> None:
        """Make everybody of this server leave."""
        room = await self._rooms.find(room_id)
        if room is None:
            return
        members = sorted(user for user in room.members if domain_of(user) == self._server_name)
        joined = [user for user in members if room.membership(user) == "join"]
        others = [user for user in members if room.membership(user) in ("invite", "knock")]
        if request.new_room_user_id is not None and shutdown.new_room_id is None:
            shutdown.new_room_id = await self._make_new_room(room_id, request, shutdown)
            await report(asdict(shutdown))
        for user_id in [*joined, *others]:
            try:
                leave = Draft(user_id, MEMBER, {"membership": "leave"}, state_key=user_id)
                await self._pipeline.send(room_id, leave)
            except MatrixError:
                shutdown.failed_to_kick_users.append(user_id)
                continue
            shutdown.kicked_users.append(user_id)
            if shutdown.new_room_id is not None and user_id in joined and user_id != request.new_room_user_id:
                await self._move(user_id, shutdown.new_room_id)
        await report(asdict(shutdown))

    async def _make_new_room(self, room_id: str, request: DeletionRequest, shutdown: Shutdown) -> str:
        creator = request.new_room_user_id
        assert creator is not None
        new_room_id = await self._creation.create(
            creator,
            RoomRequest(
                name=request.room_name,
                preset="public_chat",
                power_level_content_override={"users_default": -10},
            ),
        )
        content = {"msgtype": "m.text", "body": request.message}
        await self._pipeline.send(new_room_id, Draft(creator, "m.room.message", content))
        shutdown.local_aliases = await self._aliases.list_aliases(room_id)
        await self._db.write(lambda txn: self._aliases.move_aliases(txn, room_id, new_room_id))
        return new_room_id

    async def _move(self, user_id: str, new_room_id: str) -> None:
        try:
            await self._memberships.join(user_id, new_room_id)
        except MatrixError:
            return  # whoever may not enter is out of the old room all the same

    async def _purge(self, room_id: str) -> None:
        """Delete what the server holds of the room."""
        self._rooms.close(room_id)
        try:
            if await self._room_store.find_room(room_id) is not None:
                await self._db.write(lambda txn: self._remove(txn, room_id))
            while positions := await self._store.list_positions(room_id, 200):
                part = positions
                await self._db.write(lambda txn, part=part: self._store.remove_events(txn, part))  # type: ignore[misc]
        finally:
            self._rooms.reopen(room_id)

    async def _remove(self, txn: Transaction, room_id: str) -> None:
        now = self._clock.now_ms()
        users = await self._store.list_local_members(room_id, self._server_name, txn)
        await self._store.remove_deleted(txn, now - TOLD_MS)
        position = await self._store.add_deleted(txn, room_id, users, now)
        await self._store.remove_room(txn, room_id)

        def committed() -> None:
            self._rooms.forget(room_id)
            for user_id in users:
                self._notifier.follow_room(user_id, room_id, False)
            for listener in self.purged:
                listener(room_id)
            self._stream.announce(Change.MEMBERSHIP, position, users=users)

        txn.on_commit(committed)
