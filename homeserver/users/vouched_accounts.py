"""Accounts of people whom a directory vouches for: made with their first login (`homeserver/ldap.py`)."""

from __future__ import annotations

from homeserver.protocol.errors import Forbidden
from homeserver.protocol.identifiers import localpart_of
from homeserver.users.accounts import Accounts
from homeserver.users.registration import Registration
from homeserver.users.threepids import Threepids


class VouchedAccounts:
    """Finds them and makes them."""

    def __init__(self, accounts: Accounts, registration: Registration, threepids: Threepids) -> None:
        self._accounts = accounts
        self._registration = registration
        self._threepids = threepids

    async def is_local(self, user_id: str) -> bool:
        """Whether there is an account with a password of its own, or one of a bridge."""
        account = await self._accounts.find_account(user_id)
        return account is not None and (account.password_hash is not None or account.appservice_id is not None)

    async def make(self, user_id: str, display_name: str | None, emails: tuple[str, ...]) -> None:
        """See that there is an account. Raises InvalidUsername, Exclusive, what the hooks raise; Forbidden for the name
        of a bridge's ghost."""
        account = await self._accounts.find_account(user_id)
        if account is not None:
            if account.appservice_id is not None:
                raise Forbidden("This account belongs to a bridge.")
            return
        await self._registration.register_by_provider(localpart_of(user_id), display_name, "")
        await self._threepids.add_vouched(user_id, emails)
