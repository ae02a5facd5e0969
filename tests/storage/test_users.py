"""What users/ keeps, on both engines: each test walks through one store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from homeserver.storage.access_tokens import AccessToken, AccessTokenStore, RefreshToken
from homeserver.storage.account_data import AccountDataStore
from homeserver.storage.accounts import Account, AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.devices import Device, DeviceStore
from homeserver.storage.filters import FilterStore
from homeserver.storage.interactive_sessions import InteractiveSession, InteractiveSessionStore
from homeserver.storage.openid_tokens import OpenIdTokenStore
from homeserver.storage.presence import PresenceStore, StoredPresence
from homeserver.storage.profiles import ProfileStore
from homeserver.storage.push_rules import PushRuleStore
from homeserver.storage.pushers import Pusher, PusherStore
from homeserver.storage.registration_tokens import RegistrationToken, RegistrationTokenStore
from homeserver.storage.to_device import ToDeviceStore
from homeserver.storage.user_directory import UserDirectoryStore

T = TypeVar("T")
ALICE, BOB = "@alice:x.y", "@bob:x.y"


async def write(database: Database, job: Callable[[Transaction], Awaitable[T]]) -> T:
    return await database.write(job)


async def test_accounts_keep_every_column_and_are_added_once(database: Database) -> None:
    store = AccountStore(database)
    account = Account(ALICE, 5, "hash", is_admin=True, is_guest=True, appservice_id="irc", user_type="bot")
    assert await store.find_account(ALICE) is None
    assert [await write(database, lambda txn: store.add_account(txn, account)) for _ in range(2)] == [True, False]
    assert await store.get_account(ALICE) == account

    async def change(txn: Transaction) -> None:
        for flag in ("is_guest", "is_locked", "is_suspended"):
            await store.set_flag(txn, ALICE, flag, flag != "is_guest")
        await store.set_password_hash(txn, ALICE, "other")

    await write(database, change)
    changed = await store.get_account(ALICE)
    assert (changed.is_guest, changed.is_locked, changed.is_suspended) == (False, True, True)
    assert changed.password_hash == "other"
    assert await store.count_accounts() == 1
    await write(database, lambda txn: store.set_deactivated(txn, ALICE, erase=True))
    ended = await store.get_account(ALICE)
    assert (ended.is_deactivated, ended.is_erased, ended.is_admin, ended.password_hash) == (True, True, False, None)
    assert await store.count_accounts() == 0
    await write(database, lambda txn: store.add_account(txn, Account(BOB, 6)))
    assert await store.list_user_ids(limit=1) == [ALICE]
    assert await store.list_user_ids(ALICE) == [BOB]


async def test_devices_are_named_seen_and_removed(database: Database) -> None:
    store = DeviceStore(database)
    phone = Device(ALICE, "PHONE", "Téléphone 电话", 1)
    assert [await write(database, lambda txn: store.add_device(txn, phone)) for _ in range(2)] == [True, False]
    await write(database, lambda txn: store.add_device(txn, Device(ALICE, "TABLET", None, 2)))
    await write(database, lambda txn: store.add_device(txn, Device(BOB, "PHONE", None, 3)))
    await write(database, lambda txn: store.set_last_seen(txn, [(9, "192.0.2.1", "curl", ALICE, "PHONE")]))
    assert await store.find_device(ALICE, "PHONE") == Device(
        ALICE, "PHONE", "Téléphone 电话", 1, 9, "192.0.2.1", "curl"
    )
    assert [device.device_id for device in await store.list_devices(ALICE)] == ["PHONE", "TABLET"]
    many = [f"@u{number}:x.y" for number in range(1200)]
    assert await store.list_device_ids([ALICE, *many, BOB]) == {ALICE: ["PHONE", "TABLET"], BOB: ["PHONE"]}
    assert await write(database, lambda txn: store.set_display_name(txn, ALICE, "TABLET", "Tab"))
    assert not await write(database, lambda txn: store.set_display_name(txn, BOB, "TABLET", "Tab"))
    assert await write(database, lambda txn: store.remove_device(txn, ALICE, "PHONE"))
    assert not await write(database, lambda txn: store.remove_device(txn, ALICE, "PHONE"))


async def test_device_lists_remember_the_newest_change_of_each_user(database: Database) -> None:
    store = DeviceListStore(database)

    async def mark(user_id: str) -> int:
        async def job(txn: Transaction) -> int:
            return store.mark_changed(txn, user_id)

        return await database.write(job)

    first, second, third = await mark(ALICE), await mark(BOB), await mark(ALICE)
    assert first < second < third
    assert await store.list_changed_users(0, third) == [BOB, ALICE]
    assert await store.list_changed_users(second, third) == [ALICE]
    assert await store.list_changed_users(0, second) == [BOB]
    many = [f"@u{number}:x.y" for number in range(1200)]
    assert set(await store.list_changed_among([ALICE, *many, BOB], first, third)) == {ALICE, BOB}
    assert await store.list_changed_among([BOB], second, third) == []


async def test_tokens_are_kept_by_device_and_family(database: Database) -> None:
    store = AccessTokenStore(database)
    access = AccessToken(1, "a1", ALICE, "D", 5, 6, 7, True)
    refresh = RefreshToken(7, "r1", ALICE, "D", 5, None, None, False)
    child = RefreshToken(8, "r2", ALICE, "D", 6, 99, 7, False)

    async def fill(txn: Transaction) -> None:
        await store.add_token(txn, access)
        await store.add_refresh_token(txn, refresh)
        await store.add_refresh_token(txn, child)
        await store.add_token(txn, AccessToken(2, "a2", ALICE, "E", 5, None, None, False))

    await write(database, fill)
    assert await store.find_token("a1") == access
    assert await store.find_refresh_token("r2") == child
    assert await store.find_token("r1") is None
    await write(database, lambda txn: store.set_used(txn, 1))
    used = await store.find_token("a1")
    assert used is not None
    assert not used.is_unused

    async def family(txn: Transaction) -> tuple[int | None, int | None, list[int]]:
        children = list(await store.list_refresh_children(txn, 7))
        return await store.set_parent_spent(txn, 8), await store.set_parent_spent(txn, 7), children

    assert await write(database, family) == (7, None, [8])
    spent = await store.find_refresh_token("r1")
    assert spent is not None
    assert spent.is_spent
    await write(database, lambda txn: store.remove_old_spent(txn, ALICE, "D", 5))
    assert await store.find_refresh_token("r1") is not None
    await write(database, lambda txn: store.remove_old_spent(txn, ALICE, "D", 6))
    assert await store.find_refresh_token("r1") is None
    await write(database, lambda txn: store.remove_tokens_of_device(txn, ALICE, "D"))
    assert await store.find_token("a1") is None
    assert await store.find_refresh_token("r2") is None
    await write(database, lambda txn: store.remove_tokens_of_user(txn, ALICE))
    assert await store.find_token("a2") is None


async def test_login_token_is_taken_once_and_in_time(database: Database) -> None:
    store = AccessTokenStore(database)
    for token, expires in (("in time", 11), ("late", 10)):
        await write(database, lambda txn, t=token, e=expires: store.add_login_token(txn, t, ALICE, e))  # type: ignore[misc]
    for token, owner in (("in time", ALICE), ("in time", None), ("late", None), ("unknown", None)):
        assert await write(database, lambda txn, t=token: store.take_login_token(txn, t, 10)) == owner  # type: ignore[misc]


async def test_registration_tokens_are_used_as_often_as_allowed(database: Database) -> None:
    store = RegistrationTokenStore(database)
    twice, timed = RegistrationToken("twice", 2), RegistrationToken("timed", None, 0, 10)
    for token in (twice, timed):
        assert await write(database, lambda txn, t=token: store.add_token(txn, t))  # type: ignore[misc]
        assert not await write(database, lambda txn, t=token: store.add_token(txn, t))  # type: ignore[misc]
    uses = [await write(database, lambda txn: store.use_token(txn, "twice", 5)) for _ in range(3)]
    assert uses == [True, True, False]
    assert await write(database, lambda txn: store.use_token(txn, "timed", 9))
    assert not await write(database, lambda txn: store.use_token(txn, "timed", 10))
    assert not await write(database, lambda txn: store.use_token(txn, "unknown", 5))
    assert [token.completed for token in await store.list_tokens()] == [1, 2]
    assert await write(database, lambda txn: store.remove_token(txn, "twice"))
    assert await store.find_token("twice") is None


async def test_interactive_sessions_are_updated_and_pruned(database: Database) -> None:
    store = InteractiveSessionStore(database)
    session = InteractiveSession("h", ALICE, "D", "POST /x", "digest", (("a", "b"), ("c",)), {"a": "ü"}, 5)
    await write(database, lambda txn: store.set_session(txn, session))
    assert await store.find_session("h") == session
    later = InteractiveSession("h", ALICE, "D", "POST /x", "other", (("a", "b"), ("c",)), {"a": "ü", "b": ""}, 5)
    await write(database, lambda txn: store.set_session(txn, later))
    assert await store.find_session("h") == later
    await write(database, lambda txn: store.remove_sessions_before(txn, 5))
    assert await write(database, lambda txn: store.remove_session(txn, "h"))
    assert not await write(database, lambda txn: store.remove_session(txn, "h"))


async def test_profiles_keep_any_json(database: Database) -> None:
    store = ProfileStore(database)
    fields = {"displayname": "愛麗絲 😀", "org.x": [1, 0.5, None, {"a": True}]}
    assert await store.find_fields(ALICE) is None
    for value in ({}, fields):
        await write(database, lambda txn, v=value: store.set_fields(txn, ALICE, v))  # type: ignore[misc]
        assert await store.find_fields(ALICE) == value
    await write(database, lambda txn: store.remove_profile(txn, ALICE))
    assert await store.find_fields(ALICE) is None


async def test_account_data_is_found_by_position(database: Database) -> None:
    store = AccountDataStore(database)
    positions = [
        await write(database, lambda txn, r=room, t=type, c=content: store.set_content(txn, ALICE, r, t, c))  # type: ignore[misc]
        for room, type, content in (("", "a", "{}"), ("!r", "a", '{"x":"界"}'), ("", "a", '{"n":2}'))
    ]
    assert positions == sorted(set(positions))
    changes = await store.list_changes(ALICE, 0, positions[-1])
    assert [(each.room_id, each.content, each.position) for each in changes] == [
        ("!r", '{"x":"界"}', positions[1]),
        ("", '{"n":2}', positions[2]),
    ]
    assert await store.list_changes(ALICE, positions[1], positions[1]) == []
    assert await store.find_content(ALICE, "!r", "a") == '{"x":"界"}'
    assert await store.count_types(ALICE, "") == 1
    await write(database, lambda txn: store.remove_all(txn, ALICE))
    assert await store.list_changes(ALICE, 0, 99) == []


async def test_filters_are_numbered_and_shared_by_digest(database: Database) -> None:
    store = FilterStore(database)
    ids = [
        await write(database, lambda txn, d=digest, u=user: store.add_filter(txn, u, d, f"{{{d}}}", 2))  # type: ignore[misc]
        for user, digest in ((ALICE, "x"), (ALICE, "y"), (ALICE, "x"), (BOB, "x"), (ALICE, "z"))
    ]
    assert ids == [0, 1, 0, 0, None]
    assert await store.find_filter(ALICE, 1) == "{y}"
    assert await store.find_filter(BOB, 1) is None


async def test_presence_is_kept_once_per_user(database: Database) -> None:
    store = PresenceStore(database)

    async def put(user_id: str, state: str, status: str | None) -> int:
        async def job(txn: Transaction) -> int:
            position = txn.next_position()
            store.set_presence(txn, StoredPresence(user_id, state, status, 5, position))
            return position

        return await database.write(job)

    first, second, third = (
        await put(ALICE, "online", None),
        await put(BOB, "online", "x"),
        await put(ALICE, "offline", "y"),
    )
    assert await store.find_presence(ALICE) == StoredPresence(ALICE, "offline", "y", 5, third)
    assert [each.user_id for each in await store.list_changes(first, third)] == [BOB, ALICE]
    assert await store.list_changes(first, second) == [StoredPresence(BOB, "online", "x", 5, second)]


async def test_push_rules_are_read_of_many(database: Database) -> None:
    store = PushRuleStore(database)
    position = await write(database, lambda txn: store.set_rules(txn, ALICE, '{"a":1}'))
    assert await store.find_rules(ALICE) == '{"a":1}'
    assert await store.find_position(ALICE) == position
    assert await store.find_position(BOB) is None
    many = [f"@u{number}:x.y" for number in range(1200)]
    assert await store.list_rules([*many, ALICE, BOB]) == {ALICE: '{"a":1}'}
    await write(database, lambda txn: store.remove_rules(txn, ALICE))
    assert await store.find_rules(ALICE) is None


async def test_directory_is_searched_without_case_width_or_patterns(database: Database) -> None:
    store = UserDirectoryStore(database)
    people = {"@zed:x.y": "Straße 100%_!", "@wang:x.y": "王小明", "@bob:x.y": "ＢＯＢ", "@bobby:x.y": None}
    for user_id, name in people.items():
        await write(database, lambda txn, u=user_id, n=name: store.set_entry(txn, u, n, None))  # type: ignore[misc]

    async def search(term: str) -> list[str]:
        return [entry.user_id for entry in await store.search(term, limit=10)]

    assert await search("STRASSE") == ["@zed:x.y"]
    assert await search("0%_!") == ["@zed:x.y"]
    assert await search("小") == ["@wang:x.y"]
    assert await search("bob") == ["@bob:x.y", "@bobby:x.y"]
    assert await search("@bob") == ["@bob:x.y", "@bobby:x.y"]
    assert await search("%") == ["@zed:x.y"]
    assert await search("  ") == []
    await write(database, lambda txn: store.update_entry(txn, "@nobody:x.y", "Bob", None))
    await write(database, lambda txn: store.update_entry(txn, "@wang:x.y", "Bob", "mxc://a/b"))
    assert len(await search("bob")) == 3
    assert [entry.user_id for entry in await store.search("bob", limit=1, offset=1)] == ["@wang:x.y"]
    await write(database, lambda txn: store.remove_entry(txn, "@wang:x.y"))
    assert len(await search("bob")) == 2


async def test_inboxes_are_read_in_order_and_trimmed_fairly(database: Database) -> None:
    store = ToDeviceStore(database)

    async def add(sender: str, count: int) -> int:
        position = 0
        for number in range(count):

            async def job(txn: Transaction, number: int = number) -> int:
                position = txn.next_position()
                store.add_message(txn, ALICE, "D", position, sender, "m.x", f'{{"n":{number}}}')
                return position

            position = await database.write(job)
        return position

    await add("@quiet:x.y", 3)
    await add("@second:x.y", 6)
    end = await add("@loud:x.y", 20)
    assert await store.count_messages(ALICE, "D") == 29
    page = await store.list_messages(ALICE, "D", 0, end, 4)
    assert [message.content for message in page] == ['{"n":0}', '{"n":1}', '{"n":2}', '{"n":0}']
    assert await write(database, lambda txn: store.trim_inbox(txn, ALICE, "D", 10)) == 19
    kept = [message.sender for message in await store.list_messages(ALICE, "D", 0, end, 99)]
    assert {sender: kept.count(sender) for sender in set(kept)} == {"@quiet:x.y": 3, "@second:x.y": 4, "@loud:x.y": 3}
    assert await write(database, lambda txn: store.remove_messages(txn, ALICE, "D", end - 1)) == 9
    assert await store.count_messages(ALICE, "D") == 1
    await write(database, lambda txn: store.remove_all_messages(txn, ALICE, "D"))
    assert await store.count_messages(ALICE, "D") == 0
    adds = [await write(database, lambda txn: store.add_transaction(txn, ALICE, "D", "t", 5)) for _ in range(2)]
    assert adds == [True, False]
    await write(database, lambda txn: store.remove_transactions_before(txn, 6))
    assert await write(database, lambda txn: store.add_transaction(txn, ALICE, "D", "t", 7))


async def test_pushers_are_kept_by_user_app_and_key(database: Database) -> None:
    store = PusherStore(database)
    first = Pusher(ALICE, "app", "key", "http", "App", "Phone", "", "en", "{}", "D", 1)
    changed = Pusher(ALICE, "app", "key", "http", "App", "Phone", "t", "zh", '{"a":1}', "D", 2)
    other = Pusher(BOB, "app", "key", "http", "App", "Phone", "", "en", "{}", "E", 3)
    for pusher in (first, changed, other):
        await write(database, lambda txn, p=pusher: store.set_pusher(txn, p))  # type: ignore[misc]
    assert await store.list_pushers(ALICE) == [changed]
    assert await store.list_all_pushers() == [changed, other]
    assert await write(database, lambda txn: store.count_pushers(txn, ALICE)) == 1
    await write(database, lambda txn: store.remove_pushers_of_others(txn, ALICE, "app", "key"))
    assert await store.list_all_pushers() == [changed]
    await write(database, lambda txn: store.remove_pushers_of_device(txn, ALICE, "OTHER"))
    assert await store.list_all_pushers() == [changed]
    await write(database, lambda txn: store.remove_pusher(txn, ALICE, "app", "key"))
    assert await store.list_all_pushers() == []


async def test_openid_tokens_expire(database: Database) -> None:
    store, accounts = OpenIdTokenStore(database), AccountStore(database)
    await write(database, lambda txn: accounts.add_account(txn, Account(ALICE, 1)))
    await write(database, lambda txn: store.add_token(txn, "h", ALICE, 10, 5))
    assert await store.find_user("h", 9) == ALICE
    assert await store.find_user("h", 10) is None
    await write(database, lambda txn: store.add_token(txn, "i", ALICE, 20, 10))
    assert await store.find_user("h", 9) is None
