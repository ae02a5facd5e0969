"""`halfdoor federation list` and `retry`: the other servers, and trying one again at once."""

from __future__ import annotations

import argparse

from homeserver.command_line.command import Commands
from homeserver.command_line.operator import SYNAPSE, Operator, add_operation, day, table

PATH = f"{SYNAPSE}/v1/federation/destinations"
LIST = """
The servers that this one has sent something to, with since when those that do not answer have not, and when they are
tried next (UTC).

    halfdoor federation list
    halfdoor federation list --failing
    halfdoor federation list --search example.org
"""
RETRY = """
Tries a server at once that is left alone for a while because it did not answer. What it missed is sent if it does.

    halfdoor federation retry matrix.example.org
"""


def add_to(commands: Commands) -> None:
    parser = add_operation(commands, "list", "Show the servers that this one sends to.", show_all, LIST)
    parser.add_argument("--search", metavar="TEXT", help="only those with this in their name")
    parser.add_argument("--failing", action="store_true", help="only those that do not answer")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="so many (100)")
    parser = add_operation(commands, "retry", "Try a server again at once.", retry, RETRY)
    parser.add_argument("server", help="the server's name")


def show_all(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    order = "failure_ts" if arguments.failing else "destination"
    answer = operator.get(
        PATH, destination=arguments.search, limit=arguments.limit, order_by=order, dir="b" if arguments.failing else "f"
    )
    found = [one for one in answer["destinations"] if one["failure_ts"] or not arguments.failing]
    rows = [
        (
            one["destination"],
            day(one["failure_ts"]),
            day(one["retry_last_ts"] + one["retry_interval"] if one["failure_ts"] else None),
        )
        for one in found
    ]
    lines = table(rows, ("server", "failing since", "tried next"))
    return operator.show(answer, [*lines, f"{len(rows)} of {answer['total']} servers"])


def retry(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.post(PATH, arguments.server, "reset_connection")
    return operator.show(answer, [f"{arguments.server} is tried now."])
