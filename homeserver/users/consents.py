"""The operator's documents, such as a privacy policy: who has accepted which version, and asking when one is new.

They are accepted at registration (m.login.terms). Where the operator enforces it, whoever has not accepted today's
versions cannot send anything: the refusal names a page, signed for that user, where they can be read and accepted.
The refusal, M_CONSENT_NOT_GIVEN with `consent_uri`, is known to clients from Synapse.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from homeserver.clock import Clock
from homeserver.hooks import EventToCheck
from homeserver.protocol.errors import ConsentNotGiven, Forbidden
from homeserver.protocol.identifiers import ServerName, localpart_of
from homeserver.storage.accounts import AccountStore
from homeserver.storage.consents import ConsentStore
from homeserver.storage.database import Database, Transaction

CONSENT_PATH: Final = "/_matrix/consent"
_REMEMBERED: Final = 200_000


@dataclass(frozen=True, slots=True)
class ConsentSettings:
    """`policies`: the documents, in the form of the parameters of m.login.terms; `is_enforced`: nothing is sent without
    them; `base_url`: the server's public address; `secret`: signs the pages' addresses."""

    policies: Mapping[str, Any] = field(default_factory=dict)
    is_enforced: bool = False
    base_url: str = ""
    secret: bytes = field(default=b"", repr=False)

    @property
    def versions(self) -> dict[str, str]:
        """Today's version of each."""
        return {name: str(policy.get("version", "")) for name, policy in self.policies.items()}


class Consents:
    """Records what was accepted, and asks for what was not."""

    def __init__(
        self,
        db: Database,
        store: ConsentStore,
        accounts: AccountStore,
        clock: Clock,
        server_name: ServerName,
        settings: ConsentSettings,
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._server_name = server_name
        self._settings = settings
        self._content: set[str] = set()
        self.exempt: set[str] = set()
        """Users of the server's own, who are asked nothing."""

    @property
    def settings(self) -> ConsentSettings:
        return self._settings

    async def has_accepted(self, user_id: str) -> bool:
        """Whether the user has accepted today's version of everything."""
        if user_id in self._content:
            return True
        accepted = await self._store.list_consents(user_id)
        if any(accepted.get(name) != version for name, version in self._settings.versions.items()):
            return False
        if len(self._content) >= _REMEMBERED:
            self._content.clear()
        self._content.add(user_id)
        return True

    async def accept(self, txn: Transaction, user_id: str) -> None:
        """Today's version of everything is accepted, with the transaction."""
        await self._store.set_consents(txn, user_id, self._settings.versions, self._clock.now_ms())

    async def accept_by_page(self, localpart: str, proof: str, versions: Mapping[str, str]) -> None:
        """The form of the page. `versions` are those that were shown; when one is new since, it is to be shown again.
        Raises Forbidden."""
        user_id = self.get_user(localpart, proof)
        account = await self._accounts.find_account(user_id)
        if account is None or account.is_deactivated:
            raise Forbidden("There is no such account any more.")
        if dict(versions) != self._settings.versions:
            raise Forbidden("These are not today's versions of the documents.")
        await self._db.write(lambda txn: self.accept(txn, user_id))

    async def check_event(self, event: EventToCheck) -> None:
        """The hook: raises ConsentNotGiven. Leaving is free, and so are bridges and the server's own users."""
        sender = event.sender
        if sender in self._content or sender in self.exempt:
            return
        if event.state_key == sender and event.content.get("membership") == "leave":
            return
        if await self.has_accepted(sender):
            return
        account = await self._accounts.find_account(sender)
        if account is None or account.appservice_id is not None or account.user_type in ("support", "bot"):
            return
        raise ConsentNotGiven(
            "Please read and accept the terms of this server first.", consent_uri=self.page_of(sender)
        )

    def page_of(self, user_id: str) -> str:
        """The address of the page that is signed for the user."""
        localpart = localpart_of(user_id)
        return f"{self._settings.base_url}{CONSENT_PATH}?u={quote(localpart, safe='')}&h={self._proof(localpart)}"

    def get_user(self, localpart: str, proof: str) -> str:
        """Whose page it is. Raises Forbidden when the address was not signed here."""
        if not hmac.compare_digest(self._proof(localpart).encode(), proof.encode()):
            raise Forbidden("This address is not right; follow the link that your app shows.")
        return f"@{localpart}:{self._server_name}"

    def forget_all(self) -> None:
        """Another process may have changed anything."""
        self._content.clear()

    def _proof(self, localpart: str) -> str:
        return hmac.new(self._settings.secret, f"consent:{localpart}".encode(), hashlib.sha256).hexdigest()
