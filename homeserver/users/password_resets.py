"""A new password for somebody who has forgotten the old one, proved by an e-mail address of the account."""

from __future__ import annotations

from homeserver.mail import messages
from homeserver.pages.languages import Language
from homeserver.protocol.errors import Unauthorized, UserDeactivated
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.threepids import ThreepidStore
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.accounts import Accounts
from homeserver.users.validation_sessions import ValidationSessions


class PasswordResets:
    """Sets passwords of confirmed sessions' owners. Who owns the address is asked in the transaction that changes the
    password, so that an address that was removed meanwhile opens nothing (row F03)."""

    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        account_store: AccountStore,
        threepids: ThreepidStore,
        sessions: ValidationSessions,
        tokens: AccessTokens,
        server_name: ServerName,
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._account_store = account_store
        self._threepids = threepids
        self._sessions = sessions
        self._tokens = tokens
        self._server_name = server_name

    @property
    def can_reset(self) -> bool:
        """Whether there is a way to show that an address is one's own."""
        return self._sessions.can_validate

    async def reset(self, sid: str, new_password: str, *, logout_devices: bool, language: Language) -> None:
        """`sid`: a confirmed session, which is used up. Its owner is told by e-mail. Raises Unauthorized,
        UserDeactivated, WeakPassword, and Forbidden when the password is kept elsewhere."""
        session = await self._sessions.find_confirmed("password", sid)
        owner = await self._threepids.find_owner(session.medium, session.address)
        if owner is not None:
            await self._accounts.check_may_change_password(owner)
        password_hash = await self._accounts.hash_password(new_password)

        async def reset(txn: Transaction) -> tuple[str, str]:
            session = await self._sessions.use_up(txn, "password", sid)
            user_id = await self._threepids.find_owner(session.medium, session.address, txn)
            if user_id is None:
                raise Unauthorized("No account here has that e-mail address any more.")
            account = await self._account_store.get_account(user_id, txn)
            if account.is_deactivated:
                raise UserDeactivated("This account was deactivated.")
            await self._accounts.set_password(
                txn, user_id, password_hash, keep_device=None, logout_devices=logout_devices
            )
            if logout_devices:
                await self._tokens.revoke_user(txn, user_id)
            return user_id, session.address

        user_id, address = await self._db.write(reset)
        message = messages.PASSWORD_CHANGED.write(language, self._server_name, user=user_id)
        await self._sessions.notify(address, message)
