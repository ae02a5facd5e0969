"""The device lists of users of other servers, kept as long as a room is shared with them.

Whose keys somebody asks for and who shares a room with anybody here is followed from then on: the list is fetched once
(`/user/devices`), and kept true by the updates that their server sends. Each update names the one before it. Where that
is not the one that is known, the list is stale: it is fetched anew, as often as it takes, over restarts too, and until
then whoever asks for keys is answered by the other server itself. Clients are told of every update at once.

Spec: Server-Server API, "Device Management".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from federation.backoff import Backoff
from federation.client import FederationClient, encoded
from homeserver.clock import Clock, Timer
from homeserver.encryption.key_format import parse_cross_signing_key, parse_device_keys
from homeserver.protocol.errors import BadJson, MatrixError, Unavailable
from homeserver.protocol.identifiers import domain_of
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.remote_devices import RemoteDevice, RemoteDeviceStore, RemoteList
from homeserver.stream import Change, Stream

DEVICES_MAX: Final = 1_000
"""Of one user; what is beyond is not kept (B24)."""
KEYS_LENGTH_MAX: Final = 2 * 1024 * 1024
"""Of all devices of one user together; likewise."""
AT_ONCE: Final = 20
AT_ONCE_OF_A_SERVER: Final = 2
WAITING_MAX: Final = 20_000
"""So many users wait to be followed; whoever comes beyond is asked for the next time somebody wants their keys."""
FIRST_RETRY_MS: Final = 30_000
LOOK_AGAIN_MS: Final = 60_000
"""Whether a server that does not answer may be asked again."""
LONGEST_RETRY_MS: Final = 6 * 3600 * 1000
TIMEOUT_SECONDS: Final = 30.0
NAME_MAX: Final = 255

Body = dict[str, Any]
QueryLive = Callable[[Mapping[str, Sequence[str]], int], Awaitable[tuple[Body, Body]]]
"""Asks the users' servers themselves: ({user: [device, …]}, milliseconds) → (body, failures by server)."""

_log = logging.getLogger("federation.device_lists")


class _Update(msgspec.Struct):
    device_id: str
    stream_id: int
    prev_id: list[int] = []
    deleted: bool | None = False
    keys: dict[str, Any] | None = None
    device_display_name: str | None = None


class RemoteDeviceLists:
    """Follows them."""

    def __init__(
        self,
        *,
        db: Database,
        store: RemoteDeviceStore,
        marks: DeviceListStore,
        client: FederationClient,
        backoff: Backoff,
        stream: Stream,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._marks = marks
        self._client = client
        self._backoff = backoff
        self._stream = stream
        self._clock = clock
        self._own_name = own_name
        self._waiting: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._overtaken: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._follows_any = True
        self._stopped = False

    async def start(self) -> None:
        """Go on with what an earlier run could not fetch, and forget whom no room is shared with any more."""
        self._stream.listen(self._changed)
        self._backoff.listen(self.note_alive)
        self._follows_any = await self._store.has_lists()
        for known in await self._store.list_stale():
            self._waiting[known.user_id] = known.retry_at_ts
        self._spawn(self._sweep())
        self._begin_due()

    async def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._running.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- who asks

    async def query(
        self, wanted: Mapping[str, Sequence[str]], timeout_ms: int, live: QueryLive
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keys of users of other servers: from what is kept where that is true, else from their servers. Where those
        do not answer, what is kept is told beside the failure."""
        lists = await self._store.list_lists(list(wanted))
        asked = {user_id: each for user_id, each in wanted.items() if user_id not in lists or lists[user_id].is_stale}
        body: dict[str, Any] = {"device_keys": {}, "master_keys": {}, "self_signing_keys": {}}
        failures: dict[str, Any] = {}
        if asked:
            body, failures = await live(asked, timeout_ms)
            self._follow([user_id for user_id in asked if user_id not in lists])
        kept = {
            user_id: known
            for user_id, known in lists.items()
            if user_id not in asked or (domain_of(user_id) in failures and known.stream_id >= 0)
        }
        for user_id, known in kept.items():
            body["device_keys"].setdefault(user_id, {})
            for member, key in (("master_keys", known.master_key), ("self_signing_keys", known.self_signing_key)):
                if key is not None:
                    body[member][user_id] = msgspec.json.decode(key)
        for device in await self._store.list_devices(list(kept)):
            if not wanted[device.user_id] or device.device_id in wanted[device.user_id]:
                keys = msgspec.json.decode(device.keys)
                keys["unsigned"] = {} if device.display_name is None else {"device_display_name": device.display_name}
                body["device_keys"][device.user_id][device.device_id] = keys
        return body, failures

    # ---- what their servers say (the origin has been held against the user: B10)

    async def update(self, user_id: str, content: Mapping[str, Any]) -> None:
        """`m.device_list_update`. Raises BadJson; the list is then fetched anew."""
        failure: BadJson | None = None
        update: _Update | None = None
        try:
            update = msgspec.convert(content, _Update, strict=True)
            if not 0 < len(update.device_id) <= NAME_MAX or abs(update.stream_id) >= 2**53:
                raise BadJson("The update names no device, or has a number that is none")
        except msgspec.ValidationError as error:
            failure = BadJson(f"That is no update of a device list: {error}")
        except BadJson as error:
            failure, update = error, None

        async def apply(txn: Transaction, known: RemoteList) -> RemoteList | None:
            if update is None:
                return replace(known, is_stale=True)
            if update.stream_id == known.stream_id and not known.is_stale:
                return None  # it comes a second time
            follows = bool(update.prev_id) and all(one == known.stream_id for one in update.prev_id)
            if known.is_stale or not follows or update.stream_id < known.stream_id:
                return replace(known, is_stale=True)
            await self._apply(txn, user_id, update)
            return replace(known, stream_id=update.stream_id)

        await self._take(user_id, apply)
        if failure is not None:
            raise failure

    async def _apply(self, txn: Transaction, user_id: str, update: _Update) -> None:
        device = None
        if not update.deleted and update.keys is not None:
            device = _device(user_id, update.device_id, update.keys, update.device_display_name)
        if device is not None:
            count, length = await self._store.measure(user_id, txn, but=device.device_id)
            if count < DEVICES_MAX and length + len(device.keys) <= KEYS_LENGTH_MAX:
                await self._store.set_device(txn, device)
                return
        await self._store.remove_device(txn, user_id, update.device_id)

    async def signing_keys(self, user_id: str, content: Mapping[str, Any]) -> None:
        """`m.signing_key_update`: who the user is by cross-signing. A key that is none makes the list stale."""
        keys: dict[str, str] = {}
        is_sound = True
        for usage in ("master", "self_signing"):
            if content.get(f"{usage}_key") is not None:
                text = _cross_signing_key(user_id, usage, content[f"{usage}_key"])
                is_sound = is_sound and text is not None
                if text is not None:
                    keys[f"{usage}_key"] = text

        async def apply(txn: Transaction, known: RemoteList) -> RemoteList | None:
            return replace(known, is_stale=known.is_stale or not is_sound, **keys)  # type: ignore[arg-type]

        await self._take(user_id, apply)

    async def _take(
        self, user_id: str, apply: Callable[[Transaction, RemoteList], Awaitable[RemoteList | None]]
    ) -> None:
        """Change what is known of a user, and tell clients. Of whom no room is shared with, nothing is kept."""
        if await self._store.find_list(user_id) is None and not await self._store.list_sharing_any(
            self._own_name, [user_id]
        ):
            return

        async def job(txn: Transaction) -> None:
            known = await self._store.find_list(user_id, txn)
            if known is not None:
                changed = await apply(txn, known)
                if changed is None:
                    return
                await self._store.set_list(txn, changed)
                if changed.is_stale:
                    self._overtaken.add(user_id)  # what is being fetched now may lack this
                    txn.on_commit(lambda: self._fetch_soon(user_id))
            self._tell(txn, user_id)

        await self._db.write(job)

    def _tell(self, txn: Transaction, user_id: str) -> None:
        position = self._marks.mark_changed(txn, user_id)
        txn.on_commit(lambda: self._stream.announce(Change.DEVICE_LISTS, position, users=(user_id,)))

    # ---- fetching whole lists

    def note_alive(self, server_name: str) -> None:
        """A server that did not answer is there again: its lists need not wait any longer."""
        for user_id in self._waiting:
            if domain_of(user_id) == server_name:
                self._waiting[user_id] = 0
        self._begin_due()

    def _fetch_soon(self, *user_ids: str) -> None:
        for user_id in user_ids:
            self._waiting.setdefault(user_id, 0)
        self._begin_due()

    def _begin_due(self) -> None:
        """Fetch what is due, a few at a time, and of each server fewer still (B24, B30)."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stopped or not self._waiting:
            return
        now = self._clock.now_ms()
        of_server: dict[str, int] = {}
        for user_id in self._running:
            of_server[domain_of(user_id)] = of_server.get(domain_of(user_id), 0) + 1
        later: list[int] = []
        for user_id, due in list(self._waiting.items()):
            server = domain_of(user_id)
            if due > now:
                later.append(due)
            elif not self._backoff.may_ask(server):
                self._waiting[user_id] = now + LOOK_AGAIN_MS
                later.append(now + LOOK_AGAIN_MS)
            elif user_id in self._running or len(self._running) >= AT_ONCE:
                continue  # whichever ends next comes here again
            elif of_server.get(server, 0) < AT_ONCE_OF_A_SERVER:
                of_server[server] = of_server.get(server, 0) + 1
                del self._waiting[user_id]
                self._running[user_id] = asyncio.ensure_future(self._fetch(user_id))
        if later:
            self._timer = self._clock.call_later(max(min(later) - now, 1) / 1000, self._begin_due)

    async def _fetch(self, user_id: str) -> None:
        try:
            await self._fetch_list(user_id)
        except Unavailable as error:
            _log.warning("The devices of %s wait for the database: %s", user_id, error)
            self._waiting.setdefault(user_id, self._clock.now_ms() + FIRST_RETRY_MS)
        except Exception:
            _log.exception("The devices of %s could not be fetched", user_id)
        finally:
            self._running.pop(user_id, None)
            self._overtaken.discard(user_id)
            self._begin_due()

    async def _fetch_list(self, user_id: str) -> None:
        self._overtaken.discard(user_id)
        followed = await self._store.find_list(user_id)
        if followed is None or not followed.is_stale:
            return
        path = encoded("/_matrix/federation/v1/user/devices/{}", user_id)
        try:
            answer = await self._client.get(domain_of(user_id), path, timeout=TIMEOUT_SECONDS)
            found, devices = _read(user_id, answer)
        except MatrixError as error:
            _log.info("The devices of %s cannot be had: %s", user_id, error)
            await self._note_failure(user_id)
            return

        async def job(txn: Transaction) -> None:
            known = await self._store.find_list(user_id, txn)
            if known is None:
                return  # no room is shared any more
            if user_id in self._overtaken:
                return  # an update came meanwhile, which may be in this answer or not: it is fetched again
            before = await self._store.list_devices([user_id], txn)
            is_news = before != devices or (known.master_key, known.self_signing_key) != (
                found.master_key,
                found.self_signing_key,
            )
            await self._store.set_list(txn, found)
            await self._store.set_devices(txn, user_id, devices)
            if is_news and known.failures:
                self._tell(txn, user_id)  # whoever asked in between was told what was known before

        await self._db.write(job)

    async def _note_failure(self, user_id: str) -> None:
        async def job(txn: Transaction) -> None:
            known = await self._store.find_list(user_id, txn)
            if known is None:
                return
            failures = min(known.failures + 1, 20)
            pause = min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS)
            again = self._clock.now_ms() + pause
            await self._store.set_list(txn, replace(known, is_stale=True, failures=failures, retry_at_ts=again))
            txn.on_commit(lambda: self._waiting.update({user_id: again}))

        await self._db.write(job)

    # ---- who is followed

    def _follow(self, user_ids: Sequence[str]) -> None:
        if user_ids and len(self._waiting) < WAITING_MAX:
            self._spawn(self._begin_to_follow(user_ids))

    async def _begin_to_follow(self, user_ids: Sequence[str]) -> None:
        sharing = sorted(await self._store.list_sharing_any(self._own_name, user_ids))[:WAITING_MAX]

        async def job(txn: Transaction) -> None:
            for user_id in sharing:
                if await self._store.find_list(user_id, txn) is None:
                    await self._store.set_list(txn, RemoteList(user_id))
            txn.on_commit(lambda: self._fetch_soon(*sharing))

        if sharing:
            self._follows_any = True
            await self._db.write(job)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.MEMBERSHIP and self._follows_any:
            self._spawn(self._unfollow(position, users))

    async def _unfollow(self, position: int, users: Iterable[str]) -> None:
        """After a change of membership: forget who shares no room any more."""
        suspects = [user_id for user_id in users if domain_of(user_id) != self._own_name]
        for user_id in users:
            if domain_of(user_id) == self._own_name:
                suspects += await self._store.list_followed_where_left(user_id, position)
        followed = await self._store.list_lists(list(dict.fromkeys(suspects))) if suspects else {}
        if followed:
            sharing = await self._store.list_sharing_any(self._own_name, list(followed))
            await self._forget([user_id for user_id in followed if user_id not in sharing])

    async def _sweep(self) -> None:
        await self._forget(await self._store.list_unshared(self._own_name))

    async def _forget(self, user_ids: Sequence[str]) -> None:
        if user_ids:
            await self._db.write(lambda txn: self._store.remove_lists(txn, user_ids))
            for user_id in user_ids:
                self._waiting.pop(user_id, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Unavailable as error:
                _log.warning("Device lists wait for the database: %s", error)
            except Exception:
                _log.exception("Device lists could not be looked after")

        if self._stopped:
            work.close()
            return
        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(user_id: str, answer: Any) -> tuple[RemoteList, list[RemoteDevice]]:
    """The answer to `/user/devices`; of its devices those that clients can be handed (B23). Raises BadJson."""
    stream_id = answer.get("stream_id") if isinstance(answer, dict) else None
    told = answer.get("devices") if isinstance(answer, dict) else None
    if not isinstance(stream_id, int) or not 0 <= stream_id < 2**53 or not isinstance(told, list):
        raise BadJson("That is no list of devices")
    if answer.get("user_id") != user_id:
        raise BadJson("That is the list of somebody else")
    found: dict[str, RemoteDevice] = {}
    length = 0
    for one in told[:DEVICES_MAX]:
        if isinstance(one, dict):
            device = _device(user_id, one.get("device_id"), one.get("keys"), one.get("device_display_name"))
            if device is not None and device.device_id not in found and length + len(device.keys) <= KEYS_LENGTH_MAX:
                found[device.device_id] = device
                length += len(device.keys)
    known = RemoteList(
        user_id,
        stream_id,
        is_stale=False,
        master_key=_cross_signing_key(user_id, "master", answer.get("master_key")),
        self_signing_key=_cross_signing_key(user_id, "self_signing", answer.get("self_signing_key")),
    )
    return known, sorted(found.values(), key=lambda device: device.device_id)


def _device(user_id: str, device_id: Any, keys: Any, name: Any) -> RemoteDevice | None:
    if not isinstance(device_id, str) or not 0 < len(device_id) <= NAME_MAX or "\0" in device_id:
        return None
    try:
        text = parse_device_keys(keys, user_id, device_id)
    except MatrixError:
        return None
    shown = name[:NAME_MAX].replace("\0", "") if isinstance(name, str) else None
    return RemoteDevice(user_id, device_id, text, shown)


def _cross_signing_key(user_id: str, usage: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return msgspec.json.encode(parse_cross_signing_key(value, user_id, usage)[1]).decode()
    except MatrixError:
        return None
