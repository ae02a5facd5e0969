"""Asks the operators' API: at the server that runs, or, when none answers, in a server without listeners that this
command builds over the same database, so that both ways do the same.

The command proves itself with the signing key, which only the operator can read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import config
from homeserver.command_line.command import Commands, add_command, add_config_option
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.running_server import NotRunning, RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from homeserver.storage.database import Database

SYNAPSE = "/_synapse/admin"
OWN = "/_halfdoor/admin/v1"
POLL_SECONDS = 0.3


def add_operation(
    commands: Commands, name: str, summary: str, run: Callable[[argparse.Namespace], int], explanation: str
) -> argparse.ArgumentParser:
    """A command of operators: it takes --json and --config."""
    parser = add_command(commands, name, summary, run, explanation)
    parser.add_argument("--json", action="store_true", help="print the server's whole answer as JSON")
    add_config_option(parser)
    return parser


class Operator:
    """Whoever runs this command, as the operators' API knows them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._settings = config.load(arguments.config)
        self._as_json: bool = arguments.json
        self.server_name = self._settings.server_name

    def user_id(self, name: str) -> str:
        """The user id that somebody typed, wholly or as its first part."""
        return name if name.startswith("@") else f"@{name}:{self.server_name}"

    def get(self, *path: str, **query: Any) -> Any:
        return self.request("GET", path, query=query)

    def post(self, *path: str, body: Any = None, **query: Any) -> Any:
        return self.request("POST", path, body=body or {}, query=query)

    def put(self, *path: str, body: Any) -> Any:
        return self.request("PUT", path, body=body)

    def delete(self, *path: str, body: Any = None) -> Any:
        return self.request("DELETE", path, body=body or {})

    def request(
        self, method: str, path: Sequence[str], *, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """The decoded answer, or its bytes when it is no JSON. `path`: the first part as it is, the others are encoded.
        Raises CommandFailed with the server's own sentence."""
        target = "/".join([path[0], *(quote(part, safe="") for part in path[1:])])
        asked = {name.rstrip("_"): value for name, value in (query or {}).items() if value is not None}
        if asked:
            target += "?" + urlencode(asked)
        content = None if method == "GET" else json.dumps({} if body is None else body).encode()
        try:
            token = self._token(method, target, content)
            status, answer = RunningServer(self._settings, timeout_seconds=600).call_as(token, method, target, content)
        except NotRunning:
            status, answer = self._without_server(method, target, content or b"")
        is_json = answer[:1] in (b"{", b"[")
        decoded = json.loads(answer) if is_json else answer
        if status >= 300:
            told = decoded.get("error") if isinstance(decoded, dict) else None
            raise CommandFailed(str(told or f"the server answered with status {status}"))
        return decoded

    def wait(self, *path: str) -> Any:
        """Ask after a task until it has ended; its last answer. Raises CommandFailed when it failed."""
        while True:
            answer = self.get(*path)
            if answer["status"] == "failed":
                raise CommandFailed(str(answer.get("error", "the task failed; the server's log says more")))
            if answer["status"] == "complete":
                return answer
            time.sleep(POLL_SECONDS)

    def show(self, answer: Any, lines: Sequence[str]) -> int:
        """The outcome: `lines` for people, or the whole answer."""
        if self._as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            for line in lines:
                print(line)
        return 0

    def _token(self, method: str, target: str, content: bytes | None) -> str:
        from signedjson.key import read_signing_keys

        from homeserver.admin.access import OperatorTokens
        from homeserver.clock import SystemClock

        try:
            with self._settings.signing_key_file.open(encoding="ascii") as file:
                key = read_signing_keys(file)[0]
        except OSError as error:
            raise CommandFailed(f"the signing key cannot be read: {error}") from None
        tokens = OperatorTokens(key.encode(), self.server_name, SystemClock())
        return tokens.make(method, target.partition("?")[0], content or b"")

    def _without_server(self, method: str, target: str, content: bytes) -> tuple[int, bytes]:
        from homeserver.command_line.own_database import with_database

        token = self._token(method, target, content)

        async def work(database: Database) -> tuple[int, bytes]:
            from homeserver.clock import SystemClock
            from homeserver.composition import build
            from homeserver.configured import server_settings
            from homeserver.http.application import HttpApplication
            from homeserver.http.request import FileBody, StreamBody
            from homeserver.http.routing import Router

            clock = SystemClock()
            homeserver = build(database, clock, server_settings(self._settings))
            application = HttpApplication(Router(homeserver.admin_routes), homeserver.authenticator, clock=clock)
            try:
                await homeserver.admin.start()
                headers = {"authorization": f"Bearer {token}"}
                reply = await application.respond(method, target, headers, content, "127.0.0.1")
                await homeserver.admin.rooms.tasks.finish()
            finally:
                await homeserver.close()
            body = reply.body
            assert not isinstance(body, StreamBody)
            if isinstance(body, FileBody):
                with body.file as file:
                    return reply.status, file.read(body.length)
            return reply.status, body

        return with_database(self._settings, work)


def table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> list[str]:
    """Lines of columns as wide as their widest entry."""
    texts = [[("" if cell is None else str(cell)) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[index]) for row in texts) for index in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def facts(answer: Mapping[str, Any]) -> list[str]:
    """One line for each member that says something."""
    shown = {name: value for name, value in answer.items() if value not in (None, [], {})}
    width = max((len(name) for name in shown), default=0)
    return [f"{name.ljust(width)}  {_plain(value)}" for name, value in shown.items()]


def day(timestamp_ms: int | None) -> str:
    """A time as people read it; nothing for none."""
    return "" if not timestamp_ms else time.strftime("%Y-%m-%d %H:%M", time.gmtime(timestamp_ms / 1000))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def demand_yes(arguments: argparse.Namespace, deed: str) -> None:
    """What cannot be undone needs --yes."""
    if not arguments.yes:
        raise CommandFailed(f"this would {deed}, which cannot be undone. Say --yes to do it. Nothing was changed.")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
