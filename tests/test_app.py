"""The composition root: who is limited how often, from the configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from homeserver.appservice_api.registry import Registry
from homeserver.configured import is_exempt, route_limits
from homeserver.http.rate_limits import RouteLimiter
from homeserver.http.routing import RateClass
from homeserver.protocol.errors import LimitExceeded
from homeserver.users.requester import Requester
from tests.appservice_api.appservices import registration
from tests.support.clock import FakeClock

SETTINGS = """
server_name: example.org
rate_limits:
  message: {per_second: 1, burst: 2}
  message_in_room: {per_second: 1, burst: 3}
  read: {per_second: 1, burst: 1}
"""
ALICE, BOB, CAROL = (Requester(f"@{name}:example.org", "D") for name in ("alice", "bob", "carol"))


@pytest.fixture
def limiter() -> RouteLimiter:
    limits = route_limits(config.parse(SETTINGS, folder=Path()))
    registry = Registry([registration("irc"), registration("web", rate_limited=False)])
    return RouteLimiter(FakeClock(), limits, is_exempt=lambda requester: is_exempt(registry, requester))


def send(limiter: RouteLimiter, requester: Requester | None, room_id: str = "!a") -> None:
    limiter.check(RateClass.MESSAGE, requester, "192.0.2.1", room_id)


def test_an_account_is_limited(limiter: RouteLimiter) -> None:
    send(limiter, ALICE, "!a")
    send(limiter, ALICE, "!b")
    with pytest.raises(LimitExceeded):
        send(limiter, ALICE, "!c")
    send(limiter, BOB, "!c")


def test_a_room_is_limited_whoever_writes_there(limiter: RouteLimiter) -> None:
    for requester in (ALICE, BOB, CAROL):
        send(limiter, requester)
    with pytest.raises(LimitExceeded):
        send(limiter, Requester("@dave:example.org", "D"))


def test_an_address_stands_for_whoever_is_not_logged_in(limiter: RouteLimiter) -> None:
    limiter.check(RateClass.READ, None, "192.0.2.1", None)
    with pytest.raises(LimitExceeded):
        limiter.check(RateClass.READ, None, "192.0.2.1", None)
    limiter.check(RateClass.READ, None, "192.0.2.2", None)
    limiter.check(RateClass.READ, ALICE, "192.0.2.1", None)


@pytest.mark.parametrize(
    ("requester", "exempt"),
    [
        (Requester("@admin:example.org", "D", is_admin=True), True),
        (Requester("@ircbot:halfdoor.test", appservice_id="irc"), True),
        (Requester("@_irc_bob:halfdoor.test", appservice_id="irc"), False),
        (Requester("@_web_bob:halfdoor.test", appservice_id="web"), True),
    ],
)
def test_administrators_and_services_that_say_so_are_not_limited(
    limiter: RouteLimiter, requester: Requester, exempt: bool
) -> None:
    for _ in range(2):
        send(limiter, requester)
    if exempt:
        send(limiter, requester)
    else:
        with pytest.raises(LimitExceeded):
            send(limiter, requester)
