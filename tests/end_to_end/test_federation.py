"""Halfdoor and a real Synapse, over TLS: rooms made on either side, in four room versions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.federation_processes import federated_pair
from tests.support.server_process import Account, ServerProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

VERSIONS = ["6", "10", "11", "12"]
PATIENCE_SECONDS = 30.0


class Person:
    """Somebody at one of the servers."""

    def __init__(self, server: ServerProcess, account: Account) -> None:
        self.server = server
        self.user_id = account.user_id
        self._token = account.access_token
        self._sent = 0

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        target = f"/_matrix/client/v3{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        return self.server.call(method, target, body, token=self._token, timeout_seconds=90)

    def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        status, answer = self.call(method, path, body, **query)
        assert status == 200, (method, path, status, answer)
        return answer

    def create_room(self, **body: Any) -> str:
        room_id: str = self.ok("POST", "/createRoom", body)["room_id"]
        return room_id

    def say(self, room_id: str, body: str) -> str:
        self._sent += 1
        path = f"/rooms/{quote(room_id)}/send/m.room.message/{self._sent}"
        event_id: str = self.ok("PUT", path, {"msgtype": "m.text", "body": body})["event_id"]
        return event_id

    def join(self, room_id: str, *via: Person) -> None:
        names = [person.server.server_name for person in via]
        self.ok("POST", f"/join/{quote(room_id)}", {}, via=names, server_name=names)

    def messages(self, room_id: str, limit: int = 100) -> list[str]:
        page = self.ok("GET", f"/rooms/{quote(room_id)}/messages", dir="b", limit=limit)
        return [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]

    def state(self, room_id: str) -> dict[tuple[str, str], str]:
        events = self.ok("GET", f"/rooms/{quote(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}


def eventually(check: Callable[[], bool]) -> None:
    """Wait for what travels between two processes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)  # another process has no clock that could be moved


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    directory: Path = tmp_path_factory.mktemp("federation")
    with federated_pair(directory) as servers:
        yield servers


@pytest.fixture(scope="module")
def alice(pair: tuple[ServerProcess, ServerProcess]) -> Person:
    return Person(pair[0], pair[0].register("alice"))


@pytest.fixture(scope="module")
def bob(pair: tuple[ServerProcess, ServerProcess]) -> Person:
    return Person(pair[1], pair[1].register("bob"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ours", [True, False], ids=["made-here", "made-at-synapse"])
def test_both_sides_have_one_conversation(alice: Person, bob: Person, version: str, ours: bool) -> None:
    host, guest = (alice, bob) if ours else (bob, alice)
    room_id = host.create_room(preset="public_chat", room_version=version, name="房间")
    sent = [host.say(room_id, "before anybody came")]
    guest.join(room_id, host)
    for number in range(10):
        sent.append((guest if number % 2 else host).say(room_id, f"{number} 你好"))
        newest = sent[-1]
        eventually(lambda: newest in alice.messages(room_id) and newest in bob.messages(room_id))  # noqa: B023
    assert alice.messages(room_id) == bob.messages(room_id) == sent[::-1]
    assert alice.state(room_id) == bob.state(room_id)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ours", [True, False], ids=["made-here", "made-at-synapse"])
def test_invites_kicks_and_bans_cross(alice: Person, bob: Person, version: str, ours: bool) -> None:
    host, guest = (alice, bob) if ours else (bob, alice)
    room_id = host.create_room(preset="private_chat", room_version=version)
    refused, _ = guest.call("POST", f"/join/{quote(room_id)}", {}, via=host.server.server_name)
    assert refused == 403
    host.ok("POST", f"/rooms/{quote(room_id)}/invite", {"user_id": guest.user_id})
    guest.join(room_id)
    said = guest.say(room_id, "我来了")
    eventually(lambda: said in host.messages(room_id))
    host.ok("POST", f"/rooms/{quote(room_id)}/kick", {"user_id": guest.user_id})
    eventually(lambda: room_id not in guest.ok("GET", "/joined_rooms")["joined_rooms"])
    host.ok("POST", f"/rooms/{quote(room_id)}/ban", {"user_id": guest.user_id})
    refused, _ = guest.call("POST", f"/join/{quote(room_id)}", {}, via=host.server.server_name)
    assert refused == 403
