"""A homeserver running as a process of its own, for tests and benchmarks: start, wait until it answers, stop, restart.

Knows nothing of pytest. `synapse.py` and `halfdoor_process.py` make these; everything a client needs to know of the
server is on the object, so the same flow can be played against either kind.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 30
FIRST_OF_THE_SYSTEM = 32_768
"""Linux's default (net.ipv4.ip_local_port_range)."""


class ServerProblem(Exception):
    """The server could not be installed, started or stopped; the message says what to look at."""


def free_port(neighbours: int = 0) -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment, nor on as many `neighbours` above it.

    It is none of those that the system itself gives to connections: one of these would sooner or later have the port of
    a server that is just not running.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, FIRST_OF_THE_SYSTEM - neighbours)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for each in range(port, port + neighbours + 1):
                stack.enter_context(socket.create_server(("127.0.0.1", each)))
            return port


@dataclass(frozen=True)
class Account:
    """A registered account with one device."""

    user_id: str
    access_token: str
    device_id: str
    password: str


@dataclass
class ServerProcess:
    """One server: its addresses, its secret, its process. Usable as a context manager, which starts and stops it."""

    kind: str
    """`synapse` or `halfdoor`."""
    command: Sequence[str]
    port: int
    server_name: str
    shared_secret: str
    directory: Path
    """Where its configuration, data and log are; the log is kept when the server stops."""
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    start_seconds: float = 0.0
    """How long the last start took, from the command to the first answer."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.directory / f"{self.kind}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server is not running"
        return self.process.pid

    def __enter__(self) -> Self:
        if self.process is None:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start the process and return when `/_matrix/client/versions` answers; raises `ServerProblem` otherwise."""
        began = time.monotonic()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )
        try:
            while not self._answers():
                if self.process.poll() is not None:
                    raise ServerProblem(f"{self.kind} ended with code {self.process.returncode}.\n{self.log_tail()}")
                if time.monotonic() - began > timeout_seconds:
                    raise ServerProblem(f"{self.kind} gave no answer in {timeout_seconds:.0f} s.\n{self.log_tail()}")
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.kill()
            raise
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Ask the server to end (SIGTERM) and wait; kills it after `STOP_TIMEOUT_SECONDS`. Harmless when stopped."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop and start again on the same data and port."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The end of the log, with a sentence saying where the whole of it is."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join([*text.splitlines()[-lines:], f"(the whole log is {self.log_file})"])

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, timeout_seconds: float = 60.0
    ) -> tuple[int, Any]:
        """One plain HTTP request, (status, decoded JSON). Raises OSError when the server cannot be reached."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.base_url + path, data=data, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout_seconds) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def register(
        self, localpart: str, password: str = "a long enough Passw0rd!", *, admin: bool = False, display_name: str = ""
    ) -> Account:
        """Make an account through the shared-secret endpoint that both kinds have."""
        path = "/_synapse/admin/v1/register"
        _, answer = self.call("GET", path)
        nonce = answer["nonce"]
        parts = [nonce, localpart, password, "admin" if admin else "notadmin"]
        mac = hmac.new(self.shared_secret.encode(), "\x00".join(parts).encode(), hashlib.sha1).hexdigest()
        body: dict[str, Any] = {"nonce": nonce, "username": localpart, "password": password, "admin": admin, "mac": mac}
        if display_name:
            body["displayname"] = display_name
        status, answer = self.call("POST", path, body)
        if status != 200:
            raise ServerProblem(f"{self.kind} refused to register {localpart}: {status} {answer}")
        return Account(answer["user_id"], answer["access_token"], answer["device_id"], password)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/_matrix/client/versions", timeout_seconds=2)[0] == 200
        except (OSError, ValueError):
            return False
