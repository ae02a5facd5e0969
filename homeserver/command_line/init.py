"""`halfdoor init`: a new server's folder, with configuration, signing key and secrets."""

from __future__ import annotations

import argparse
import io
import os
import secrets
import stat
from pathlib import Path

from signedjson.key import generate_signing_key, write_signing_keys

import config
from config.described import as_yaml
from homeserver.command_line.command import Commands, add_command
from homeserver.command_line.failure import CommandFailed

EXPLANATION = """
Makes a folder with halfdoor.yaml, the server's signing key and a secret for registering accounts, both readable by you
alone. Nothing that is there already is overwritten.

The server name is what follows the colon in user ids (@alice:example.org). It can never be changed.

    halfdoor init --server-name example.org --data-dir /var/lib/halfdoor
    halfdoor init --server-name example.org --data-dir . --public-base-url https://matrix.example.org
"""

CONFIGURATION = """\
# Configuration of {server_name}. `halfdoor config sample` prints every setting with its meaning and default.
server_name: {server_name}
public_base_url: {public_base_url}
signing_key_file: signing.key
listeners:
  - host: {host}
    port: {port}
database:
  sqlite_file: halfdoor.db
registration:
  shared_secret_file: secrets/registration_shared_secret
"""


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "init", "Set up a new server.", run, EXPLANATION)
    parser.add_argument("--server-name", metavar="NAME", required=True, help="for example example.org")
    parser.add_argument("--data-dir", metavar="DIR", required=True, type=Path, help="where to put everything")
    parser.add_argument("--public-base-url", metavar="URL", help="what clients use (default: https://NAME)")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8008, help="port to bind (default: 8008)")


def run(arguments: argparse.Namespace) -> int:
    text = CONFIGURATION.format(
        server_name=as_yaml(arguments.server_name),
        public_base_url=as_yaml(arguments.public_base_url or f"https://{arguments.server_name}"),
        host=as_yaml(arguments.host),
        port=arguments.port,
    )
    folder: Path = arguments.data_dir
    file = create(folder, text)
    print(f"Made {file}, the signing key and the secret for registering accounts.")
    print(f"Start the server with:    halfdoor serve --config {file}")
    print(f"Then make an account:     halfdoor user add NAME --admin --config {file}")
    return 0


def create(folder: Path, text: str) -> Path:
    """Write a server's files with `text` as its configuration; the path of the configuration.

    Raises CommandFailed when one of them exists, and ConfigurationError when `text` is not a good configuration; then
    nothing was written.
    """
    files = {
        folder / "signing.key": signing_key(),
        folder / "secrets" / "registration_shared_secret": secrets.token_hex(32) + "\n",
        folder / "halfdoor.yaml": text,
    }
    for file in files:
        if file.exists():
            raise CommandFailed(f"{file} exists already. Nothing was changed; choose another --data-dir.")
    config.parse(text.replace("shared_secret_file", "#"), folder=folder, source=folder / "halfdoor.yaml")
    try:
        for file, content in files.items():
            file.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
            write_private(file, content)
    except OSError as error:
        raise CommandFailed(f"cannot write {error.filename}: {error.strerror}") from None
    return folder / "halfdoor.yaml"


def signing_key() -> str:
    """A new ed25519 key in signedjson's file format: algorithm, version and seed on one line."""
    stream = io.StringIO()
    write_signing_keys(stream, [generate_signing_key("a_" + secrets.token_hex(3))])
    return stream.getvalue()


def write_private(file: Path, content: str) -> None:
    """A new file that only its owner can read; an existing one is not touched (FileExistsError)."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
