"""Token buckets by account, address and room."""

from __future__ import annotations

import pytest

from homeserver.http.rate_limits import ClassLimits, FailedLoginLimiter, RateLimit, RouteLimiter, TokenBuckets
from homeserver.http.routing import RateClass
from homeserver.protocol.errors import LimitExceeded
from homeserver.users.requester import Requester
from tests.support.clock import FakeClock

ALICE = Requester("@alice:a")
BOB = Requester("@bob:a")
BRIDGE = Requester("@bridge:a", appservice_id="irc")


def limiter(clock: FakeClock, **limits: RateLimit) -> RouteLimiter:
    return RouteLimiter(clock, {RateClass.MESSAGE: ClassLimits(**limits)})


async def test_a_burst_is_allowed_and_then_one_at_a_time() -> None:
    clock = FakeClock()
    limits = limiter(clock, account=RateLimit(0.5, 3))
    for _ in range(3):
        limits.check(RateClass.MESSAGE, ALICE, "x", None)
    with pytest.raises(LimitExceeded) as caught:
        limits.check(RateClass.MESSAGE, ALICE, "x", None)
    assert caught.value.retry_after_ms == 2000
    limits.check(RateClass.MESSAGE, BOB, "x", None)
    await clock.advance(2)
    limits.check(RateClass.MESSAGE, ALICE, "x", None)
    with pytest.raises(LimitExceeded):
        limits.check(RateClass.MESSAGE, ALICE, "x", None)
    await clock.advance(100)
    for _ in range(3):
        limits.check(RateClass.MESSAGE, ALICE, "x", None)
    with pytest.raises(LimitExceeded):
        limits.check(RateClass.MESSAGE, ALICE, "x", None)


def test_each_room_and_address_has_a_bucket_of_its_own() -> None:
    limits = limiter(FakeClock(), room=RateLimit(1, 1), address=RateLimit(1, 3))
    limits.check(RateClass.MESSAGE, ALICE, "x", "!a")
    with pytest.raises(LimitExceeded):
        limits.check(RateClass.MESSAGE, BOB, "x", "!a")
    limits.check(RateClass.MESSAGE, BOB, "x", "!b")
    limits.check(RateClass.MESSAGE, BOB, "x", "!c")
    with pytest.raises(LimitExceeded):
        limits.check(RateClass.MESSAGE, BOB, "x", "!d")
    limits.check(RateClass.MESSAGE, BOB, "y", "!d")


def test_a_refused_request_takes_nothing_from_the_other_buckets() -> None:
    limits = limiter(FakeClock(), account=RateLimit(1, 2), room=RateLimit(1, 1))
    limits.check(RateClass.MESSAGE, ALICE, "x", "!a")
    for _ in range(5):
        with pytest.raises(LimitExceeded):
            limits.check(RateClass.MESSAGE, ALICE, "x", "!a")
    limits.check(RateClass.MESSAGE, ALICE, "x", "!b")


def test_application_services_and_classes_without_limits_are_free() -> None:
    limits = limiter(FakeClock(), account=RateLimit(1, 1))
    for _ in range(10):
        limits.check(RateClass.MESSAGE, BRIDGE, "x", None)
        limits.check(RateClass.READ, ALICE, "x", None)


async def test_memory_is_bounded_and_full_buckets_are_forgotten() -> None:
    clock = FakeClock()
    buckets = TokenBuckets(RateLimit(1, 5), clock, max_buckets=100)
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets) == 100
    await clock.advance(10)
    buckets.take("new")
    assert len(buckets) == 1


async def test_D13_of_ten_thousand_guesses_few_are_evaluated_in_an_hour() -> None:
    clock = FakeClock()
    limits = FailedLoginLimiter(clock)
    evaluated = 0
    for number in range(10_000):
        try:
            with limits.attempt("@alice:a", f"192.0.2.{number % 250}"):
                evaluated += 1
        except LimitExceeded:
            pass
        if number % 100 == 0:
            await clock.advance(36)
    assert 5 <= evaluated <= 10


async def test_D13_one_address_cannot_guess_at_every_account() -> None:
    clock = FakeClock()
    limits = FailedLoginLimiter(clock)
    evaluated = 0
    for number in range(10_000):
        try:
            with limits.attempt(f"@user{number}:a", "192.0.2.1"):
                evaluated += 1
        except LimitExceeded:
            pass
        if number % 100 == 0:
            await clock.advance(36)
    assert 20 <= evaluated <= 39


def test_D13_guesses_at_the_same_time_do_not_slip_through_and_right_ones_cost_nothing() -> None:
    limits = FailedLoginLimiter(FakeClock())
    for _ in range(50):
        with limits.attempt("@alice:a", "x") as attempt:
            attempt.succeeded()
            attempt.succeeded()
    running = [limits.attempt("@alice:a", "x") for _ in range(6)]
    for each in running[:5]:
        each.__enter__()
    with pytest.raises(LimitExceeded):
        running[5].__enter__()


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0), (float("inf"), 1), (float("nan"), 1)])
def test_a_limit_that_means_nothing_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate limit"):
        RateLimit(per_second, burst)
