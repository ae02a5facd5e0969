"""`halfdoor notice`: what the server tells a user."""

from __future__ import annotations

import argparse

from homeserver.command_line.command import Commands
from homeserver.command_line.operator import SYNAPSE, Operator, add_operation

EXPLANATION = """
Sends a message from the server's own account (server_notices.localpart), in a room that the user cannot leave.

    halfdoor notice alice "The server is down on Sunday from 6 to 7."
"""


def add_to(commands: Commands) -> None:
    parser = add_operation(commands, "notice", "Tell a user something as the server.", send, EXPLANATION)
    parser.add_argument("name", help="alice, or @alice:example.org")
    parser.add_argument("text")


def send(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    body = {"user_id": user_id, "content": {"msgtype": "m.text", "body": arguments.text}}
    return operator.show(operator.post(f"{SYNAPSE}/v1/send_server_notice", body=body), [f"Told {user_id}."])
