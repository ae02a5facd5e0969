"""What administrators of this server may see of and do to accounts. Spec: Client-Server API, "Server Administration",
"Account moderation" (v1.18)."""

from __future__ import annotations

from typing import Any, Literal

from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound
from homeserver.protocol.identifiers import ServerName, domain_of, parse_user_id
from homeserver.storage.accounts import Account, AccountStore
from homeserver.users.accounts import Accounts
from homeserver.users.devices import Devices
from homeserver.users.requester import Requester

Flag = Literal["is_locked", "is_suspended"]


class Moderation:
    """Row F17: every method asks for the administrator itself, before it looks anybody up."""

    def __init__(
        self, accounts: Accounts, account_store: AccountStore, devices: Devices, server_name: ServerName
    ) -> None:
        self._accounts = accounts
        self._account_store = account_store
        self._devices = devices
        self._server_name = server_name

    async def who_is(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """The sessions of a user: for that user and administrators. Raises Forbidden, InvalidParam, NotFound."""
        if user_id != requester.user_id:
            _check_admin(requester)
            self._check_local(user_id)
        if await self._account_store.find_account(user_id) is None:
            raise NotFound("There is no such account.")
        devices: dict[str, Any] = {}
        for device in await self._devices.list_devices(user_id):
            connection = {
                "ip": device.last_seen_ip or "",
                "last_seen": device.last_seen_ts or device.created_ts,
                "user_agent": device.last_seen_user_agent or "",
            }
            devices[device.device_id] = {"sessions": [{"connections": [connection]}]}
        return {"user_id": user_id, "devices": devices}

    async def get_flag(self, requester: Requester, user_id: str, flag: Flag) -> bool:
        """Whether the account is locked or suspended. Raises Forbidden, InvalidParam, NotFound."""
        account = await self._moderated(requester, user_id)
        return account.is_locked if flag == "is_locked" else account.is_suspended

    async def set_flag(self, requester: Requester, user_id: str, flag: Flag, value: bool) -> None:
        """Raises as `get_flag`, and Forbidden for one's own account."""
        _check_admin(requester)
        if user_id == requester.user_id:
            raise Forbidden("Administrators cannot do this to their own account.")
        await self._moderated(requester, user_id)
        await self._accounts.set_flag(user_id, flag, value)

    async def _moderated(self, requester: Requester, user_id: str) -> Account:
        _check_admin(requester)
        self._check_local(user_id)
        account = await self._account_store.find_account(user_id)
        if account is None or account.is_deactivated:
            raise NotFound("There is no such account.")
        if account.is_admin:
            raise Forbidden("This account is an administrator's.")
        return account

    def _check_local(self, user_id: str) -> None:
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")


def _check_admin(requester: Requester) -> None:
    if not requester.is_admin:
        raise Forbidden("Only administrators of this server may do this.")
