"""Whom a user lets invite them, from their account data. Spec: Client-Server API, "Invite permission"."""

from __future__ import annotations

import msgspec

from homeserver.hooks import InviteToCheck
from homeserver.protocol.errors import InviteBlocked
from homeserver.protocol.identifiers import ServerName, domain_of
from homeserver.protocol.invite_permissions import NO_RULES, TYPES, InviteRules
from homeserver.storage.account_data import GLOBAL, AccountDataStore
from homeserver.users.account_data import AccountDataService

_REMEMBERED = 10_000


class InvitePermissions:
    """The rules of each user of this server. Nearly everybody has none."""

    def __init__(self, store: AccountDataStore, account_data: AccountDataService, server_name: ServerName) -> None:
        self._store = store
        self._account_data = account_data
        self._server_name = server_name
        self._known: dict[str, InviteRules] = {}
        self._forgotten = 0
        account_data.listeners.append(self._changed)

    async def rules_of(self, user_id: str) -> InviteRules:
        """The user's rules; no rules for users of other servers, who are asked by their own."""
        if domain_of(user_id) != self._server_name:
            return NO_RULES
        rules = self._known.get(user_id)
        if rules is None:
            forgotten = self._forgotten
            texts = {name: await self._store.find_content(user_id, GLOBAL, name) for name in TYPES}
            contents = {name: msgspec.json.decode(text) for name, text in texts.items() if text is not None}
            rules = InviteRules.of({name: each for name, each in contents.items() if isinstance(each, dict)})
            rules = NO_RULES if rules == NO_RULES else rules
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if forgotten == self._forgotten:
                self._known[user_id] = rules
        return rules

    async def check(self, invite: InviteToCheck) -> None:
        """A hook: whether the invite may reach its target. Raises InviteBlocked."""
        if (await self.rules_of(invite.target)).decide(invite.sender) == "block":
            raise InviteBlocked(f"{invite.target} does not accept invites from you.")

    async def hides(self, user_id: str, sender: str) -> bool:
        """Whether an invite by `sender` that exists is not to be shown to the user, nor to be notified of."""
        if sender in await self._account_data.ignored_users(user_id):
            return True
        return (await self.rules_of(user_id)).decide(sender) != "allow"

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have changed anything."""
        self._forgotten += 1
        self._known.clear()

    def _changed(self, user_id: str, type: str) -> None:
        if type in TYPES:
            self._forgotten += 1
            self._known.pop(user_id, None)
