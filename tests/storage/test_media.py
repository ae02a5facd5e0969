"""What is known of files, on both engines: each test walks through the store."""

from __future__ import annotations

from dataclasses import replace

from homeserver.storage.database import Database, Transaction
from homeserver.storage.media import Media, MediaStore, StoredThumbnail

FILE = Media("x.y", "one", "@a:x.y", 5, None, "k" * 64, "s" * 64, 700, "text/plain", "a.txt")
PROMISE = Media("x.y", "two", "@a:x.y", 5, 100)


async def test_media_keep_every_column_and_get_their_file_once(database: Database) -> None:
    store = MediaStore(database)
    await database.write(lambda txn: store.add_media(txn, FILE))
    await database.write(lambda txn: store.add_media(txn, PROMISE))
    assert await store.get_media("x.y", "one") == FILE
    assert await store.get_media("x.y", "two") == PROMISE
    assert await store.find_media("z.y", "one") is None
    assert await store.used_bytes("@a:x.y") == 700
    filled = replace(FILE, media_id="two", size=44)
    assert [await database.write(lambda txn: store.set_file(txn, filled)) for _ in range(2)] == [True, False]
    assert await store.get_media("x.y", "two") == filled
    assert await store.used_bytes("@a:x.y") == 744
    assert await store.used_bytes("@b:x.y") == 0


async def test_promises_are_counted_until_they_expire(database: Database) -> None:
    store = MediaStore(database)
    await database.write(lambda txn: store.add_media(txn, PROMISE))
    await database.write(lambda txn: store.add_media(txn, FILE))
    assert [await store.count_pending("@a:x.y", now) for now in (99, 100)] == [1, 0]
    assert await database.write(lambda txn: store.remove_expired(txn, "@a:x.y", 99)) == 0
    assert await database.write(lambda txn: store.remove_expired(txn, "@a:x.y", 100)) == 1
    assert await store.find_media("x.y", "two") is None
    assert await store.find_media("x.y", "one") == FILE


async def test_quarantine_is_kept(database: Database) -> None:
    store = MediaStore(database)
    await database.write(lambda txn: store.add_media(txn, FILE))

    async def quarantine(txn: Transaction) -> list[bool]:
        return [await store.set_quarantined(txn, "x.y", media_id, True) for media_id in ("one", "three")]

    assert await database.write(quarantine) == [True, False]
    assert await store.get_media("x.y", "one") == replace(FILE, is_quarantined=True)


async def test_thumbnails_are_kept_once(database: Database) -> None:
    store = MediaStore(database)
    first, second = StoredThumbnail("t" * 64, 3, "image/png"), StoredThumbnail("u" * 64, 4, "image/jpeg")
    assert await store.find_thumbnail("k", "a") is None
    assert await database.write(lambda txn: store.add_thumbnail(txn, "k", "a", first))
    assert not await database.write(lambda txn: store.add_thumbnail(txn, "k", "a", second))
    assert await store.find_thumbnail("k", "a") == first
    assert await store.count_thumbnails("k") == 1
