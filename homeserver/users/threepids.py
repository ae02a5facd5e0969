"""The e-mail addresses of accounts: which there are, adding, removing, and publishing them at identity servers.

Spec: Client-Server API, "Adding Account Administrative Contact Information".
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from homeserver.clock import Clock
from homeserver.mail.addresses import canonical_address
from homeserver.protocol.errors import (
    ConnectionFailed,
    InvalidParam,
    MatrixError,
    RefusedElsewhere,
    ThreepidAuthFailed,
    Unauthorized,
)
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.database import Database, Transaction
from homeserver.storage.pushers import PusherStore
from homeserver.storage.threepids import Threepid, ThreepidStore
from homeserver.users.hooks import UserHooks
from homeserver.users.identity_servers import IdentityServer, IdentityServers
from homeserver.users.validation_sessions import EMAIL, ValidationSessions

UnbindResult = Literal["success", "no-support"]

PHONE: Final = "msisdn"
EMAIL_APP_ID: Final = "m.email"
"""The app_id of pushers that send e-mails. Spec: `POST /pushers/set`."""
_PHONE_NUMBER = re.compile(r"[1-9][0-9]{3,14}")


class Threepids:
    """Third-party identifiers of local accounts."""

    def __init__(
        self,
        db: Database,
        store: ThreepidStore,
        sessions: ValidationSessions,
        identity_servers: IdentityServers,
        pushers: PusherStore,
        clock: Clock,
        hooks: UserHooks,
    ) -> None:
        self._db = db
        self._store = store
        self._sessions = sessions
        self._identity_servers = identity_servers
        self._pushers = pushers
        self._clock = clock
        self._hooks = hooks

    async def list_threepids(self, user_id: str) -> list[dict[str, Any]]:
        """As clients see them."""
        return [
            {
                "medium": each.medium,
                "address": each.address,
                "validated_at": each.validated_ts,
                "added_at": each.added_ts,
            }
            for each in await self._store.list_threepids(user_id)
        ]

    async def list_emails(self, user_id: str) -> list[str]:
        """The user's confirmed e-mail addresses, in canonical form, the oldest first."""
        return [each.address for each in await self._store.list_threepids(user_id) if each.medium == EMAIL]

    async def find_user(self, medium: str, address: str) -> str | None:
        """The local user whose address it is."""
        canonical = canonical_threepid(medium, address)
        return None if canonical is None else await self._store.find_owner(medium, canonical)

    async def check_confirmed(self, sid: str, client_secret: str) -> None:
        """Raises ThreepidAuthFailed unless `add` would find a confirmed session."""
        try:
            await self._sessions.get_confirmed("add", sid, client_secret)
        except Unauthorized as error:
            raise ThreepidAuthFailed(error.message) from None

    async def add(self, user_id: str, sid: str, client_secret: str) -> None:
        """A confirmed address becomes the user's. Raises ThreepidAuthFailed, ThreepidInUse, ThreepidDenied."""
        try:
            session = await self._sessions.get_confirmed("add", sid, client_secret)
            await self._db.write(lambda txn: self._sessions.give_address(txn, "add", session.sid, user_id))
        except Unauthorized as error:
            raise ThreepidAuthFailed(error.message) from None

    async def add_vouched(self, user_id: str, emails: Sequence[str]) -> None:
        """Addresses that a directory or another provider vouches for; those that are somebody else's are left out."""
        now = self._clock.now_ms()
        canonical = [each for each in map(canonical_address, emails) if each is not None]

        async def add(txn: Transaction) -> None:
            for address in canonical:
                await self._store.add_threepid(txn, Threepid(EMAIL, address, user_id, now, now))

        await self._db.write(add)

    async def remove(self, user_id: str, medium: str, address: str, id_server: ServerName | None) -> UnbindResult:
        """The address is the user's no more, and nobody is notified there; also when it never was, and when the
        identity server is away."""
        canonical = self._get_canonical(medium, address)
        try:
            result = await self.unbind(user_id, medium, canonical, id_server)
        except (ConnectionFailed, RefusedElsewhere):
            result = "no-support"

        async def remove(txn: Transaction) -> bool:
            if medium == EMAIL:
                await self._pushers.remove_pusher(txn, user_id, EMAIL_APP_ID, canonical)
            return await self._store.remove_threepid(txn, user_id, medium, canonical)

        if await self._db.write(remove):
            for changed in self._hooks.pushers_changed:
                changed(user_id)
        return result

    async def bind(self, user_id: str, server: IdentityServer, sid: str, client_secret: str) -> None:
        """Publish an address. "Homeservers should track successful binds so they can be unbound later.\""""
        medium, address = await self._identity_servers.bind(server, sid, client_secret, user_id)
        await self._db.write(lambda txn: self._store.add_binding(txn, user_id, medium, address, server.name))

    async def unbind(self, user_id: str, medium: str, address: str, id_server: ServerName | None) -> UnbindResult:
        """Take back what was published, at `id_server` or wherever this server published it. "If the homeserver does
        not know the original `id_server`, it MUST return … `no-support`"."""
        canonical = self._get_canonical(medium, address)
        bound = [where for m, a, where in await self._store.list_bindings(user_id) if (m, a) == (medium, canonical)]
        wanted = bound if id_server is None else [str(id_server)]
        result: UnbindResult = "success" if wanted else "no-support"
        for name in wanted:
            if not await self._unbind_at(user_id, medium, canonical, name):
                result = "no-support"
        return result

    async def unbind_all(self, user_id: str, erase: bool) -> None:
        """The hook `deactivated`: an account has ended, so its addresses lead to nobody; as far as the identity servers
        can be reached."""
        for medium, address, name in await self._store.list_bindings(user_id):
            with contextlib.suppress(MatrixError):
                await self._unbind_at(user_id, medium, address, name)

    async def unbinding_result(self, user_id: str) -> UnbindResult:
        """Whether everything that was published is taken back."""
        return "no-support" if await self._store.list_bindings(user_id) else "success"

    async def _unbind_at(self, user_id: str, medium: str, address: str, name: str) -> bool:
        if not await self._identity_servers.unbind(ServerName(name), user_id, medium, address):
            return False
        await self._db.write(lambda txn: self._store.remove_binding(txn, user_id, medium, address, name))
        return True

    def _get_canonical(self, medium: str, address: str) -> str:
        canonical = canonical_threepid(medium, address)
        if canonical is None:
            raise InvalidParam("'address' is no address of this 'medium'.")
        return canonical


def canonical_threepid(medium: str, address: str) -> str | None:
    """The one form of an address in which it is compared. Spec: Appendices, "3PID Types"."""
    if medium == EMAIL:
        return canonical_address(address)
    if medium == PHONE:
        return address if _PHONE_NUMBER.fullmatch(address) else None
    return None
