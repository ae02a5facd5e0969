"""The requests that the server makes, recorded and answered by a function: nothing leaves the test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from homeserver.outbound.client import MAX_BYTES, OutboundAnswer, OutboundFailed, Receive


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as its caller made it."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: float = 30.0
    max_bytes: int = MAX_BYTES
    redirects: int = 0
    trusted: bool = False
    connect_to: tuple[str, int] | None = None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body or b"")


AnswerTo = Callable[[SentRequest], OutboundAnswer | Awaitable[OutboundAnswer]]
"""Answers a request, or raises OutboundFailed."""


def json_answer(value: Any, status: int = 200) -> OutboundAnswer:
    """An answer with a JSON body."""
    return OutboundAnswer(status, {"content-type": "application/json"}, msgspec.json.encode(value))


def nobody(request: SentRequest) -> OutboundAnswer:
    """Nothing is reached."""
    raise OutboundFailed("not reached", f"Nobody answers at {request.url}.")


class FakeOutbound:
    """`Outbound` without a network. `requests` are all that were made; `answer` may be replaced at any time."""

    def __init__(self, answer: AnswerTo = nobody) -> None:
        self.answer = answer
        self.requests: list[SentRequest] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        sent = SentRequest(method, url, dict(headers or {}), body, timeout, max_bytes, redirects, trusted, connect_to)
        self.requests.append(sent)
        answered = self.answer(sent)
        answer = answered if isinstance(answered, OutboundAnswer) else await answered
        if len(answer.body) > max_bytes:
            raise OutboundFailed("too large")
        return OutboundAnswer(answer.status, answer.headers, answer.body, answer.url or url)

    async def stream(
        self,
        method: str,
        url: str,
        receive: Receive,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        answer = await self.request(
            method,
            url,
            headers=headers,
            body=body,
            timeout=timeout,
            max_bytes=max_bytes,
            redirects=redirects,
            trusted=trusted,
            connect_to=connect_to,
        )
        receive(answer.body)
        return OutboundAnswer(answer.status, answer.headers, b"", answer.url)
