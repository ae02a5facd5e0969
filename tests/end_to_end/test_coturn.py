"""The credentials for calls, against a real relay: coturn with `use-auth-secret`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homeserver.client_api.voip import TurnSettings
from homeserver.composition import ServerSettings
from tests.support.halfdoor_process import halfdoor
from tests.support.server import open_server, server_settings
from tests.support.server_process import free_port

TURNSERVER, CLIENT = shutil.which("turnserver"), shutil.which("turnutils_uclient")
SECRET = "a secret that relay and homeserver share"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(TURNSERVER is None or CLIENT is None, reason="coturn is not installed (apt-get install coturn)"),
]


@dataclass
class Relay:
    """A running coturn."""

    port: int
    log: Path

    @property
    def uri(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    def allocates(self, username: str, password: str) -> bool:
        """Whether a client gets a relay address with these credentials, and messages pass through it."""
        command = [
            str(CLIENT), "-u", username, "-w", password, "-p", str(self.port),
            "-y", "-c", "-m", "1", "-n", "3", "127.0.0.1",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode == 0 and "tot_recv_msgs=3" in done.stdout


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("coturn")
    running = Relay(free_port(), folder / "turn.log")
    command = [
        str(TURNSERVER), "--no-cli", "--no-tls", "--no-dtls", "--use-auth-secret", f"--static-auth-secret={SECRET}",
        "--realm=halfdoor.test", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers",
        f"--listening-port={running.port}", "--simple-log", f"--log-file={running.log}",
        f"--pidfile={folder / 'turn.pid'}", f"--userdb={folder / 'turn.db'}", "--verbose",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        _wait_for(running.port)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, "coturn does not listen"
        time.sleep(0.05)


async def credentials_of_2023(relay: Relay) -> dict[str, Any]:
    """What a server gives whose clock has stood still."""
    settings: ServerSettings = server_settings(turn=TurnSettings((relay.uri,), SECRET, 86_400))
    server = open_server(settings=settings)
    alice = await server.register()
    given: dict[str, Any] = await alice.get("/voip/turnServer")
    await server.close()
    return given


async def test_credentials_of_the_server_open_a_relay_and_wrong_or_expired_ones_do_not(
    relay: Relay, tmp_path: Path
) -> None:
    secret = tmp_path / "turn_secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    turn = {"uris": [relay.uri], "shared_secret_file": str(secret), "lifetime_seconds": 600}
    with halfdoor(tmp_path, settings={"turn": turn}) as server:
        alice = server.register("alice")
        _, given = server.call("GET", "/_matrix/client/v3/voip/turnServer", token=alice.access_token)
    assert given["uris"] == [relay.uri]
    assert relay.allocates(given["username"], given["password"])
    assert not relay.allocates(given["username"], given["password"][::-1])
    later = f"{int(given['username'].partition(':')[0]) + 1}:{alice.user_id}"
    assert not relay.allocates(later, given["password"])
    expired = await credentials_of_2023(relay)
    assert not relay.allocates(expired["username"], expired["password"])
