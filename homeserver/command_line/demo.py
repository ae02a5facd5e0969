"""`halfdoor demo`: a server to try, with a staff account and a page that has the chat widget on it."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import config
from homeserver.command_line.command import Commands, add_command
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.init import create, write_private
from homeserver.command_line.running_server import NameTaken, NotRunning, RunningServer

EXPLANATION = """
The first time, makes a server named localhost in ./halfdoor-data (an SQLite database, a signing key, a staff account
with a random password); then, and every time after, starts it and prints where everything is. Ctrl-C stops it;
removing the folder forgets it. It listens to this machine only.

    halfdoor demo
    halfdoor demo --data-dir /tmp/try --port 9000
"""

CONFIGURATION = """\
# A server to try, made by `halfdoor demo`. `halfdoor config sample` prints every setting.
server_name: localhost
public_base_url: http://localhost:{port}
signing_key_file: signing.key
listeners:
  - host: 127.0.0.1
    port: {port}
database:
  sqlite_file: halfdoor.db
registration:
  # Anybody on this machine may register.
  enabled: true
  open_without_verification: true
  shared_secret_file: secrets/registration_shared_secret
logging:
  # What this demo prints stays on the screen; info shows every request.
  level: warning
webchat:
  enabled: true
  port: {webchat_port}
  demo_site: demo
  sites:
    - key: demo
      title: Lantern & Leaf
      origins: ["http://localhost:{webchat_port}", "http://127.0.0.1:{webchat_port}"]
      staff: ["@staff:localhost"]
      greeting: Hello! How can we help?
"""

STAFF = "staff"
STAFF_NAME = "Mei"
START_SECONDS = 60
LAST_PORT = 65534


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo's settings and the staff account's password."""

    settings: config.Settings
    password: str
    folder: Path


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "demo", "Start a server to try.", run, EXPLANATION)
    parser.add_argument("--data-dir", metavar="DIR", type=Path, default=Path("halfdoor-data"), help="where to keep it")
    parser.add_argument("--port", type=int, help="port to bind (default: 8008, or what it was made with)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.port is not None and not 1 <= arguments.port <= LAST_PORT:
        raise CommandFailed(f"--port must be from 1 to {LAST_PORT}: the demo page has the port after it")
    demo = prepare(arguments.data_dir, arguments.port)
    listener = demo.settings.listeners[0]
    check_free(listener.host, listener.port)
    check_free(demo.settings.webchat.host, demo.settings.webchat.port)
    print(f"Starting {demo.settings.server_name} on port {listener.port}", flush=True)
    threading.Thread(target=announce, args=(demo,), daemon=True, name="demo").start()
    from homeserver.app import run as run_server

    return run_server(demo.settings)


def prepare(folder: Path, port: int | None) -> Demo:
    """The demo in `folder`, made when it is not there."""
    file = folder / "halfdoor.yaml"
    if not file.exists():
        print(f"Making a server in {folder}", flush=True)
        create(folder, CONFIGURATION.format(port=port or 8008, webchat_port=(port or 8008) + 1))
    settings = config.load(file)
    if port is not None and settings.listeners[0].port != port:
        raise CommandFailed(
            f"{file} says port {settings.listeners[0].port}: leave out --port, or choose another --data-dir"
        )
    account = folder / "demo.json"
    if not account.exists():
        user_id = f"@{STAFF}:{settings.server_name}"
        values = {"user_id": user_id, "password": secrets.token_urlsafe(12), "url": settings.public_base_url}
        write_private(account, json.dumps(values, indent=2) + "\n")
    return Demo(settings, json.loads(account.read_text(encoding="utf-8"))["password"], folder)


def check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandFailed(
                f"port {port} of {host} cannot be used ({error.strerror}). Stop what uses it, or try another: "
                f"halfdoor demo --data-dir /tmp/halfdoor-{port + 1} --port {port + 1}"
            ) from None


def announce(demo: Demo) -> None:
    """Wait until the server answers, make the staff account if it is new, and print where everything is."""
    server = RunningServer(demo.settings)
    try:
        wait_until_answering(server)
        with contextlib.suppress(NameTaken):  # a demo that was started before
            server.register(STAFF, demo.password, admin=True, display_name=STAFF_NAME)
    except (CommandFailed, NotRunning) as error:
        print(f"halfdoor: the demo is not ready: {error}", file=sys.stderr, flush=True)
        return
    print(overview(demo), flush=True)


def wait_until_answering(server: RunningServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.call("GET", "/_matrix/client/versions")
            return
        except NotRunning:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def overview(demo: Demo) -> str:
    settings = demo.settings
    return f"""
Halfdoor is running.

  Matrix clients    {settings.public_base_url}   (as the homeserver's address)
  Staff account     @{STAFF}:{settings.server_name}   password: {demo.password}
                    (kept in {demo.folder / "demo.json"})
  Demo page         http://localhost:{settings.webchat.port}/webchat/demo
                    (write there as a visitor; the staff account is invited to the room)

Ctrl-C stops it.
"""
