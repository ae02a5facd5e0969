"""Administrators who act as a user for a while: a token without a device, that the user does not see.

Such a token is nobody's administrator, opens no session, and ends at a time that is at most a day away. What asks for
the user's password (a new password, the end of the account) stays closed to it.
"""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.operator_logins import OperatorLogin, OperatorLoginStore
from homeserver.users.access_tokens import AccessTokens, KnownToken
from homeserver.users.requester import Requester
from homeserver.users.secret_tokens import hash_of, new_token

LIFETIME_MS = 3600 * 1000
MAXIMUM_MS = 24 * 3600 * 1000


class OperatorLogins:
    """Opens, finds and ends them."""

    def __init__(
        self,
        db: Database,
        store: OperatorLoginStore,
        accounts: AccountStore,
        tokens: AccessTokens,
        clock: Clock,
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._tokens = tokens
        self._clock = clock
        tokens.find_elsewhere = self.find

    async def open(self, admin_id: str, user_id: str, valid_until_ms: int | None) -> str:
        """A token; without an end that is asked for it holds for an hour, and never longer than a day. Raises
        NotFound, Forbidden, InvalidParam."""
        if admin_id == user_id:
            raise InvalidParam("Nobody needs this for their own account.")
        account = await self._accounts.find_account(user_id)
        if account is None or account.is_deactivated:
            raise NotFound("There is no such account.")
        if account.is_admin:
            raise Forbidden("This account is an administrator's.")
        now = self._clock.now_ms()
        until = now + LIFETIME_MS if valid_until_ms is None else min(valid_until_ms, now + MAXIMUM_MS)
        if until <= now:
            raise InvalidParam("'valid_until_ms' has passed.")
        token = new_token("hd")

        async def write(txn: Transaction) -> None:
            await self._store.remove_expired(txn, now)
            await self._store.add_login(txn, OperatorLogin(hash_of(token), user_id, admin_id, now, until))

        await self._db.write(write)
        return token

    async def find(self, token: str) -> KnownToken | None:
        """Whose token it is, if it is one of these."""
        login = await self._store.find_login(hash_of(token))
        if login is None:
            return None
        account = await self._accounts.find_account(login.user_id)
        if account is None or account.is_deactivated:
            return None
        requester = Requester(
            user_id=login.user_id,
            is_guest=account.is_guest,
            is_suspended=account.is_suspended,
            operator=login.admin_id,
        )
        return KnownToken(requester, login.expires_ts, account.is_locked)

    async def end(self, requester: Requester) -> None:
        """The administrator's /logout as the user: everything that was opened as this user by this administrator."""
        operator = requester.operator
        assert operator is not None

        async def write(txn: Transaction) -> None:
            await self._store.remove_logins(txn, requester.user_id, operator)
            txn.on_commit(lambda: self._tokens.forget_user(requester.user_id))

        await self._db.write(write)

    async def end_all_of(self, admin_id: str) -> None:
        """Everything that an administrator opened; when that account logs out everywhere, or is no administrator any
        more."""

        async def write(txn: Transaction) -> None:
            for user_id in await self._store.remove_logins_of_admin(txn, admin_id):
                txn.on_commit(lambda user_id=user_id: self._tokens.forget_user(user_id))  # type: ignore[misc]

        await self._db.write(write)
