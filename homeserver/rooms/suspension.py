"""Suspended users read, leave, and take their own words back; they say nothing new in rooms.

Spec: Client-Server API, "Account suspension". Who is suspended is in memory, since every event asks; it is read once.
"""

from __future__ import annotations

from homeserver.hooks import EventToCheck
from homeserver.protocol.errors import UserSuspended
from homeserver.storage.accounts import AccountStore, Flag

REFUSAL = "This account is suspended and cannot do that."


class Suspension:
    """The hook `check_event`."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts
        self._suspended: set[str] | None = None

    async def check_event(self, event: EventToCheck) -> None:
        """Raises UserSuspended."""
        if self._suspended is None:
            self._suspended = set(await self._accounts.list_suspended())
        if event.sender not in self._suspended:
            return
        if event.type == "m.room.member" and event.state_key == event.sender:
            if event.content.get("membership") == "leave":
                return
        elif event.type == "m.room.redaction" and event.redacts_event_of == event.sender:
            return
        raise UserSuspended(REFUSAL)

    def flag_changed(self, user_id: str, flag: Flag, value: bool) -> None:
        """The hook of users/."""
        if flag == "is_suspended" and self._suspended is not None:
            if value:
                self._suspended.add(user_id)
            else:
                self._suspended.discard(user_id)

    def forget_all(self) -> None:
        """Another process may have suspended somebody."""
        self._suspended = None
