"""`halfdoor token`: registration tokens, which let somebody make an account (registration.token_required)."""

from __future__ import annotations

import argparse
import json
import secrets
import time
from dataclasses import asdict

import config
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.own_database import with_database
from homeserver.storage.database import Database
from homeserver.storage.registration_tokens import RegistrationToken, RegistrationTokenStore

ADD = """
Prints a token that whoever registers must give when registration.token_required is true. Works while the server runs
and while it does not.

    halfdoor token add                       for any number of accounts, for ever
    halfdoor token add --uses 1 --days 7     for one account, within a week
"""

LIST = """
Each token with how often it was used, how often it may be, and until when.

    halfdoor token list
"""

REMOVE = """
The accounts that were made with it stay.

    halfdoor token remove WcN2mXPvXtZ3tFqa
"""

MS_IN_A_DAY = 24 * 60 * 60 * 1000


def add_to(commands: Commands) -> None:
    group = add_group(commands, "token", "Manage registration tokens.")
    parser = add_command(group, "add", "Make a registration token.", add, ADD)
    parser.add_argument("--uses", type=positive, help="how many accounts it is good for (default: no limit)")
    parser.add_argument("--days", type=positive, help="how many days it is good for (default: for ever)")
    add_config_option(parser)
    parser = add_command(group, "list", "List registration tokens.", show_all, LIST)
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    add_config_option(parser)
    parser = add_command(group, "remove", "Remove a registration token.", remove, REMOVE)
    parser.add_argument("token")
    add_config_option(parser)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def add(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    expires = None if arguments.days is None else now_ms() + arguments.days * MS_IN_A_DAY
    token = RegistrationToken(secrets.token_urlsafe(12), uses_allowed=arguments.uses, expires_ts=expires)

    async def work(database: Database) -> bool:
        return await database.write(lambda txn: RegistrationTokenStore(database).add_token(txn, token))

    with_database(settings, work)
    print(token.token)
    return 0


def show_all(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> list[RegistrationToken]:
        return await RegistrationTokenStore(database).list_tokens()

    tokens = with_database(config.load(arguments.config), work)
    if arguments.json:
        print(json.dumps([asdict(token) for token in tokens], indent=2))
        return 0
    for token in tokens:
        uses = "no limit" if token.uses_allowed is None else f"of {token.uses_allowed}"
        until = "for ever" if token.expires_ts is None else f"until {day(token.expires_ts)}"
        print(f"{token.token}  used {token.completed} ({uses}), {until}")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> bool:
        return await database.write(lambda txn: RegistrationTokenStore(database).remove_token(txn, arguments.token))

    if not with_database(config.load(arguments.config), work):
        raise CommandFailed("there is no such token; `halfdoor token list` lists them")
    print("Removed.")
    return 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def day(timestamp_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(timestamp_ms / 1000))
