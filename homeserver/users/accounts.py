"""Accounts of this server: making them, what operators may set on them, new passwords, and the end of them."""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.protocol.errors import UserInUse
from homeserver.protocol.identifiers import UserId
from homeserver.storage.account_data import AccountDataStore
from homeserver.storage.accounts import Account, AccountStore, Flag
from homeserver.storage.database import Database, Transaction
from homeserver.storage.filters import FilterStore
from homeserver.storage.profiles import ProfileStore
from homeserver.storage.push_rules import PushRuleStore
from homeserver.storage.pushers import PusherStore
from homeserver.storage.threepids import ThreepidStore
from homeserver.storage.user_directory import UserDirectoryStore
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.devices import Devices
from homeserver.users.hooks import UserHooks
from homeserver.users.passwords import Passwords


class Accounts:
    """Everything about an account but how its owner proves to be the owner."""

    def __init__(
        self,
        db: Database,
        store: AccountStore,
        profiles: ProfileStore,
        directory: UserDirectoryStore,
        account_data: AccountDataStore,
        push_rules: PushRuleStore,
        filters: FilterStore,
        pushers: PusherStore,
        threepids: ThreepidStore,
        devices: Devices,
        tokens: AccessTokens,
        passwords: Passwords,
        clock: Clock,
        hooks: UserHooks,
    ) -> None:
        self._db = db
        self._store = store
        self._profiles = profiles
        self._directory = directory
        self._account_data = account_data
        self._push_rules = push_rules
        self._filters = filters
        self._pushers = pushers
        self._threepids = threepids
        self._devices = devices
        self._tokens = tokens
        self._passwords = passwords
        self._clock = clock
        self._hooks = hooks

    async def find_account(self, user_id: str) -> Account | None:
        return await self._store.find_account(user_id)

    async def exists(self, user_id: str) -> bool:
        """Whether it is a user of this server who was not deactivated."""
        account = await self._store.find_account(user_id)
        return account is not None and not account.is_deactivated

    async def create_account(
        self,
        user_id: UserId,
        *,
        password: str | None = None,
        display_name: str | None = None,
        is_guest: bool = False,
        is_admin: bool = False,
        appservice_id: str | None = None,
        user_type: str | None = None,
    ) -> None:
        """Make an account without any further question. Raises UserInUse, WeakPassword."""
        password_hash = None if password is None else await self._passwords.hash(password)
        account = Account(
            user_id=user_id,
            created_ts=self._clock.now_ms(),
            password_hash=password_hash,
            is_guest=is_guest,
            is_admin=is_admin,
            appservice_id=appservice_id,
            user_type=user_type,
        )
        if not await self._db.write(lambda txn: self.add_account(txn, account, display_name)):
            raise UserInUse("This user name is taken.")

    async def ensure_appservice_user(self, user_id: UserId, appservice_id: str) -> None:
        """Make the account that an application service speaks as, unless it is there already."""
        if await self._store.find_account(user_id) is None:
            await self.create_account(user_id, appservice_id=appservice_id)

    async def ensure_sender(self, user_id: UserId, appservice_id: str) -> Account:
        """The account of an application service's own user (`sender_localpart`), made when it is first needed."""
        account = Account(user_id=user_id, created_ts=self._clock.now_ms(), appservice_id=appservice_id)
        await self._db.write(lambda txn: self.add_account(txn, account))
        return await self._store.get_account(user_id)

    async def add_account(self, txn: Transaction, account: Account, display_name: str | None = None) -> bool:
        """The same inside a bigger transaction; False if the name is taken."""
        if not await self._store.add_account(txn, account):
            return False
        if account.is_guest:  # guests have a name of their own but are not found by it
            await self._profiles.set_fields(txn, account.user_id, {})
        else:
            await self.add_profile(txn, account.user_id, display_name)
        return True

    async def add_profile(self, txn: Transaction, user_id: str, display_name: str | None = None) -> None:
        """A new profile, by which the user can be found."""
        fields = {} if display_name is None else {"displayname": display_name}
        await self._profiles.set_fields(txn, user_id, fields)
        await self._directory.set_entry(txn, user_id, display_name, None)

    async def publish_profile(self, txn: Transaction, user_id: str) -> None:
        """A guest has become a full account: the name that it has is kept, and it can be found by it."""
        fields = await self._profiles.find_fields(user_id, txn) or {}
        await self._profiles.set_fields(txn, user_id, fields)
        await self._directory.set_entry(txn, user_id, fields.get("displayname"), fields.get("avatar_url"))

    def check_new_password(self, password: str) -> None:
        """Raises WeakPassword, before anybody is asked to prove anything."""
        self._passwords.check_policy(password)

    async def change_password(
        self, user_id: str, new_password: str, *, keep_device: str | None, logout_devices: bool
    ) -> None:
        """`logout_devices`: every device but `keep_device` goes, with its pushers. Raises WeakPassword."""
        password_hash = await self._passwords.hash(new_password)
        await self._db.write(
            lambda txn: self.set_password(
                txn, user_id, password_hash, keep_device=keep_device, logout_devices=logout_devices
            )
        )

    async def check_may_change_password(self, user_id: str) -> None:
        """Raises Forbidden for those whose password is kept elsewhere. For operators it is not asked."""
        for check in self._hooks.check_new_password:
            await check(user_id)

    async def hash_password(self, password: str) -> str:
        """For `set_password`. Raises WeakPassword."""
        return await self._passwords.hash(password)

    async def set_password(
        self, txn: Transaction, user_id: str, password_hash: str, *, keep_device: str | None, logout_devices: bool
    ) -> None:
        """`change_password` inside a bigger transaction."""
        await self._store.set_password_hash(txn, user_id, password_hash)
        for changed in self._hooks.logged_out_everywhere:
            await changed(txn, user_id)
        if logout_devices:
            await self._devices.remove_all_devices(txn, user_id, keep=keep_device)

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        """The end of an account: it cannot log in, its sessions, devices, profile and settings are gone, and it leaves
        its rooms. `erase`: its messages are hidden from those who come later."""

        async def end(txn: Transaction) -> None:
            await self._store.set_deactivated(txn, user_id, erase=erase)
            await self._devices.remove_all_devices(txn, user_id)
            await self._tokens.revoke_user(txn, user_id)
            await self._profiles.remove_profile(txn, user_id)
            await self._directory.remove_entry(txn, user_id)
            await self._account_data.remove_all(txn, user_id)
            await self._push_rules.remove_rules(txn, user_id)
            await self._filters.remove_filters(txn, user_id)
            await self._pushers.remove_pushers_of_user(txn, user_id)
            await self._threepids.remove_threepids_of_user(txn, user_id)

        await self._db.write(end)
        for deactivated in self._hooks.deactivated:
            await deactivated(user_id, erase)

    async def activate(self, user_id: str, password: str | None) -> None:
        """Open a deactivated account again, with a new password (None: with no password). Raises NotFound,
        WeakPassword."""
        password_hash = None if password is None else await self._passwords.hash(password)
        await self._store.get_account(user_id)

        async def open_again(txn: Transaction) -> None:
            await self._store.set_active(txn, user_id)
            await self._store.set_password_hash(txn, user_id, password_hash)
            await self.add_profile(txn, user_id)
            txn.on_commit(lambda: self._tokens.forget_user(user_id))

        await self._db.write(open_again)
        for activated in self._hooks.activated:
            activated(user_id)

    async def set_user_type(self, user_id: str, user_type: str | None) -> None:
        """For operators. Raises NotFound."""
        await self._store.get_account(user_id)
        await self._db.write(lambda txn: self._store.set_user_type(txn, user_id, user_type))

    async def set_flag(self, user_id: str, flag: Flag, value: bool) -> None:
        """For operators. Raises NotFound."""
        await self._store.get_account(user_id)

        def changed() -> None:
            self._tokens.forget_user(user_id)
            for listener in self._hooks.flag_changed:
                listener(user_id, flag, value)

        async def change(txn: Transaction) -> None:
            await self._store.set_flag(txn, user_id, flag, value)
            txn.on_commit(changed)

        await self._db.write(change)
