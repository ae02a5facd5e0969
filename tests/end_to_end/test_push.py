"""Push of a real process: a gateway on a socket of its own, a kill in between, and the server's own gateway."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

CLIENT = "/_matrix/client/v3"
PATH = "/_matrix/push/v1/notify"


class Gateway:
    """Takes notifications, or answers 503 while `is_down`."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.tries = 0
        self.is_down = False
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.tries += 1
                if not gateway.is_down:
                    gateway.told.append(body["notification"])
                answer = b'{"rejected": []}'
                self.send_response(503 if gateway.is_down else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def events(self) -> list[str]:
        return [one["event_id"] for one in self.told if "event_id" in one]


@contextmanager
def open_gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    thread = threading.Thread(target=gateway.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield gateway
    finally:
        gateway.server.shutdown()
        thread.join()
        gateway.server.server_close()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def call(server: ServerProcess, account: Account, method: str, path: str, body: Any = None) -> Any:
    status, answer = server.call(method, CLIENT + path, body, token=account.access_token)
    assert status == 200, answer
    return answer


def pusher(url: str, pushkey: str = "key") -> dict[str, Any]:
    return {
        "app_id": "org.example",
        "pushkey": pushkey,
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": url, "format": "event_id_only"},
    }


def say(server: ServerProcess, account: Account, room_id: str, number: int) -> str:
    path = f"/rooms/{quote(room_id)}/send/m.room.message/t{number}"
    event_id: str = call(server, account, "PUT", path, {"msgtype": "m.text", "body": f"message {number}"})["event_id"]
    return event_id


def test_killed_server_tells_after_its_start_what_waited(tmp_path: Path) -> None:
    with open_gateway() as gateway:
        settings = {"push": {"allowed_gateways": [gateway.origin]}}
        server = halfdoor(tmp_path, settings=settings)
        with server:
            alice, bob = server.register("alice"), server.register("bob")
            room_id = call(server, alice, "POST", "/createRoom", {"preset": "public_chat"})["room_id"]
            call(server, bob, "POST", f"/join/{quote(room_id)}", {})
            call(server, bob, "POST", "/pushers/set", pusher(gateway.origin + PATH))
            first = say(server, alice, room_id, 1)
            until(lambda: gateway.events == [first])
            gateway.is_down = True
            waiting = [say(server, alice, room_id, number) for number in range(2, 6)]
            until(lambda: gateway.tries >= 2)
            server.kill()
        gateway.is_down = False
        with server:
            until(lambda: len(gateway.events) >= 5)
            later = say(server, alice, room_id, 6)
            until(lambda: later in gateway.events)
        assert gateway.events == [first, *waiting, later]


def test_C04_private_gateways_are_not_reached_by_a_real_server(tmp_path: Path) -> None:
    with open_gateway() as gateway, halfdoor(tmp_path) as server:
        alice, bob = server.register("alice"), server.register("bob")
        room_id = call(server, alice, "POST", "/createRoom", {"preset": "public_chat"})["room_id"]
        call(server, bob, "POST", f"/join/{quote(room_id)}", {})
        status, _ = server.call("POST", CLIENT + "/pushers/set", pusher(gateway.origin + PATH), token=bob.access_token)
        assert status == 400
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            url = f"https://{host}:{gateway.server.server_port}{PATH}"
            server.call("POST", CLIENT + "/pushers/set", pusher(url, host), token=bob.access_token)
        say(server, alice, room_id, 1)
        time.sleep(1.5)
        assert gateway.tries == 0
