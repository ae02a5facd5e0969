"""People at the servers of the federation, and how they wait for what travels between servers."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from tests.support.server_process import Account, ServerProcess

PATIENCE_SECONDS = 90.0

Found = TypeVar("Found")


class Person:
    """Somebody at one of the servers, with one device."""

    def __init__(self, server: ServerProcess, account: Account) -> None:
        self.server = server
        self.account = account
        self.user_id = account.user_id
        self._token = account.access_token
        self._sent = 0
        self._since: str | None = None

    # ---- requests

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        target = f"/_matrix/client/v3{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        return self.server.call(method, target, body, token=self._token, timeout_seconds=90)

    def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        status, answer = self.call(method, path, body, **query)
        assert status == 200, (method, path, status, answer)
        return answer

    def bytes(self, method: str, path: str, data: bytes | None = None, kind: str = "") -> tuple[int, str, bytes]:
        """(status, content type, body) of a request whose body or answer is no JSON. `path` from `/_matrix` on."""
        headers = {"Authorization": f"Bearer {self._token}", **({"Content-Type": kind} if kind else {})}
        request = urllib.request.Request(self.server.base_url + path, data=data, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=90) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get("Content-Type", ""), error.read()

    # ---- rooms

    def create_room(self, **body: Any) -> str:
        room_id: str = self.ok("POST", "/createRoom", body)["room_id"]
        return room_id

    def send(self, room_id: str, kind: str, content: Any) -> str:
        self._sent += 1
        event_id: str = self.ok("PUT", f"/rooms/{quote(room_id)}/send/{kind}/{self._sent}", content)["event_id"]
        return event_id

    def say(self, room_id: str, body: str) -> str:
        return self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": body})

    def redact(self, room_id: str, event_id: str, **body: Any) -> str:
        self._sent += 1
        path = f"/rooms/{quote(room_id)}/redact/{quote(event_id)}/{self._sent}"
        redaction: str = self.ok("PUT", path, body)["event_id"]
        return redaction

    def set_state(self, room_id: str, kind: str, content: Any, state_key: str = "") -> str:
        path = f"/rooms/{quote(room_id)}/state/{kind}/{quote(state_key)}"
        event_id: str = self.ok("PUT", path, content)["event_id"]
        return event_id

    def do(self, room_id: str, what: str, whom: Person | None = None, **body: Any) -> None:
        """Invite, kick, ban, unban, leave and the like."""
        target = {} if whom is None else {"user_id": whom.user_id}
        self.ok("POST", f"/rooms/{quote(room_id)}/{what}", {**target, **body})

    def join(self, room: str, *via: Person) -> str:
        """By id or alias; the room's id."""
        names = [person.server.server_name for person in via]
        room_id: str = self.ok("POST", f"/join/{quote(room)}", {}, via=names, server_name=names)["room_id"]
        return room_id

    def may_not_join(self, room_id: str, *via: Person) -> bool:
        names = [person.server.server_name for person in via]
        return self.call("POST", f"/join/{quote(room_id)}", {}, via=names, server_name=names)[0] == 403

    # ---- what is seen

    def event(self, room_id: str, event_id: str) -> dict[str, Any]:
        """An event as it is shown; empty when it is not there."""
        status, answer = self.call("GET", f"/rooms/{quote(room_id)}/event/{quote(event_id)}")
        assert status in (200, 404), (status, answer)
        found: dict[str, Any] = answer if status == 200 else {}
        return found

    def newest(self, room_id: str) -> list[str]:
        """The ids of the newest events, newest first."""
        page = self.ok("GET", f"/rooms/{quote(room_id)}/messages", dir="b", limit=40)
        return [event["event_id"] for event in page["chunk"]]

    def timeline(self, room_id: str, *, page: int = 100, at_least: int = 0) -> list[dict[str, Any]]:
        """Every event of the room, newest first, by scrolling back to its beginning; or until `at_least` are there."""
        found: list[dict[str, Any]] = []
        place: dict[str, str] = {}
        while not at_least or len(found) < at_least:
            answer = self.ok("GET", f"/rooms/{quote(room_id)}/messages", dir="b", limit=page, **place)
            found += answer["chunk"]
            if not answer.get("end"):
                break
            place = {"from": answer["end"]}
        return found

    def said(self, room_id: str) -> list[str]:
        """The ids of all messages, newest first."""
        return [event["event_id"] for event in self.timeline(room_id) if event["type"] == "m.room.message"]

    def state(self, room_id: str) -> dict[tuple[str, str], str]:
        """The ids of the current state."""
        events = self.ok("GET", f"/rooms/{quote(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    def state_content(self, room_id: str, kind: str, state_key: str = "") -> dict[str, Any]:
        """Empty when there is none, or the room cannot be read."""
        status, answer = self.call("GET", f"/rooms/{quote(room_id)}/state/{kind}/{quote(state_key)}")
        assert status in (200, 403, 404), (status, answer)
        content: dict[str, Any] = answer if status == 200 else {}
        return content

    def membership(self, room_id: str, whom: Person) -> str:
        """As this one's server has it."""
        return str(self.state_content(room_id, "m.room.member", whom.user_id).get("membership", ""))

    def is_in(self, room_id: str) -> bool:
        return room_id in self.ok("GET", "/joined_rooms")["joined_rooms"]

    def follow(self, found: Callable[[dict[str, Any]], Found | None]) -> Found:
        """Sync on until an answer has what is sought, and return that."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            since = {} if self._since is None else {"since": self._since}
            answer = self.ok("GET", "/sync", timeout=1000, **since)
            self._since = answer["next_batch"]
            value = found(answer)
            if value:
                return value
            assert time.monotonic() < until, "it did not come by sync in time"

    def catch_up(self) -> None:
        """Sync once, so that `follow` looks at what comes from now on."""
        self.follow(lambda answer: True)

    def sees_invite(self, room_id: str) -> list[dict[str, Any]]:
        """The stripped state of an invite that arrives."""
        return self.follow(
            lambda answer: (
                answer["rooms"].get("invite", {}).get(room_id, {}).get("invite_state", {}).get("events")
                if "rooms" in answer
                else None
            )
        )

    def sees_ephemeral(self, room_id: str, kind: str, check: Callable[[Any], bool]) -> Any:
        """The content of a typing notice or receipts that arrive."""

        def look(answer: dict[str, Any]) -> Any:
            events = joined(answer, room_id).get("ephemeral", {}).get("events", ())
            return next((one["content"] for one in events if one["type"] == kind and check(one["content"])), None)

        return self.follow(look)


def joined(answer: dict[str, Any], room_id: str) -> dict[str, Any]:
    """A joined room's part of a /sync."""
    room: dict[str, Any] = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return room


def eventually(check: Callable[[], Found | None]) -> Found:
    """Wait for what travels between processes, and return what was waited for."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := check()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)  # another process has no clock that could be moved
    return found


def all_see(room_id: str, event_id: str, *people: Person) -> None:
    """Wait until an event is among the newest of the room for each of them."""
    for person in people:
        eventually(lambda: event_id in person.newest(room_id))  # noqa: B023
