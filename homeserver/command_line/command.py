"""How commands are declared."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:  # argparse's class knows no parameter when it runs
    Commands = argparse._SubParsersAction


def add_command(
    commands: Commands, name: str, summary: str, run: Callable[[argparse.Namespace], int], explanation: str
) -> argparse.ArgumentParser:
    """A command with its help: `summary` for the list of commands, `explanation` with examples for its own page."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{textwrap.dedent(explanation).strip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Commands, name: str, summary: str) -> Commands:
    """A command that has commands of its own, such as `user add`."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("HALFDOOR_CONFIG", "halfdoor.yaml"),
        help="the configuration (default: $HALFDOOR_CONFIG or ./halfdoor.yaml)",
    )
