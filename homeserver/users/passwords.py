"""Passwords: what is accepted as one, how it is kept (Argon2id), and how an account's is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import argon2

from homeserver.hooks import Hooks
from homeserver.protocol.errors import Unavailable, WeakPassword
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction

T = TypeVar("T")
MAXIMUM_LENGTH = 512
"""Characters. A longer text is no password but work for the hash function (row D08)."""


class RunInThread(Protocol):
    """Runs a blocking call off the loop; tests and simulations run it in place."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """`minimum_length` in characters. The Argon2id cost: `memory_kib`, `iterations`, `lanes` (RFC 9106, second
    recommended option); `parallel_hashes` bounds memory and cores."""

    minimum_length: int = 8
    memory_kib: int = 65536
    iterations: int = 3
    lanes: int = 1
    parallel_hashes: int = 2


class Passwords:
    """Hashes and checks passwords in worker threads, so that the loop serves others meanwhile."""

    def __init__(self, settings: PasswordSettings, run_in_thread: RunInThread = asyncio.to_thread) -> None:
        self._minimum_length = settings.minimum_length
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.iterations, memory_cost=settings.memory_kib, parallelism=settings.lanes
        )
        self._turn = asyncio.Semaphore(settings.parallel_hashes)
        self._run_in_thread = run_in_thread
        self._hash_of_nobody = ""

    def check_policy(self, password: str) -> None:
        """Raises WeakPassword."""
        if len(password) < self._minimum_length:
            raise WeakPassword(f"A password has at least {self._minimum_length} characters.")
        if len(password) > MAXIMUM_LENGTH:
            raise WeakPassword(f"A password has at most {MAXIMUM_LENGTH} characters.")

    async def hash(self, password: str) -> str:
        """The Argon2id hash in PHC form. Raises WeakPassword."""
        self.check_policy(password)
        async with self._turn:
            return await self._run_in_thread(lambda: self._hasher.hash(password))

    async def rehash(self, password: str) -> str:
        """As `hash`, for a password that was taken once, whatever is asked of new ones today."""
        async with self._turn:
            return await self._run_in_thread(lambda: self._hasher.hash(password))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with another cost than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether `password` is the one; takes as long for None (no such account, or one without a password)."""
        if len(password) > MAXIMUM_LENGTH:
            password, password_hash = "", None
        async with self._turn:
            is_right = await self._run_in_thread(lambda: self._verify(password, password_hash))
        return is_right and password_hash is not None

    def _verify(self, password: str, password_hash: str | None) -> bool:
        # F07: somebody who does not exist costs as much as somebody who does. Their hash is made at the first check of
        # all, whoever's it is, so that neither the start of the server nor the second check tells or costs anything.
        if not self._hash_of_nobody:
            self._hash_of_nobody = self._hasher.hash("nobody's password")
        try:
            return self._hasher.verify(password_hash or self._hash_of_nobody, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


class Attempt(Protocol):
    """One guess, counted as a failure until it `succeeded`."""

    def succeeded(self) -> None: ...


class GuessLimiter(Protocol):
    """How often a secret may be guessed, by account and by address (`http.rate_limits.FailedLoginLimiter`)."""

    def attempt(self, account: str, address: str) -> AbstractContextManager[Attempt]:
        """Raises LimitExceeded (row D13 of the known attacks)."""
        ...


class PasswordCheck:
    """Is this the password of that account? Asks the hooks first, limits guessing, and says the same of everybody."""

    def __init__(
        self, db: Database, accounts: AccountStore, passwords: Passwords, hooks: Hooks, guesses: GuessLimiter
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._passwords = passwords
        self._hooks = hooks
        self._guesses = guesses

    async def is_right(self, user_id: str, password: str, client_address: str) -> bool:
        """Raises LimitExceeded after too many wrong answers."""
        with self._guesses.attempt(user_id, client_address) as attempt:
            try:
                is_right = await self._is_right(user_id, password)
            except Unavailable:  # nobody has looked at the password
                attempt.succeeded()
                raise
            if is_right:
                attempt.succeeded()
            return is_right

    async def _is_right(self, user_id: str, password: str) -> bool:
        for check_password in self._hooks.check_password:
            verdict = await check_password(user_id, password)
            if verdict is not None:
                return verdict
        account = await self._accounts.find_account(user_id)
        password_hash = account.password_hash if account else None
        is_right = await self._passwords.verify(password, password_hash)
        if is_right and password_hash is not None and self._passwords.is_outdated(password_hash):
            await self._renew_hash(user_id, password, password_hash)
        return is_right

    async def _renew_hash(self, user_id: str, password: str, old_hash: str) -> None:
        """The password is at hand: keep it as today's settings say, unless it was changed meanwhile."""
        new_hash = await self._passwords.rehash(password)

        async def renew(txn: Transaction) -> None:
            account = await self._accounts.find_account(user_id, txn)
            if account is not None and account.password_hash == old_hash:
                await self._accounts.set_password_hash(txn, user_id, new_hash)

        await self._db.write(renew)
