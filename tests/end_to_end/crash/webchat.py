"""Visitors of a website who write while the server is killed: what they were told is stored arrives in the room once.

The web chat runs in the server's process, with a database of its own; both are killed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.end_to_end.crash.checks import check_log, check_sqlite
from tests.end_to_end.crash.person import CLIENT, sync_path
from tests.end_to_end.crash.wire import Line, Weather, room_path
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProcess, free_port

SITE = "shop"
ORIGIN = "https://shop.example"
VISITORS = 3
ARRIVES_WITHIN_SECONDS = 90.0
STOPS_WITHIN_SECONDS = 30.0


class Visitor:
    """A browser with the widget: sends one message at a time until it is acknowledged, and numbers what it is shown."""

    def __init__(self, name: str, address: str, weather: Weather) -> None:
        self.name = name
        self.weather = weather
        self.acknowledged: list[str] = []
        self.heard: list[str] = []
        """What the staff said."""
        self.quiet = False
        """Nothing new is written; what waits is sent."""
        self._stopping = False
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._address = address
        self._token: str | None = None
        self._seen = 0
        self._waiting: str | None = None

    async def stay(self) -> None:
        """Connect again and again, and write, until `leave`."""
        async with aiohttp.ClientSession() as session:
            while not self._stopping:
                await self.weather.up.wait()
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.ws_connect(self._address, origin=ORIGIN) as socket:
                        self._socket = socket
                        await self._talk(socket)
                await asyncio.sleep(0.05)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        hello = {"type": "hello", "site": SITE, "token": self._token, "since": self._seen}
        await socket.send_json(hello)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            frame: dict[str, Any] = message.json()
            kind = frame["type"]
            if kind == "welcome":
                self._token = frame["token"]
                if frame["start"] != self._seen:
                    self.weather.problem(f"{self.name} had seen {self._seen} and is shown from {frame['start']} on")
                await self._write(socket)
            elif kind == "ack":
                if frame["client_id"] == self._waiting:
                    self.acknowledged.append(frame["client_id"])
                    self._waiting = None
                await asyncio.sleep(0.1)
                await self._write(socket)
            elif kind == "event":
                self._take(frame)
            elif kind == "error":
                if frame["code"] != "too_fast":
                    self.weather.problem(f"{self.name}: {frame}")
                await asyncio.sleep(frame.get("retry_after_ms", 100) / 1000)
                await self._write(socket)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """The message that waits, or the next one. Text and id are the same."""
        if self._waiting is None and not self.quiet:
            self._waiting = f"{self.name}-message-{len(self.acknowledged) + 1}"
        if self._waiting is not None:
            await socket.send_json({"type": "message", "client_id": self._waiting, "text": self._waiting})

    async def leave(self) -> None:
        self._stopping = True
        if self._socket is not None:
            await self._socket.close()

    def _take(self, event: dict[str, Any]) -> None:
        if event["seq"] != self._seen + 1:
            self.weather.problem(f"{self.name} was shown event {event['seq']} after {self._seen}")
        self._seen = event["seq"]
        if event["kind"] == "message" and event["from"] == "staff":
            self.heard.append(event["text"])
        if event["kind"] == "failed":
            self.weather.problem(f"{self.name}: {event}")


class Staff:
    """Joins what it is invited to, and answers every message with `re: ` and its text."""

    def __init__(self, token: str, weather: Weather) -> None:
        self.weather = weather
        self.answered: dict[str, list[str]] = {}
        """by room: what was acknowledged, in order"""
        self.stopping = False
        self._line = Line(weather, token)
        self._reading = Line(weather, token)
        self._since = ""

    def close(self) -> None:
        self._line.close()
        self._reading.close()

    async def work(self) -> None:
        while not self.stopping:
            answer = await self._line.ask("GET", sync_path(self._since, 1000, 300))
            if answer is None:
                continue
            rooms = answer.get("rooms", {})
            for room_id in rooms.get("invite", {}):
                await self._insist("POST", f"{CLIENT}/join/{quote(room_id)}", {})
                self.answered.setdefault(room_id, [])
            for room_id, section in rooms.get("join", {}).items():
                for event in section.get("timeline", {}).get("events", []):
                    if event["type"] == "m.room.message" and "-message-" in event["content"].get("body", ""):
                        await self._reply(room_id, event["content"]["body"])
            self._since = answer["next_batch"]

    async def _reply(self, room_id: str, text: str) -> None:
        if text.startswith("re: ") or f"re: {text}" in self.answered[room_id]:
            return
        body = {"msgtype": "m.text", "body": f"re: {text}"}
        await self._insist("PUT", room_path(room_id, "send", "m.room.message", f"re-{text}"), body)
        self.answered[room_id].append(f"re: {text}")

    async def _insist(self, method: str, path: str, body: Any) -> None:
        while await self._line.ask(method, path, body) is None:  # noqa: ASYNC110 - it is no wait
            await asyncio.sleep(0.02)

    async def texts(self, room_id: str) -> list[str]:
        """Every message in the room, the oldest first."""
        page = await self._reading.ask("GET", room_path(room_id, "messages") + "?dir=f&limit=1000")
        return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]


async def run_webchat(directory: Path, *, cycles: int, seed: int, gently: bool = False) -> tuple[list[str], int]:
    """Kill (or stop with SIGTERM) and start while visitors and staff write. What went wrong; how much was exchanged."""
    chance = random.Random(seed)
    port, web_port = free_port(), free_port()
    staff_id = "@mei:halfdoor.test"
    site = {"key": SITE, "origins": [ORIGIN], "staff": [staff_id], "title": "Shop"}
    webchat = {"enabled": True, "port": web_port, "sites": [site]}
    server = halfdoor(directory, port=port, settings={"webchat": webchat})
    weather = Weather(port)
    await asyncio.to_thread(server.start)
    try:
        account = await asyncio.to_thread(server.register, "mei")
        staff = Staff(account.access_token, weather)
        visitors = [
            Visitor(f"visitor{number}", f"http://127.0.0.1:{web_port}/webchat/ws", weather)
            for number in range(VISITORS)
        ]
        weather.up.set()
        tasks = [asyncio.create_task(each) for each in (staff.work(), *(visitor.stay() for visitor in visitors))]
        try:
            for _ in range(cycles):
                await asyncio.sleep(chance.uniform(0.5, 2.0))
                await end_and_start(server, weather, gently=gently)
            await asyncio.sleep(1.0)
            await wait_until_arrived(visitors, staff)
            staff.stopping = True
            await asyncio.wait_for(asyncio.gather(*tasks), 30)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            staff.close()
        for file in ("halfdoor.db", "webchat.db"):
            weather.problems += check_sqlite(directory / file, thorough=True, has_stream=file == "halfdoor.db")
    finally:
        await asyncio.to_thread(server.stop)
    weather.problems += check_log(server.log_file.read_text(errors="replace"))
    return weather.problems, sum(len(visitor.acknowledged) + len(visitor.heard) for visitor in visitors)


async def end_and_start(server: ServerProcess, weather: Weather, *, gently: bool) -> None:
    weather.up.clear()
    process = server.process
    if gently and process is not None:
        process.terminate()
        status = await asyncio.to_thread(process.wait, STOPS_WITHIN_SECONDS)
        if status != 0:
            weather.problem(f"SIGTERM: exit status {status}")
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    weather.up.set()


async def wait_until_arrived(visitors: list[Visitor], staff: Staff) -> None:
    """Everything acknowledged is in its room once and in order, and its answer at the visitor once and in order."""
    for visitor in visitors:
        visitor.quiet = True
    deadline = time.monotonic() + ARRIVES_WITHIN_SECONDS
    while True:
        rooms = {room_id: await staff.texts(room_id) for room_id in staff.answered}
        wrong: list[str] = []
        for visitor in visitors:
            wanted = visitor.acknowledged
            if not any([text for text in texts if not text.startswith("re: ")] == wanted for texts in rooms.values()):
                wrong.append(f"no room has exactly the {len(wanted)} messages of {visitor.name}: {rooms}")
            if visitor.heard != [f"re: {text}" for text in wanted]:
                wrong.append(f"{visitor.name} wrote {wanted} and heard {visitor.heard}")
        if not wrong or time.monotonic() > deadline:
            staff.weather.problems += wrong
            break
        await asyncio.sleep(0.2)
    for visitor in visitors:
        await visitor.leave()
