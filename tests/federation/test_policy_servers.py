"""Policy servers are asked over federation, and what they refuse is passed on."""

from __future__ import annotations

from typing import Any

import pytest

from federation.client import RemoteRefused, RemoteUnreachable
from federation.policy_servers import PATH, FederatedPolicyServers
from homeserver.http.errors import status_of
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS

EVENT = Event(
    {
        "type": "m.room.message",
        "sender": "@alice:halfdoor.test",
        "room_id": "!room:halfdoor.test",
        "content": {"body": "hello"},
        "depth": 5,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
        "hashes": {"sha256": "x"},
        "signatures": {"halfdoor.test": {"ed25519:a": "x"}},
    },
    ROOM_VERSIONS["11"],
    "$event",
)


class FakeClient:
    """Answers every request alike."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, str, Any]] = []

    async def request(self, destination: str, method: str, path: str, *, body: Any, **options: Any) -> Any:
        self.asked.append((destination, method, path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def ask(answer: Any) -> Any:
    return await FederatedPolicyServers(FakeClient(answer)).ask("policy.test", EVENT)  # type: ignore[arg-type]


async def test_whole_event_is_sent_and_the_signatures_come_back() -> None:
    given = {"policy.test": {"ed25519:policy_server": "signature"}}
    client = FakeClient(given)
    assert await FederatedPolicyServers(client).ask("policy.test", EVENT) == given  # type: ignore[arg-type]
    assert client.asked == [("policy.test", "POST", PATH, EVENT.pdu)]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            RemoteRefused("policy.test", 400, {"errcode": "M_FORBIDDEN", "error": "Spam"}),
            403,
            {"errcode": "M_FORBIDDEN", "error": "Spam"},
        ),
        (
            RemoteRefused("policy.test", 404, {"errcode": "M_NOT_FOUND", "error": "No such room", "more": 1}),
            403,
            {"errcode": "M_NOT_FOUND", "error": "No such room"},
        ),
        (
            RemoteRefused("policy.test", 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Log out", "soft_logout": True}),
            403,
            {"errcode": "M_FORBIDDEN", "error": "Log out"},
        ),
        (
            RemoteRefused("policy.test", 429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 700}),
            429,
            {
                "errcode": "M_LIMIT_EXCEEDED",
                "error": "The policy server of this room has much to do",
                "retry_after_ms": 700,
            },
        ),
        (
            RemoteUnreachable("policy.test was not reached"),
            403,
            {"errcode": "M_FORBIDDEN", "error": "The policy server of this room does not answer, so nothing is sent"},
        ),
    ],
)
async def test_B17_refusals_are_passed_on_and_say_nothing_of_the_session(
    answer: Exception, status: int, body: dict[str, Any]
) -> None:
    with pytest.raises(MatrixError) as raised:
        await ask(answer)
    assert (status_of(raised.value), raised.value.body()) == (status, body)


@pytest.mark.parametrize("answer", [[], "x", None, 7, {"policy.test": "signature"}])
async def test_answers_of_another_form_are_no_signatures(answer: Any) -> None:
    assert await ask(answer) == {}
