"""HTTP as a stubborn client sees it: an answer, or none because the server is down at this moment."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from benchmarks.http_client import HttpClient, NoAnswer

LONGEST_ANSWER_SECONDS = 30.0


@dataclass
class Weather:
    """Whether the server is up, what may fail at present, and everything that should not have happened."""

    port: int
    up: asyncio.Event = field(default_factory=asyncio.Event)
    may_refuse: bool = False
    """503 is no mistake now: what the server itself needs is down."""
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def problem(self, text: str) -> None:
        self.problems.append(text)


class Refused(Exception):
    """The server said no where it should have said yes."""


class Line:
    """One connection of one device. With `waits`, nothing is asked while the server is known to be down."""

    def __init__(self, weather: Weather, token: str, *, waits: bool = True) -> None:
        self._weather = weather
        self._token = token
        self._waits = waits
        self._client = HttpClient(weather.port)

    async def ask(self, method: str, path: str, body: Any = None, *, accept: tuple[int, ...] = (200,)) -> Any:
        """The decoded answer of an accepted status; None when there was no answer, so that nobody knows what became of
        the request. Raises Refused for other statuses."""
        if self._waits:
            await self._weather.up.wait()
        payload = b"" if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                answer = await self._client.request(method, path, payload, self._token)
        except (OSError, NoAnswer, TimeoutError) as error:
            self._client.close()
            if isinstance(error, TimeoutError):
                self._weather.problem(f"no answer in {LONGEST_ANSWER_SECONDS:.0f} s: {method} {path[:120]}")
            elif self._weather.up.is_set():
                self._weather.counts["connections closed while up"] += 1
            return None
        except BaseException:
            self._client.close()  # an answer may still come, and would be taken for the next one's
            raise
        self._weather.counts[f"status {answer.status}"] += 1
        if answer.status in accept:
            return json.loads(answer.body)
        if answer.status == 503 and self._weather.may_refuse:
            await asyncio.sleep(0.1)
            return None
        raise Refused(f"{method} {path[:160]}: {answer.status} {answer.body[:200]!r}")

    def close(self) -> None:
        self._client.close()


def room_path(room_id: str, *rest: str) -> str:
    """The path of something in a room."""
    return "/_matrix/client/v3/rooms/" + "/".join(quote(part, safe="") for part in (room_id, *rest))
