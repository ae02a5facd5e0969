"""`halfdoor export-user`: everything that the server keeps of one account, for its owner."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from homeserver.command_line.command import Commands
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.operator import OWN, Operator, add_operation

EXPLANATION = """
Writes a ZIP archive of JSON files: the account, its devices and settings, its files, and the events of its rooms as far
as it may see them. Passwords, tokens and keys are not in it. Nobody but the owner of this process can read the file.

    halfdoor export-user alice --output alice.zip
    halfdoor export-user alice --output alice.zip --media
"""


def add_to(commands: Commands) -> None:
    parser = add_operation(commands, "export-user", "Export what is kept of an account.", export, EXPLANATION)
    parser.add_argument("name", help="alice, or @alice:example.org")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the archive; it must not exist")
    parser.add_argument("--media", action="store_true", help="put the files that were uploaded in, too")


def export(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    if arguments.output.exists():
        raise CommandFailed(f"{arguments.output} exists already. Nothing was changed.")
    archive = operator.get(f"{OWN}/users", user_id, "export", media="true" if arguments.media else None)
    if not isinstance(archive, bytes):
        raise CommandFailed("the server answered, but with no archive")
    try:
        descriptor = os.open(arguments.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(archive)
    except OSError as error:
        raise CommandFailed(f"{arguments.output} cannot be written: {error.strerror}") from None
    told = {"user_id": user_id, "file": str(arguments.output), "bytes": len(archive)}
    return operator.show(told, [f"Wrote {arguments.output} ({len(archive)} bytes)."])
