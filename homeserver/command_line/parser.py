"""Puts the commands together and runs the one that was asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import config
from homeserver.command_line import (
    configuration,
    demo,
    export_user,
    federation,
    init,
    mail,
    media,
    notice,
    report,
    room,
    serve,
    token,
    user,
    version,
)
from homeserver.command_line.failure import CommandFailed

DESCRIPTION = """\
Halfdoor, a Matrix homeserver with a door to the street.

To try it:                      halfdoor demo
To set up a server:             halfdoor init --server-name example.org --data-dir /var/lib/halfdoor
To start it:                    halfdoor serve --config /var/lib/halfdoor/halfdoor.yaml
To make the first account:      halfdoor user add alice --admin --config /var/lib/halfdoor/halfdoor.yaml
To see what a command takes:    halfdoor COMMAND --help
"""

EPILOG = """\
Commands that need the configuration look for --config FILE, then for the environment variable HALFDOOR_CONFIG, then
for halfdoor.yaml in the current folder. Exit status: 0 done, 1 not done (a sentence says why), 2 wrong usage or
configuration.
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="halfdoor",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        serve,
        init,
        demo,
        user,
        room,
        media,
        mail,
        token,
        report,
        notice,
        export_user,
        federation,
        configuration,
        version,
    ):
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    chosen = build_parser().parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
    except config.ConfigurationError as error:
        print(f"halfdoor: {error}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"halfdoor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status
