"""A web chat at a real homeserver, for the end-to-end tests: registration, settings, one of the staff."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from bridges.kit import BridgeSettings, new_token, registration_file
from bridges.webchat import Site, WebchatBridge, WebchatSettings
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess, free_port
from tests.support.synapse import synapse

SITE = "lantern"
REPOSITORY = Path(__file__).resolve().parents[2]


class Staff:
    """One person of the staff at a plain HTTP client."""

    def __init__(self, server: ServerProcess, account: Account) -> None:
        self._server = server
        self.account = account
        self._since = ""
        self.rooms: dict[str, list[dict[str, Any]]] = {}
        self.invited: list[str] = []
        self.ephemeral: list[tuple[str, dict[str, Any]]] = []
        self._count = 0

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await asyncio.to_thread(
            self._server.call, method, f"/_matrix/client/v3{path}", body, token=self.account.access_token
        )
        assert status == 200, (path, status, answer)
        return answer

    async def sync(self, timeout_ms: int = 500) -> None:
        """One /sync: timelines into `rooms`, invitations into `invited`."""
        since = f"&since={self._since}" if self._since else ""
        answer = await self.call("GET", f"/sync?timeout={timeout_ms}{since}")
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        self.invited += [room for room in rooms.get("invite", {}) if room not in self.invited]
        for room, part in rooms.get("join", {}).items():
            self.rooms.setdefault(room, []).extend(part.get("timeline", {}).get("events", []))
            self.ephemeral += [(room, event) for event in part.get("ephemeral", {}).get("events", [])]

    async def wait_for_invitation(self, count: int = 1) -> str:
        while len(self.invited) < count:
            await self.sync()
        return self.invited[count - 1]

    async def join(self, room: str) -> None:
        await self.call("POST", f"/rooms/{quote(room)}/join", {})

    async def say(self, room: str, text: str, **more: Any) -> str:
        self._count += 1
        path = f"/rooms/{quote(room)}/send/m.room.message/staff{self._count}"
        return str((await self.call("PUT", path, {"msgtype": "m.text", "body": text, **more}))["event_id"])

    async def messages(self, room: str) -> list[tuple[str, str]]:
        """(sender, body) of every message in the room as the server has it, oldest first."""
        found: list[tuple[str, str]] = []
        start = ""
        while True:
            answer = await self.call("GET", f"/rooms/{quote(room)}/messages?dir=f&limit=500{start}")
            found += [
                (event["sender"], event["content"].get("body", ""))
                for event in answer["chunk"]
                if event["type"] == "m.room.message"
            ]
            if "end" not in answer or not answer["chunk"]:
                return found
            start = f"&from={quote(answer['end'])}"

    async def wait_for_texts(self, room: str, texts: list[str]) -> None:
        """Sync until the visitor's (or anybody else's) texts are exactly these, in order."""
        while [body for sender, body in await self.messages(room) if sender != self.account.user_id] != texts:
            await self.sync()


def webchat_settings(
    server: ServerProcess, directory: Path, staff: tuple[str, ...], *, web_port: int
) -> WebchatSettings:
    return WebchatSettings(
        bridge=BridgeSettings(
            id="webchat",
            homeserver_url=server.base_url,
            server_name=server.server_name,
            as_token=new_token(),
            hs_token=new_token(),
            prefix="_web_",
            bot="_web_bot",
            bot_name="Website",
            name_suffix=" (web)",
            database=str(directory / "webchat.db"),
            listen_port=free_port(),
        ),
        sites=(Site(key=SITE, staff=staff, title="Lantern & Leaf"),),
        web_port=web_port,
        demo_site=SITE,
    )


@contextlib.asynccontextmanager
async def homeserver_with_webchat(
    kind: str, directory: Path
) -> AsyncIterator[tuple[ServerProcess, WebchatSettings, Staff]]:
    """A running `synapse` or `halfdoor` that knows the bridge; the bridge's settings (it is not started); one of the
    staff."""
    registration = directory / "registration.yaml"
    home = directory / kind
    home.mkdir()
    files = [str(registration)]
    if kind == "synapse":
        server = synapse(home, settings={"app_service_config_files": files})
    else:
        server = halfdoor(home, settings={"appservices": {"registration_files": files}})
    staff_id = f"@mei:{server.server_name}"
    settings = webchat_settings(server, directory, (staff_id,), web_port=free_port())
    registration.write_text(registration_file(settings.bridge))
    await asyncio.to_thread(server.start)
    try:
        account = await asyncio.to_thread(server.register, "mei", display_name="Mei")
        yield server, settings, Staff(server, account)
    finally:
        await asyncio.to_thread(server.stop)


def settings_file(settings: WebchatSettings, path: Path) -> Path:
    """The same settings as the YAML file of a stand-alone bridge."""
    path.write_bytes(msgspec.yaml.encode(settings))
    return path


@contextlib.asynccontextmanager
async def running(settings: WebchatSettings) -> AsyncIterator[WebchatBridge]:
    bridge = WebchatBridge(settings)
    await bridge.start()
    try:
        yield bridge
    finally:
        await bridge.stop()


class StandAlone:
    """The bridge as a process of its own, as an operator runs it: `python -m bridges.webchat --config FILE`."""

    def __init__(self, config: Path, web_port: int) -> None:
        self._config = config
        self._web_port = web_port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and return when the pages are served. The log goes into a file beside the settings."""
        with self._config.with_suffix(".log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridges.webchat", "--config", str(self._config), stderr=log, cwd=REPOSITORY
            )
        for _ in range(600):
            assert self._process.returncode is None, self._config.with_suffix(".log").read_text()[-3000:]
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._web_port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the bridge did not listen within 30 s")

    async def kill(self) -> None:
        """SIGKILL, as the power would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
