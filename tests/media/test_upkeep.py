"""Files after they came: quarantine, deletion, age, leftovers; on both databases."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from homeserver.media.remote import RemoteFile
from homeserver.media.remote_files import RemoteLimits
from homeserver.media.services import MediaServices, MediaSettings, build_media_services
from homeserver.media.upkeep import DAY_MS, Retention
from homeserver.media.uploads import Upload
from homeserver.outbound.client import NoOutbound
from homeserver.protocol.errors import (
    LimitExceeded,
    MatrixError,
    NotFound,
    NotYetUploaded,
    RemoteTooLarge,
    Unavailable,
)
from homeserver.storage.database import Database
from homeserver.storage.media import Media
from homeserver.users.requester import Requester
from tests.support.clock import FakeClock
from tests.support.server import in_place

ALICE, BOB = Requester("@alice:here", "A", 1), Requester("@bob:here", "B", 2)
ADMIN = "@root:here"


class Elsewhere:
    """`RemoteMedia` of the test: files by id."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | MatrixError] = {}
        self.asked: list[tuple[str, str]] = []
        self.gate: asyncio.Event | None = None

    async def download_media(
        self, server_name: str, media_id: str, into: BinaryIO, *, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        self.asked.append((server_name, media_id))
        if self.gate is not None:
            await self.gate.wait()
        found = self.files.get(media_id, NotFound("no"))
        if isinstance(found, MatrixError):
            raise found
        if len(found) > max_bytes:
            raise RemoteTooLarge("The file is too large.")
        into.write(found)
        return RemoteFile("image/svg+xml\r\nX: y", "../a\r\nb.svg")


@dataclass
class Place:
    media: MediaServices
    clock: FakeClock
    folder: Path
    elsewhere: Elsewhere
    db: Database

    async def upload(self, who: Requester = ALICE, content: bytes = b"content") -> Media:
        return await self.media.uploads.add(who, Upload(io.BytesIO(content), len(content), "text/plain", "a.txt"))

    async def can_read(self, media: Media) -> bool:
        try:
            await self.media.access.get_readable(ALICE.user_id, media.server_name, media.media_id, 0)
        except NotFound:
            return False
        return True

    def files(self) -> list[Path]:
        return [each for each in (self.folder / "media").rglob("*") if each.is_file()]


def open_place(db: Database, folder: Path, **changes: Any) -> Place:
    clock, elsewhere = FakeClock(), Elsewhere()
    settings = MediaSettings(folder / "media", **changes)
    media = build_media_services(db, clock, "here", settings, in_place, NoOutbound(), elsewhere)
    return Place(media, clock, folder, elsewhere, db)


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    opened = open_place(database, tmp_path)
    yield opened
    await opened.media.close()


async def test_E06_a_quarantine_holds_for_all_with_the_same_content_and_what_comes_later(place: Place) -> None:
    first, copy, other = await place.upload(), await place.upload(BOB), await place.upload(BOB, b"other")
    upkeep = place.media.upkeep
    assert await upkeep.quarantine("here", first.media_id, ADMIN) == 2
    later = await place.upload(BOB)
    promised = await place.media.uploads.create(BOB)
    upload = Upload(io.BytesIO(b"content"), 7, "text/plain", None)
    promised = await place.media.uploads.add_to(BOB, "here", promised.media_id, upload)
    assert [await place.can_read(each) for each in (first, copy, other, later, promised)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    found = await upkeep.find("here", later.media_id)
    assert found is not None
    assert (found.is_quarantined, found.quarantined_by) == (True, ADMIN)
    assert await upkeep.release("here", copy.media_id) == 4
    assert [await place.can_read(each) for each in (first, copy, later, promised)] == [True] * 4
    with pytest.raises(NotFound):
        await upkeep.quarantine("here", "unknown", ADMIN)


async def test_E06_what_is_protected_stays_out_of_quarantine(place: Place) -> None:
    kept, gone = await place.upload(content=b"1"), await place.upload(content=b"2")
    upkeep = place.media.upkeep
    assert await upkeep.protect(kept.media_id)
    assert not await upkeep.protect("unknown")
    assert await upkeep.quarantine("here", kept.media_id, ADMIN) == 0
    assert await upkeep.quarantine_of_user(ALICE.user_id, ADMIN) == 1
    assert [await place.can_read(each) for each in (kept, gone)] == [True, False]
    assert await upkeep.protect(kept.media_id, False)
    assert await upkeep.quarantine("here", kept.media_id, ADMIN) == 1


async def test_lists_are_sorted_and_paged(place: Place) -> None:
    for size in (3, 1, 2):
        await place.upload(content=b"x" * size)
        await place.clock.advance(1)
    await place.upload(BOB, b"x" * 10)
    await place.media.uploads.create(ALICE)
    found, total = await place.media.upkeep.list_of_user(ALICE.user_id, limit=2)
    assert ([media.size for media in found], total) == ([2, 1], 3)
    found, _ = await place.media.upkeep.list_of_user(
        ALICE.user_id, order_by="media_length", descending=False, start=1, limit=9
    )
    assert [media.size for media in found] == [2, 3]
    usage, total = await place.media.upkeep.list_usage()
    assert ([tuple(each) for each in usage], total) == ([("@bob:here", 1, 10), ("@alice:here", 3, 6)], 2)
    assert await place.media.upkeep.list_usage(until_ms=1) == ([], 0)


async def test_what_is_removed_leaves_nothing(place: Place) -> None:
    one, two = await place.upload(content=b"1"), await place.upload(content=b"2")
    assert len(place.files()) == 2
    assert await place.media.upkeep.remove("here", one.media_id)
    assert not await place.media.upkeep.remove("here", one.media_id)
    assert await place.media.upkeep.remove_of_user(ALICE.user_id) == [two.media_id]
    assert (place.files(), await place.media.upkeep.find("here", two.media_id)) == ([], None)


async def test_a_purge_takes_what_nobody_used_since(place: Place) -> None:
    old, read, avatar, room, protected, bad = [await place.upload(content=b"%d" % number) for number in range(6)]
    fields = f'{{"avatar_url":"mxc://here/{avatar.media_id}"}}'
    event = f'{{"content":{{"url":"mxc://here/{room.media_id}"}}}}'
    await place.db.write(lambda txn: txn.execute("INSERT INTO profiles VALUES (?, ?)", ("@alice:here", fields)))
    await place.db.write(
        lambda txn: txn.execute(
            "INSERT INTO events (position, event_id, room_id, type, state_key, sender, depth, origin_server_ts, "
            "status, json) VALUES (1, '$a', '!r', 'm.room.avatar', '', '@a:here', 1, 1, 0, ?)",
            (event,),
        )
    )
    await place.db.write(
        lambda txn: txn.execute("INSERT INTO current_state VALUES ('!r', 'm.room.avatar', '', '$a')", ())
    )
    await place.media.upkeep.protect(protected.media_id)
    await place.media.upkeep.quarantine("here", bad.media_id, ADMIN)
    await place.clock.advance(100)
    before_ms = place.clock.now_ms()
    await place.clock.advance(3600)
    new = await place.upload(content=b"new")
    assert await place.can_read(read)
    assert await place.media.upkeep.purge_before(before_ms, larger_than=5) == []
    assert await place.media.upkeep.purge_before(before_ms) == [old.media_id]
    kept = (read, avatar, room, protected, new)
    assert [await place.can_read(each) for each in (old, *kept)] == [False, *[True] * 5]
    await place.media.upkeep.write_accesses()
    gone = await place.media.upkeep.purge_before(before_ms, keep_avatars=False)
    assert gone == [], "all were just read"


async def test_retention_removes_by_days(database: Database, tmp_path: Path) -> None:
    place = open_place(database, tmp_path, retention=Retention(local_days=30, remote_days=2))
    place.elsewhere.files["far"] = b"far"
    local = await place.upload()
    far = await place.media.access.get_readable(ALICE.user_id, "there", "far", 0)
    await place.clock.advance(3 * DAY_MS / 1000)
    await place.media.upkeep.do_round()
    assert await place.media.upkeep.find("there", far.media_id) is None
    assert await place.media.upkeep.find("here", local.media_id) is not None
    await place.clock.advance(30 * DAY_MS / 1000)
    await place.media.upkeep.do_round()
    assert place.files() == []
    await place.media.close()


async def test_rounds_come_by_themselves_and_survive_a_failure(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []

    async def fail() -> None:
        rounds.append(1)
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(place.media.upkeep, "do_round", fail)
    place.media.start()
    await place.clock.advance(3 * 3600)
    assert len(rounds) == 3


async def test_E08_files_that_nobody_knows_are_removed_after_a_day(place: Place) -> None:
    """An upload that a crash ended after its file was written and before its row was."""
    known = await place.upload()
    files = place.media.files
    orphan, young = "0" * 64, "1" * 64
    for key in (orphan, young):
        files.add(key, io.BytesIO(b"x"))
    unfinished = place.folder / "media" / "00" / "00" / "new-abc"
    unfinished.write_bytes(b"half")
    now = place.clock.now_ms() / 1000
    for path in place.files():
        age = 3600 if path.name == young else 2 * 86400
        os.utime(path, (now - age, now - age))
    assert await place.media.upkeep.remove_orphans() == 1
    assert {path.name for path in place.files()} == {known.file_key, young}


async def test_a_disk_that_fails_is_said_and_nothing_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(key: str, source: BinaryIO) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place.media.files, "add", full)
    with pytest.raises(Unavailable):
        await place.upload()
    assert await place.media.upkeep.list_of_user(ALICE.user_id) == ([], 0)


async def test_a_file_of_another_server_is_fetched_once_and_kept(place: Place) -> None:
    place.elsewhere.files["far"] = b"<svg/>"
    place.elsewhere.gate = asyncio.Event()
    asking = [
        asyncio.ensure_future(place.media.access.get_readable(each.user_id, "there", "far", 0)) for each in (ALICE, BOB)
    ]
    await asyncio.sleep(0)
    place.elsewhere.gate.set()
    one, two = await asyncio.gather(*asking)
    assert one == two
    assert await place.media.access.get_readable(ALICE.user_id, "there", "far", 0) == one
    assert place.elsewhere.asked == [("there", "far")]
    assert (one.content_type, one.file_name, one.user_id) == ("application/octet-stream", ".._ab.svg", "")
    assert await place.media.upkeep.quarantine("there", "far", ADMIN) == 1
    assert not await place.can_read(one)
    assert await place.media.upkeep.purge_remote(place.clock.now_ms() + 1) == 0, "a quarantine is not forgotten"
    await place.media.upkeep.release("there", "far")
    await place.clock.advance(7200)
    assert await place.media.upkeep.purge_remote(place.clock.now_ms()) == 1
    assert await place.can_read(one)
    assert len(place.elsewhere.asked) == 2


async def test_E03_what_is_fetched_from_others_is_bounded(database: Database, tmp_path: Path) -> None:
    limits = RemoteLimits(file_bytes=1000, burst_bytes=1500, bytes_per_second=100)
    place = open_place(database, tmp_path, remote=limits)
    place.elsewhere.files |= {"large": b"x" * 1001, "later": NotYetUploaded("wait")}
    place.elsewhere.files |= {str(number): b"x" * 1000 for number in range(4)}

    async def get(media_id: str, who: Requester = ALICE) -> Media:
        return await place.media.access.get_readable(who.user_id, "there", media_id, 0)

    for media_id, error in (("large", RemoteTooLarge), ("later", NotYetUploaded), ("none", NotFound)):
        with pytest.raises(error):
            await get(media_id)
    assert place.files() == []
    await get("0")
    await get("1")
    with pytest.raises(LimitExceeded) as caught:
        await get("2")
    assert caught.value.retry_after_ms == 5001
    assert (await get("2", BOB)).size == 1000
    assert (await get("2")).size == 1000, "what is here costs nothing"
    await place.clock.advance(5.1)
    assert (await get("3")).size == 1000
    await place.media.close()
