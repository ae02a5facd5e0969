"""What other parts want to hear of users, and what users/ wants to ask of parts that are built later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.protocol.errors import NotFound
from homeserver.storage.accounts import Flag
from homeserver.storage.database import Transaction
from homeserver.users.acquaintances import Acquaintances, NoAcquaintances

DeviceRemoved = Callable[[Transaction, str, str], Awaitable[None]]
"""(txn, user_id, device_id) in the transaction that removes a device: keys and the like go with it."""

CheckNewPassword = Callable[[str], Awaitable[None]]
"""(user_id) before a user's password is changed. Raises Forbidden when it is not kept here."""

AccountDeactivated = Callable[[str, bool], Awaitable[None]]
"""(user_id, erase) after an account has ended: the user leaves all rooms, invites are rejected."""

SessionOpened = Callable[[Transaction, str, str], Awaitable[None]]
"""(txn, user_id, device_id) in the transaction that gives a device a new session, before it has one."""

LoggedOutEverywhere = Callable[[Transaction, str], Awaitable[None]]
"""(txn, user_id) in the transaction that changes a password or ends every session: those of other kinds end, too."""

FlagChanged = Callable[[str, Flag, bool], None]
"""(user_id, flag, value) when an operator has set a flag of an account, from the commit."""

AccountActivated = Callable[[str], None]
"""(user_id) after a deactivated account was opened again."""

LoginTokenUsed = Callable[[str, str, str], Awaitable[None]]
"""(hash of the token, user_id, device_id) after a device has logged in by a login token."""

ProfileChanged = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]
"""(user_id, field, whole profile) after a profile has changed: rooms get new member events."""

PushersChanged = Callable[[str], None]
"""(user_id) after the pushers of a user have changed."""

ListEmails = Callable[[str], Awaitable[Sequence[str]]]
"""The e-mail addresses of a user that were verified."""

RemoteMessages = Callable[[Transaction, str, str, str, Mapping[str, Mapping[str, Any]]], Awaitable[None]]
"""(txn, sender, type, message id, {user_id: {device_id: content}}) for users of other servers, in the transaction."""

FetchProfile = Callable[[str], Awaitable[dict[str, Any]]]
"""The profile of a user of another server. Raises NotFound, Forbidden, RemoteServerFailed."""


async def no_remote_profiles(user_id: str) -> dict[str, Any]:
    """A server without federation."""
    raise NotFound("This user belongs to another server, and this one does not federate.")


@dataclass(slots=True)
class UserHooks:
    """Filled by `app.py` when rooms, keys and federation have been built."""

    device_removed: list[DeviceRemoved] = field(default_factory=list)
    session_opened: list[SessionOpened] = field(default_factory=list)
    check_new_password: list[CheckNewPassword] = field(default_factory=list)
    logged_out_everywhere: list[LoggedOutEverywhere] = field(default_factory=list)
    login_token_used: list[LoginTokenUsed] = field(default_factory=list)
    deactivated: list[AccountDeactivated] = field(default_factory=list)
    activated: list[AccountActivated] = field(default_factory=list)
    flag_changed: list[FlagChanged] = field(default_factory=list)
    profile_changed: list[ProfileChanged] = field(default_factory=list)
    pushers_changed: list[PushersChanged] = field(default_factory=list)
    list_emails: ListEmails | None = None  # None: this server sends no e-mails
    remote_messages: list[RemoteMessages] = field(default_factory=list)
    fetch_profile: FetchProfile = no_remote_profiles
    acquaintances: Acquaintances = field(default_factory=NoAcquaintances)
