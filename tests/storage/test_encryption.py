"""What encryption/ keeps, on both engines: each test walks through one store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from homeserver.storage.cross_signing import CrossSigningKey, CrossSigningStore, KeySignature
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_keys import DeviceKeys, DeviceKeyStore
from homeserver.storage.devices import Device, DeviceStore
from homeserver.storage.key_backups import BackedUpKey, KeyBackup, KeyBackupStore
from homeserver.storage.one_time_keys import OneTimeKey, OneTimeKeyStore

T = TypeVar("T")
ALICE, BOB = "@alice:x.y", "@bob:x.y"
ROOM, OTHER = "!room:x.y", "!other:x.y"


async def write(database: Database, job: Callable[[Transaction], Awaitable[T]]) -> T:
    return await database.write(job)


async def test_device_keys_come_with_the_name_of_the_device(database: Database) -> None:
    store = DeviceKeyStore(database)
    await write(database, lambda txn: DeviceStore(database).add_device(txn, Device(ALICE, "A", "phone", 5)))

    async def fill(txn: Transaction) -> None:
        for user_id, device_id, keys in ((ALICE, "A", "{}"), (ALICE, "B", "{}"), (BOB, "C", "{}")):
            await store.set_keys(txn, user_id, device_id, keys)
        await store.set_keys(txn, ALICE, "A", '{"x":1}')

    await write(database, fill)
    assert await store.find_keys(ALICE, "A") == '{"x":1}'
    assert await store.list_keys([ALICE, "@none:x.y"]) == [
        DeviceKeys(ALICE, "A", '{"x":1}', "phone"),
        DeviceKeys(ALICE, "B", "{}", None),
    ]
    await write(database, lambda txn: store.remove_keys(txn, ALICE, "A"))
    assert await store.find_keys(ALICE, "A") is None


async def test_one_time_keys_are_taken_in_their_order_and_trimmed_from_the_oldest(database: Database) -> None:
    store = OneTimeKeyStore(database)

    async def fill(txn: Transaction) -> None:
        await store.add_keys(txn, ALICE, "D", [OneTimeKey("a", "z", "1"), OneTimeKey("b", "x", "2")])
        await store.add_keys(txn, ALICE, "D", [OneTimeKey("a", "y", "3")])
        await store.add_keys(txn, ALICE, "D", [OneTimeKey("a", f"k{n}", "4") for n in range(600)])

    await write(database, fill)
    assert await store.count_keys(ALICE, "D") == {"a": 602, "b": 1}
    assert await store.count_keys(ALICE, "OTHER") == {}
    ids = [f"k{n}" for n in range(600)]
    assert len(await store.list_keys(ALICE, "D", "a", [*ids, "z", "none"])) == 601
    taken = [await write(database, lambda txn: store.take_key(txn, ALICE, "D", "a")) for _ in range(2)]
    assert taken == [OneTimeKey("a", "z", "1"), OneTimeKey("a", "y", "3")]
    assert await write(database, lambda txn: store.trim_keys(txn, ALICE, "D", "a", 500)) == 100
    assert await write(database, lambda txn: store.trim_keys(txn, ALICE, "D", "a", 500)) == 0
    await write(database, lambda txn: store.take_key(txn, ALICE, "D", "b"))
    assert await write(database, lambda txn: store.take_key(txn, ALICE, "D", "b")) is None
    assert await store.count_keys(ALICE, "D") == {"a": 500}


async def test_fallback_key_is_marked_as_used_until_another_one_comes(database: Database) -> None:
    store = OneTimeKeyStore(database)
    first, second = OneTimeKey("a", "1", "x"), OneTimeKey("a", "2", "x")
    await write(database, lambda txn: store.set_fallback_key(txn, ALICE, "D", first))
    assert await store.list_fallback_algorithms(ALICE, "D") == {"a": False}
    for _ in range(2):
        assert await write(database, lambda txn: store.take_fallback_key(txn, ALICE, "D", "a")) == first
    await write(database, lambda txn: store.set_fallback_key(txn, ALICE, "D", first))
    assert await store.list_fallback_algorithms(ALICE, "D") == {"a": True}
    await write(database, lambda txn: store.set_fallback_key(txn, ALICE, "D", second))
    assert await store.list_fallback_algorithms(ALICE, "D") == {"a": False}
    await write(database, lambda txn: store.remove_keys(txn, ALICE, "D"))
    assert await write(database, lambda txn: store.take_fallback_key(txn, ALICE, "D", "a")) is None


async def test_cross_signing_keys_go_with_their_signatures(database: Database) -> None:
    store = CrossSigningStore(database)
    master, signing = CrossSigningKey(ALICE, "master", "M", "{}"), CrossSigningKey(ALICE, "user_signing", "U", "{}")
    by_self = KeySignature(ALICE, "M", ALICE, "ed25519:D", "s1")
    by_alice, by_bob = (
        KeySignature(BOB, "B", ALICE, "ed25519:U", "s2"),
        KeySignature(ALICE, "M", BOB, "ed25519:V", "s3"),
    )

    async def fill(txn: Transaction) -> None:
        for key in (master, signing):
            await store.set_key(txn, key)
        for position, signature in enumerate((by_self, by_alice, by_bob), 10):
            await store.set_signature(txn, signature, position)

    await write(database, fill)
    assert await store.keys_of(ALICE) == {"master": master, "user_signing": signing}
    assert await store.list_signatures([ALICE, BOB], signer=None) == [by_self]
    assert set(await store.list_signatures([ALICE, BOB], signer=ALICE)) == {by_self, by_alice}
    assert set(await store.list_signatures([ALICE, BOB], signer=BOB)) == {by_self, by_bob}
    assert await store.list_signed_users(ALICE, 9, 20) == [BOB]
    assert await store.list_signed_users(ALICE, 11, 20) == []
    await write(database, lambda txn: store.remove_keys(txn, ALICE, ["user_signing"]))
    assert await store.keys_of(ALICE) == {"master": master}
    assert await store.list_signatures([ALICE, BOB], signer=ALICE) == [by_self]
    await write(database, lambda txn: store.remove_keys(txn, ALICE, ["master"]))
    assert await store.list_signatures([ALICE], signer=BOB) == []


async def test_backups_have_versions_and_keys(database: Database) -> None:
    store = KeyBackupStore(database)
    assert await store.find_current_backup(ALICE) is None
    versions = [await write(database, lambda txn: store.add_backup(txn, ALICE, "alg", "{}")) for _ in range(2)]
    assert versions == [1, 2]
    keys = [
        BackedUpKey(ROOM, "s1", True, 1, 2, "{}"),
        BackedUpKey(ROOM, "s2", False, 3, 4, '{"x":1}'),
        BackedUpKey(OTHER, "s1", False, 0, 0, "{}"),
    ]
    await write(database, lambda txn: store.set_keys(txn, ALICE, 2, keys))
    await write(database, lambda txn: store.note_change(txn, ALICE, 2, 3))
    await write(database, lambda txn: store.set_auth_data(txn, ALICE, 2, '{"new":1}'))
    assert await store.find_current_backup(ALICE) == KeyBackup(2, "alg", '{"new":1}', 1, 3, False)
    assert set(await store.list_keys(ALICE, 2)) == set(keys)
    assert await store.list_keys(ALICE, 2, ROOM) == keys[:2]
    assert await store.find_keys(ALICE, 2, ROOM, ["s2", "none"]) == [keys[1]]
    assert await store.find_key(ALICE, 2, OTHER, "s1") == keys[2]
    assert await write(database, lambda txn: store.remove_keys(txn, ALICE, 2, ROOM, "s1")) == 1
    assert await write(database, lambda txn: store.remove_keys(txn, ALICE, 2, ROOM)) == 1
    await write(database, lambda txn: store.delete_backup(txn, ALICE, 2))
    assert await store.list_keys(ALICE, 2) == []
    assert await store.list_versions(ALICE) == [1]
    deleted = await store.find_backup(ALICE, 2)
    assert deleted is not None
    assert deleted.is_deleted
    assert await write(database, lambda txn: store.add_backup(txn, ALICE, "alg", "{}")) == 3
    await write(database, lambda txn: store.remove_all(txn, ALICE))
    assert await store.find_backup(ALICE, 2) is None
