"""Access tokens and refresh tokens: issuing, rotating, revoking, and the memory that makes authentication cheap.

Spec: Client-Server API, "Using access tokens", "Refreshing access tokens". A refresh token stays valid until the pair
it was exchanged for is used; when it comes back after that, somebody has stolen it, and everything that descends from
it is revoked (row F16).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from homeserver.clock import Clock
from homeserver.protocol.errors import MatrixError, UnknownToken
from homeserver.storage.access_tokens import AccessToken, AccessTokenStore, RefreshToken
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.users.requester import Requester
from homeserver.users.secret_tokens import hash_of, new_row_id, new_token

_SPENT_KEPT_MS = 30 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Lifetimes in milliseconds; None: for ever. `refreshable_ms` is that of access tokens of clients that can refresh
    them, `plain_ms` that of all others, `refresh_ms` that of the refresh tokens."""

    refreshable_ms: int = 300_000
    plain_ms: int | None = None
    refresh_ms: int | None = None
    cached: int = 200_000


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What a client gets, once. `expires_in_ms` None: does not expire."""

    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None

    def members(self) -> dict[str, Any]:
        """As members of an answer; what is absent is left out."""
        members: dict[str, Any] = {"access_token": self.access_token}
        if self.refresh_token is not None:
            members["refresh_token"] = self.refresh_token
        if self.expires_in_ms is not None:
            members["expires_in_ms"] = self.expires_in_ms
        return members


@dataclass(slots=True)
class KnownToken:
    """A token in memory. `expires_ts` in milliseconds, 2^63 for never: when it or its account ends, whichever is
    first; `account_ends_ts` is when its account does."""

    requester: Requester
    expires_ts: int
    is_locked: bool
    account_ends_ts: int = 2**63


_NEVER = 2**63


class AccessTokens:
    """Issues, finds and revokes tokens. `find` fills the memory; whatever changes a user calls `forget_user`."""

    def __init__(
        self, db: Database, store: AccessTokenStore, accounts: AccountStore, clock: Clock, settings: TokenSettings
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._settings = settings
        # What authentication reads directly: it is on the path of every request.
        self.known: dict[str, KnownToken] = {}
        self.ghosts: dict[str, dict[tuple[str, str | None], Requester]] = {}
        self._tokens_of: dict[str, set[str]] = {}
        self.forgotten = 0
        self.find_elsewhere: Callable[[str], Awaitable[KnownToken | None]] | None = None
        """Asked for tokens that are of no device."""
        self.find_end: Callable[[str], Awaitable[int | None]] | None = None
        """Asked when an account ends, in milliseconds; None: accounts do not end."""
        self.listeners: list[Callable[[str | None], None]] = []
        """Called with the user whose tokens may have changed (None: anybody's)."""

    async def issue(self, txn: Transaction, user_id: str, device_id: str, *, refreshable: bool) -> IssuedTokens:
        """New tokens for the device; those it had stay (the caller decides)."""
        return await self._issue(txn, user_id, device_id, refreshable=refreshable, parent_id=None)

    async def find(self, token: str) -> KnownToken | None:
        """The token from the database, now in memory; None if there is none. The first use of a refreshed token
        spends its predecessors."""
        while True:
            forgotten = self.forgotten
            row = await self._store.find_token(hash_of(token))
            if row is None:
                return await self._find_elsewhere(token)
            if row.is_unused:
                await self._db.write(lambda txn, row=row: self._use_first(txn, row))  # type: ignore[misc]
                continue
            account = await self._accounts.find_account(row.user_id)
            if account is None or account.is_deactivated:
                return None
            end = None if self.find_end is None else await self.find_end(row.user_id)
            if forgotten == self.forgotten:  # else something was revoked while we read: look again
                break
        ends_ts = _NEVER if end is None or account.is_admin else end
        known = KnownToken(
            Requester(
                user_id=row.user_id,
                device_id=row.device_id,
                token_id=row.token_id,
                is_guest=account.is_guest,
                is_admin=account.is_admin,
                is_suspended=account.is_suspended,
            ),
            min(_NEVER if row.expires_ts is None else row.expires_ts, ends_ts),
            account.is_locked,
            ends_ts,
        )
        self._remember(token, known)
        return known

    async def _find_elsewhere(self, token: str) -> KnownToken | None:
        while self.find_elsewhere is not None:
            forgotten = self.forgotten
            known = await self.find_elsewhere(token)
            if forgotten != self.forgotten:
                continue
            if known is not None:
                self._remember(token, known)
            return known
        return None

    async def refresh(self, refresh_token: str) -> IssuedTokens:
        """A new pair for a refresh token. Raises UnknownToken: with `soft_logout` when the device may log in again."""
        result = await self._db.write(lambda txn: self._refresh(txn, hash_of(refresh_token)))
        if isinstance(result, MatrixError):
            raise result
        return result

    async def revoke_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """Every token of the device, gone with the transaction."""
        await self._store.remove_tokens_of_device(txn, user_id, device_id)
        txn.on_commit(lambda: self.forget_user(user_id))

    async def revoke_user(self, txn: Transaction, user_id: str) -> None:
        """Every token of the user, gone with the transaction."""
        await self._store.remove_tokens_of_user(txn, user_id)
        txn.on_commit(lambda: self.forget_user(user_id))

    def remember_ghost(self, appservice_id: str, requester: Requester, forgotten: int) -> None:
        """Keep whom an application service may act as; `forgotten` is the count from before it was looked up."""
        if forgotten == self.forgotten:
            if len(self.ghosts) >= self._settings.cached:
                self.ghosts.clear()
            self.ghosts.setdefault(requester.user_id, {})[(appservice_id, requester.device_id)] = requester

    def forget_user(self, user_id: str) -> None:
        """Drop the user's tokens from memory: something about them changed. The next request reads them anew."""
        self.forgotten += 1
        self.ghosts.pop(user_id, None)
        for token in self._tokens_of.pop(user_id, ()):
            self.known.pop(token, None)
        for listener in self.listeners:
            listener(user_id)

    def forget_all(self) -> None:
        """Drop everything from memory: another process may have changed anything."""
        self.forgotten += 1
        self.known.clear()
        self.ghosts.clear()
        self._tokens_of.clear()
        for listener in self.listeners:
            listener(None)

    async def _issue(
        self, txn: Transaction, user_id: str, device_id: str, *, refreshable: bool, parent_id: int | None
    ) -> IssuedTokens:
        now = self._clock.now_ms()
        access_token = new_token("hd")
        refresh_token: str | None = None
        refresh_id: int | None = None
        lifetime = self._settings.refreshable_ms if refreshable else self._settings.plain_ms
        if refreshable:
            refresh_token, refresh_id = new_token("hdr"), new_row_id()
            expires = None if self._settings.refresh_ms is None else now + self._settings.refresh_ms
            await self._store.add_refresh_token(
                txn,
                RefreshToken(refresh_id, hash_of(refresh_token), user_id, device_id, now, expires, parent_id, False),
            )
        await self._store.add_token(
            txn,
            AccessToken(
                token_id=new_row_id(),
                token_hash=hash_of(access_token),
                user_id=user_id,
                device_id=device_id,
                created_ts=now,
                expires_ts=None if lifetime is None else now + lifetime,
                refresh_id=refresh_id,
                is_unused=parent_id is not None,
            ),
        )
        return IssuedTokens(access_token, refresh_token, lifetime)

    async def _refresh(self, txn: Transaction, token_hash: str) -> IssuedTokens | MatrixError:
        token = await self._store.find_refresh_token(token_hash, txn)
        if token is None:
            return UnknownToken("This refresh token is unknown.", soft_logout=False)
        account = await self._accounts.find_account(token.user_id, txn)
        if account is None or account.is_deactivated:
            return UnknownToken("This refresh token is unknown.", soft_logout=False)
        if token.is_spent:
            await self.revoke_device(txn, token.user_id, token.device_id)
            return UnknownToken(
                "This refresh token was used already, so its session was closed; log in again.", soft_logout=True
            )
        now = self._clock.now_ms()
        if token.expires_ts is not None and token.expires_ts <= now:
            return UnknownToken("This refresh token has expired; log in again.", soft_logout=True)
        # The token itself is used now: what it came from is spent, and a pair that got lost on its way is void.
        await self._spend_parent(txn, token.refresh_id, token.user_id)
        for child_id in await self._store.list_refresh_children(txn, token.refresh_id):
            await self._store.remove_tokens_of_refresh(txn, child_id)
            await self._store.remove_refresh_token(txn, child_id)
        await self._store.remove_old_spent(txn, token.user_id, token.device_id, now - _SPENT_KEPT_MS)
        return await self._issue(txn, token.user_id, token.device_id, refreshable=True, parent_id=token.refresh_id)

    async def _use_first(self, txn: Transaction, token: AccessToken) -> None:
        await self._store.set_used(txn, token.token_id)
        if token.refresh_id is not None:
            await self._spend_parent(txn, token.refresh_id, token.user_id)

    async def _spend_parent(self, txn: Transaction, refresh_id: int, user_id: str) -> None:
        parent_id = await self._store.set_parent_spent(txn, refresh_id)
        if parent_id is not None:
            await self._store.remove_tokens_of_refresh(txn, parent_id)
            txn.on_commit(lambda: self.forget_user(user_id))

    def _remember(self, token: str, known: KnownToken) -> None:
        if len(self.known) >= self._settings.cached:
            oldest = next(iter(self.known))
            dropped = self.known.pop(oldest)
            self._tokens_of.get(dropped.requester.user_id, set()).discard(oldest)
        self.known[token] = known
        self._tokens_of.setdefault(known.requester.user_id, set()).add(token)
