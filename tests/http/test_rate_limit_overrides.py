"""Single users with a limit of sending of their own."""

from __future__ import annotations

import pytest

from homeserver.http.rate_limits import ClassLimits, RateLimit, RouteLimiter
from homeserver.http.routing import RateClass
from homeserver.protocol.errors import LimitExceeded
from homeserver.users.requester import Requester
from tests.support.clock import FakeClock

LIMITS = {
    RateClass.MESSAGE: ClassLimits(account=RateLimit(1, 2)),
    RateClass.JOIN: ClassLimits(account=RateLimit(1, 2)),
}


def sent(limiter: RouteLimiter, user_id: str, rate: RateClass = RateClass.MESSAGE) -> int:
    """How many get through at once, of fifty."""
    for number in range(50):
        try:
            limiter.check(rate, Requester(user_id), "192.0.2.1", None)
        except LimitExceeded:
            return number
    return 50


@pytest.mark.parametrize(
    ("override", "expected"), [(None, 2), ((5, 9), 9), ((5, 0), 1), ((0, 0), 50), ((0, 7), 50), ((1, 1), 1)]
)
def test_an_override_takes_the_place_of_the_limit_of_sending(override: tuple[int, int] | None, expected: int) -> None:
    of_user = {"@a:x": override}
    limiter = RouteLimiter(FakeClock(), LIMITS, override=of_user.get)
    assert sent(limiter, "@a:x") == expected
    assert sent(limiter, "@b:x") == 2
    assert sent(limiter, "@a:x", RateClass.JOIN) == 2


async def test_an_override_ends_at_once() -> None:
    clock = FakeClock()
    of_user: dict[str, tuple[int, int] | None] = {"@a:x": (0, 0)}
    limiter = RouteLimiter(clock, LIMITS, override=of_user.get)
    assert sent(limiter, "@a:x") == 50
    of_user.clear()
    assert sent(limiter, "@a:x") == 2
