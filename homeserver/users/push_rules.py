"""Push rules of users: what `protocol/push_rules.py` says they mean, stored, remembered and announced.

A change appears to clients as new account data of the type m.push_rules. Spec: Client-Server API, "Push Rules: API".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from homeserver.protocol.push_rules import NO_CHANGES, PushRule, RuleKind, UserRules
from homeserver.protocol.push_rules_validation import validate_actions, validate_rule
from homeserver.storage.database import Database, Transaction
from homeserver.storage.push_rules import PushRuleStore
from homeserver.stream import Announcer, Change

_REMEMBERED = 20_000


class PushRules:
    """The rules of each user. Nearly everybody has the defaults, which cost nothing."""

    def __init__(self, db: Database, store: PushRuleStore, announcer: Announcer) -> None:
        self._db = db
        self._store = store
        self._announcer = announcer
        self._known: dict[str, UserRules] = {}
        self._forgotten = 0

    async def rules_of(self, user_id: str) -> UserRules:
        """What the user changed; equal values for equal changes."""
        known = self._known.get(user_id)
        return (await self.rules_of_many([user_id]))[user_id] if known is None else known

    async def rules_of_many(self, user_ids: Sequence[str]) -> dict[str, UserRules]:
        """The same of several, with one query for those who are not in memory: for the counting of a new event."""
        rules = {user_id: self._known[user_id] for user_id in user_ids if user_id in self._known}
        missing = [user_id for user_id in user_ids if user_id not in rules]
        if missing:
            forgotten = self._forgotten
            stored = await self._store.list_rules(missing)
            if len(self._known) + len(missing) > _REMEMBERED:
                self._known.clear()
            for user_id in missing:
                rules[user_id] = UserRules.from_json(stored[user_id]) if user_id in stored else NO_CHANGES
                if forgotten == self._forgotten:
                    self._known[user_id] = rules[user_id]
        return rules

    async def ruleset(self, user_id: str) -> dict[str, list[dict[str, Any]]]:
        """The `global` ruleset as clients see it."""
        return (await self.rules_of(user_id)).ruleset(user_id)

    async def position(self, user_id: str) -> int:
        """The position of the user's newest change; 0 for none."""
        return await self._store.find_position(user_id) or 0

    async def get_rule(self, user_id: str, kind: RuleKind, rule_id: str) -> PushRule:
        """Raises NotFound."""
        return (await self.rules_of(user_id)).get(kind, rule_id)

    async def set_rule(
        self,
        user_id: str,
        kind: RuleKind,
        rule_id: str,
        body: dict[str, Any],
        *,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Add or update. Raises BadJson, InvalidParam, MissingParam, TooLarge, Unknown (no such neighbour)."""
        rule = validate_rule(kind, rule_id, body)
        await self._change(user_id, lambda rules: rules.with_rule(rule, before=before, after=after))

    async def delete_rule(self, user_id: str, kind: RuleKind, rule_id: str) -> None:
        """Raises NotFound, InvalidParam (a default rule)."""
        await self._change(user_id, lambda rules: rules.without_rule(kind, rule_id))

    async def set_enabled(self, user_id: str, kind: RuleKind, rule_id: str, enabled: bool) -> None:
        """Raises NotFound."""
        await self._change(user_id, lambda rules: rules.with_enabled(kind, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: RuleKind, rule_id: str, actions: Any) -> None:
        """Raises NotFound, BadJson, InvalidParam, TooLarge."""
        valid = validate_actions(actions)
        await self._change(user_id, lambda rules: rules.with_actions(kind, rule_id, valid))

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have changed anything."""
        self._forgotten += 1
        self._known.clear()

    async def _change(self, user_id: str, change: Callable[[UserRules], UserRules]) -> None:
        async def write(txn: Transaction) -> None:
            stored = await self._store.find_rules(user_id, txn)
            old = NO_CHANGES if stored is None else UserRules.from_json(stored)
            new = change(old)
            if new == old:
                return
            position = await self._store.set_rules(txn, user_id, new.to_json())

            def announce() -> None:
                self._forgotten += 1
                self._known.pop(user_id, None)
                self._announcer.announce(Change.ACCOUNT_DATA, position, users=[user_id])

            txn.on_commit(announce)

        await self._db.write(write)
