"""`halfdoor version`: what is installed."""

from __future__ import annotations

import argparse
import platform
import sqlite3
from importlib import metadata

from homeserver.command_line.command import Commands, add_command


def add_to(commands: Commands) -> None:
    add_command(commands, "version", "Print the versions of Halfdoor and of what it stands on.", run, "")


def run(_: argparse.Namespace) -> int:
    print(f"halfdoor {metadata.version('halfdoor')}")
    print(f"Python {platform.python_version()}, Twisted {metadata.version('twisted')}, SQLite {sqlite3.sqlite_version}")
    return 0
