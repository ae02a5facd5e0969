"""Plays a scripted conversation over plain HTTP on one server and writes down every step.

A conversation is a function of a `Player`: it makes accounts, sends requests and uses the answers in later requests.
The transcript is what `comparing.py` holds against the transcript of the other server.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.openapi import validate_answer
from tests.support.server_process import Account, ServerProcess

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
UNTIL_SECONDS = 60.0
UNTIL_PAUSE_SECONDS = 0.1
ANSWER_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Step:
    """One request and its answer. `violation` says how the answer breaks its OpenAPI schema, or is empty."""

    name: str
    method: str
    path: str
    request: Any
    status: int
    body: Any
    violation: str
    unordered: tuple[str, ...] = ()
    """JSON paths (as in `comparing.py`, `$.chunk`) of lists whose order is free in this answer."""


@dataclass
class Transcript:
    """Everything that was said in one conversation with one server."""

    kind: str
    base_url: str
    devices: dict[str, str] = field(default_factory=dict)
    """The names of the devices that accounts were made with, by their ids."""
    steps: list[Step] = field(default_factory=list)
    aborted: str = ""
    """Why the conversation could not be played to its end (an answer lacked what later steps need), or empty."""


Conversation = Callable[["Player"], None]


@dataclass
class Player:
    """One conversation with one server; `topic` keeps its accounts apart from other conversations'."""

    server: ServerProcess
    topic: str
    transcript: Transcript = field(init=False)
    _connection: http.client.HTTPConnection = field(init=False)
    _names: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.transcript = Transcript(self.server.kind, self.server.base_url)
        self._connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=ANSWER_TIMEOUT_SECONDS)

    def play(self, conversation: Conversation) -> Transcript:
        """Play it to its end, or to where an answer lacks what the next step needs."""
        try:
            conversation(self)
        except (KeyError, TypeError, IndexError, StopIteration) as problem:
            last = self.transcript.steps[-1] if self.transcript.steps else None
            self.transcript.aborted = f"{problem!r} after {last.name if last else 'nothing'}"
        finally:
            self._connection.close()
        return self.transcript

    def localpart(self, name: str) -> str:
        """The localpart that an account of this name has in this conversation."""
        return f"{self.topic}-{name}"

    def account(self, name: str, *, display_name: str = "") -> Account:
        """A fresh account, made without a recorded step."""
        account = self.server.register(self.localpart(name), display_name=display_name or name.capitalize())
        self.transcript.devices[account.device_id] = f"({name}: device)"
        return account

    def get(self, name: str, account: Account | None, path: str, *parts: str, **options: Any) -> Any:
        return self.call(name, "GET", account, path, *parts, **options)

    def put(self, name: str, account: Account | None, path: str, *parts: str, **options: Any) -> Any:
        return self.call(name, "PUT", account, path, *parts, **{"body": {}, **options})

    def post(self, name: str, account: Account | None, path: str, *parts: str, **options: Any) -> Any:
        return self.call(name, "POST", account, path, *parts, **{"body": {}, **options})

    def delete(self, name: str, account: Account | None, path: str, *parts: str, **options: Any) -> Any:
        return self.call(name, "DELETE", account, path, *parts, **options)

    def call(
        self,
        name: str,
        method: str,
        account: Account | None,
        path: str,
        *parts: str,
        body: Any = None,
        raw: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        until: Callable[[Any], bool] | None = None,
        unordered: tuple[str, ...] = (),
        whole: bool = True,
    ) -> Any:
        """One step: the answer's JSON. `{}` in the path take the percent-encoded parts; a path not under `/_matrix`
        is one of v3. With `until`, the same request is repeated until its answer is as awaited (for what a server
        does a moment later), at most a minute. `whole` is False where the request asks for less than the
        schema demands (`event_fields`)."""
        target = path if path.startswith("/_") else V3 + path
        target = target.format(*(quote(part, safe="") for part in parts))
        if query:
            target += "?" + urlencode({key: _query_value(value) for key, value in query.items()}, doseq=True)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if account is not None:
            sent["Authorization"] = f"Bearer {account.access_token}"
        sent |= dict(headers or {})
        deadline = time.monotonic() + UNTIL_SECONDS
        while True:
            status, answer = self._send(method, target, data, sent)
            if until is None or (status == 200 and until(answer)) or time.monotonic() > deadline:
                break
            time.sleep(UNTIL_PAUSE_SECONDS)
        self.transcript.steps.append(
            Step(
                self._unique(name),
                method,
                target,
                body,
                status,
                answer,
                _violation(method, target, status, answer) if whole else "",
                unordered,
            )
        )
        return answer

    def sync(self, name: str, account: Account, since: str | None = None, **options: Any) -> Any:
        """A /sync that answers at once; further query parameters as keywords, `until` and `unordered` as in `call`."""
        kept = {key: options.pop(key) for key in ("until", "unordered", "whole") if key in options}
        query = {"timeout": 0, **({"since": since} if since else {}), **options}
        return self.get(name, account, "/sync", query=query, **kept)

    def send(self, name: str, account: Account, room: str, content: Any, kind: str = "m.room.message") -> str:
        """Send an event (a string is a text message) under a transaction id of the step's name; its event id."""
        body = {"msgtype": "m.text", "body": content} if isinstance(content, str) else content
        answer = self.put(name, account, "/rooms/{}/send/{}/{}", room, kind, f"txn {name}", body=body)
        return str(answer["event_id"])

    def state(self, name: str, account: Account, room: str, kind: str, content: Any, state_key: str = "") -> Any:
        """Set state; the answer."""
        return self.put(name, account, "/rooms/{}/state/{}/{}", room, kind, state_key, body=content)

    def room(self, step: str, account: Account, /, **options: Any) -> str:
        """Create a room; its id."""
        return str(self.post(step, account, "/createRoom", body=options)["room_id"])

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name} ({count})"

    def _send(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, Any]:
        try:
            self._connection.request(method, target, data, dict(headers))
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._connection.close()  # the server closed an idle connection
            self._connection.request(method, target, data, dict(headers))
            response = self._connection.getresponse()
        payload = response.read()
        if "json" in response.getheader("Content-Type", ""):
            return response.status, json.loads(payload)
        return response.status, payload


def _query_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict) else value


def _violation(method: str, path: str, status: int, answer: Any) -> str:
    try:
        validate_answer(method, path, status, answer)
    except AssertionError as problem:
        return str(problem)
    return ""
