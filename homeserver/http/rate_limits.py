"""Rate limits by account, address and room: token buckets, with memory that does not grow beyond a bound.

A bucket holds `burst` tokens and fills by `per_second`. It is kept as one number, the moment when it will be full again
(the "generic cell rate algorithm"), so that a bucket that is full takes no memory at all.
Spec: Client-Server API, "Rate limiting": 429, M_LIMIT_EXCEEDED, `retry_after_ms` and the Retry-After header.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from homeserver.clock import Clock
from homeserver.http.routing import RateClass
from homeserver.protocol.errors import LimitExceeded
from homeserver.users.requester import Requester

MAX_BUCKETS: Final = 100_000
"""How many buckets that are not full one limit keeps; the least recently used is forgotten first (about 20 MB)."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`burst` at once, and `per_second` in the long run."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and math.isfinite(self.per_second) and self.burst >= 1):
            raise ValueError("A rate limit needs per_second above 0 and a burst of at least 1.")


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """The limits of one class of routes; each that is not None counts, and all must allow a request. Where nobody is
    logged in, the address stands for the account."""

    account: RateLimit | None = None
    address: RateLimit | None = None
    room: RateLimit | None = None


DEFAULT_LIMITS: Final[Mapping[RateClass, ClassLimits]] = {
    RateClass.MESSAGE: ClassLimits(account=RateLimit(10, 50), room=RateLimit(50, 200)),
    RateClass.LOGIN: ClassLimits(address=RateLimit(0.2, 20)),
    RateClass.REGISTRATION: ClassLimits(address=RateLimit(0.2, 10)),
    RateClass.JOIN: ClassLimits(account=RateLimit(0.5, 20)),
    RateClass.INVITE: ClassLimits(account=RateLimit(0.3, 30), room=RateLimit(0.5, 30)),
    RateClass.CREATE_ROOM: ClassLimits(account=RateLimit(0.2, 20)),
    RateClass.REPORT: ClassLimits(account=RateLimit(0.1, 10)),
    RateClass.SEARCH: ClassLimits(account=RateLimit(2, 20)),
    RateClass.TYPING: ClassLimits(account=RateLimit(2, 20)),
}
FAILED_BY_ACCOUNT: Final = RateLimit(0.00125, 5)
"""At most ten guesses in any hour."""
FAILED_BY_ADDRESS: Final = RateLimit(0.005, 20)
"""Looser, since an office shares one address."""


class TokenBuckets:
    """The buckets of one limit, by key."""

    def __init__(self, limit: RateLimit, clock: Clock, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._interval = 1.0 / limit.per_second
        self._tolerance = self._interval * (limit.burst - 1)
        self._clock = clock
        self._max_buckets = max_buckets
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: str) -> float:
        """Seconds until a token is there; 0 when one is there now. Takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        wait = full_at - self._tolerance - self._clock.monotonic()
        return wait if wait > 1e-9 else 0.0

    def take(self, key: str) -> None:
        """Take one token, also when none is left (the debt is then waited for)."""
        now = self._clock.monotonic()
        buckets = self._full_at
        buckets[key] = max(buckets.get(key, now), now) + self._interval
        buckets.move_to_end(key)
        while len(buckets) > self._max_buckets or (buckets and next(iter(buckets.values())) <= now):
            buckets.popitem(last=False)

    def give_back(self, key: str) -> None:
        """Undo one `take`."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            self._full_at[key] = full_at - self._interval


class RateLimiter(Protocol):
    """What the HTTP application asks before each request of a route with a rate class."""

    def check(self, rate: RateClass, requester: Requester | None, address: str, room_id: str | None) -> None:
        """Count one request. Raises LimitExceeded; a refused request takes nothing from any bucket."""
        ...


class NoRateLimits:
    """Everything is allowed; for tests and benchmarks."""

    def check(self, rate: RateClass, requester: Requester | None, address: str, room_id: str | None) -> None:
        return None


@dataclass(slots=True)
class _ClassBuckets:
    account: TokenBuckets | None
    address: TokenBuckets | None
    room: TokenBuckets | None


class RouteLimiter:
    """The configured limits of every class. `is_exempt` frees application services whose registration says so;
    `override` gives single users another limit of sending, as (events a second, events at once); 0 a second: none."""

    def __init__(
        self,
        clock: Clock,
        limits: Mapping[RateClass, ClassLimits] = DEFAULT_LIMITS,
        *,
        is_exempt: Callable[[Requester], bool] = lambda requester: requester.appservice_id is not None,
        override: Callable[[str], tuple[int, int] | None] = lambda user_id: None,
        max_buckets: int = MAX_BUCKETS,
    ) -> None:
        def buckets(limit: RateLimit | None) -> TokenBuckets | None:
            return None if limit is None else TokenBuckets(limit, clock, max_buckets=max_buckets)

        self._is_exempt = is_exempt
        self._override = override
        self._overridden: dict[tuple[int, int], TokenBuckets] = {}
        self._clock = clock
        self._classes = {
            rate: _ClassBuckets(buckets(each.account), buckets(each.address), buckets(each.room))
            for rate, each in limits.items()
        }

    def check(self, rate: RateClass, requester: Requester | None, address: str, room_id: str | None) -> None:
        buckets = self._classes.get(rate)
        if buckets is None or (requester is not None and self._is_exempt(requester)):
            return
        account = buckets.account
        own = None if requester is None or rate is not RateClass.MESSAGE else self._override(requester.user_id)
        if own is not None:
            if not own[0]:
                return
            account = self._overridden.get(own)
            if account is None:
                account = self._overridden[own] = TokenBuckets(RateLimit(own[0], max(own[1], 1)), self._clock)
        taken: list[tuple[TokenBuckets, str]] = []
        if account is not None:
            taken.append((account, address if requester is None else requester.user_id))
        if buckets.address is not None:
            taken.append((buckets.address, address))
        if buckets.room is not None and room_id is not None:
            taken.append((buckets.room, room_id))
        for each, key in taken:
            wait = each.wait(key)
            if wait:
                raise too_many(wait)
        for each, key in taken:
            each.take(key)


def too_many(wait: float) -> LimitExceeded:
    """The refusal that asks to come back after `wait` seconds."""
    return LimitExceeded("Too many requests; please wait a moment.", retry_after_ms=math.ceil(wait * 1000))


class Attempt:
    """One try to log in. It counts as failed unless it is said to have `succeeded`."""

    def __init__(self, forgive: Callable[[], None]) -> None:
        self._forgive = forgive
        self._is_forgiven = False

    def succeeded(self) -> None:
        if not self._is_forgiven:
            self._is_forgiven = True
            self._forgive()


@dataclass(slots=True)
class FailedLoginLimiter:
    """Failed tries of a password, token or code, by account and by address (row D13 of the known attacks).

    Use `attempt`: it counts the try before the secret is looked at, so that tries at the same time cannot slip through,
    and gives it back when the secret was right.
    """

    clock: Clock
    by_account: RateLimit = FAILED_BY_ACCOUNT
    by_address: RateLimit = FAILED_BY_ADDRESS
    max_buckets: int = MAX_BUCKETS
    _accounts: TokenBuckets = field(init=False)
    _addresses: TokenBuckets = field(init=False)

    def __post_init__(self) -> None:
        self._accounts = TokenBuckets(self.by_account, self.clock, max_buckets=self.max_buckets)
        self._addresses = TokenBuckets(self.by_address, self.clock, max_buckets=self.max_buckets)

    @contextmanager
    def attempt(self, account: str, address: str) -> Iterator[Attempt]:
        """`with limiter.attempt(user_id, address) as attempt: …; attempt.succeeded()`. Raises LimitExceeded."""
        self.check_failed(account, address)
        self.record_failed(account, address)
        yield Attempt(lambda: self.forgive(account, address))

    def check_failed(self, account: str, address: str) -> None:
        """Raises LimitExceeded when too many tries failed. Counts nothing."""
        wait = max(self._accounts.wait(account), self._addresses.wait(address))
        if wait:
            raise too_many(wait)

    def record_failed(self, account: str, address: str) -> None:
        """Count one failed try."""
        self._accounts.take(account)
        self._addresses.take(address)

    def forgive(self, account: str, address: str) -> None:
        """Take one counted try back."""
        self._accounts.give_back(account)
        self._addresses.give_back(address)


class MessageLimiter:
    """E-mails to one address, whoever asks for them: nobody's mailbox is filled through this server."""

    def __init__(self, clock: Clock, per_hour: int) -> None:
        self._buckets = TokenBuckets(RateLimit(per_hour / 3600, per_hour), clock)

    def take(self, address: str) -> None:
        """Count one message. Raises LimitExceeded."""
        wait = self._buckets.wait(address)
        if wait:
            raise too_many(wait)
        self._buckets.take(address)
