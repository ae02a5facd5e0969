"""`halfdoor report`: what users reported."""

from __future__ import annotations

import argparse

from homeserver.command_line.command import Commands, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.operator import OWN, SYNAPSE, Operator, add_operation, day, facts, table

LIST = """
Reports of messages, users and rooms, the newest first.

    halfdoor report list
"""
SHOW = """
One report; of a message that is still there, also what it says.

    halfdoor report show 17
"""
REMOVE = """
Forgets a report that was dealt with.

    halfdoor report remove 17
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "report", "Read what users reported.")
    parser = add_operation(group, "list", "List reports.", show_all, LIST)
    parser.add_argument("--limit", type=int, default=100, help="at most so many (default: 100)")
    for name, summary, run, explanation in (
        ("show", "Show one report.", show, SHOW),
        ("remove", "Forget a report.", remove, REMOVE),
    ):
        add_operation(group, name, summary, run, explanation).add_argument("number", type=int)


def show_all(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.get(f"{OWN}/reports", limit=arguments.limit)
    rows = [
        (
            report["id"],
            day(report["received_ts"]),
            report["reporter"],
            report.get("event_id") or report.get("user_id") or report.get("room_id"),
            report["reason"][:60],
        )
        for report in answer["reports"]
    ]
    return operator.show(answer, table(rows, ("number", "when", "by", "about", "reason")))


def show(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    found = [one for one in operator.get(f"{OWN}/reports", limit=10_000)["reports"] if one["id"] == arguments.number]
    if not found:
        raise CommandFailed(f"there is no report {arguments.number}; `halfdoor report list` lists them")
    report = found[0]
    if "event_id" in report:
        report = operator.get(f"{SYNAPSE}/v1/event_reports", str(arguments.number))
    shown = {**report, "received_ts": day(report["received_ts"])}
    event = shown.pop("event_json", None)
    if event:
        shown["event_type"], shown["says"] = event.get("type"), event.get("content", {}).get("body")
    return operator.show(report, facts(shown))


def remove(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.delete(f"{OWN}/reports", str(arguments.number))
    return operator.show(answer, ["Removed."])
