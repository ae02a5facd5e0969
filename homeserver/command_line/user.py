"""`halfdoor user add`: make an account."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys

import config
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.own_database import add_account
from homeserver.command_line.running_server import NotRunning, RunningServer

EXPLANATION = """
Asks for the password twice, unless it is piped in or made up. A running server is asked through its operators' API
(with registration.shared_secret); when none answers, the account is written into the database.

    halfdoor user add alice --admin
    halfdoor user add bob --generate-password
    printf %s "$PASSWORD" | halfdoor user add carol --password-stdin
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "user", "Manage accounts.")
    parser = add_command(group, "add", "Make an account.", add, EXPLANATION)
    parser.add_argument("name", help="the part between @ and colon, for example alice")
    parser.add_argument("--admin", action="store_true", help="the account may use the operators' API")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--generate-password", action="store_true", help="make up a password and print it")
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_config_option(parser)


def add(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    password = asked_password(arguments)
    try:
        user_id = RunningServer(settings).register(arguments.name, password, admin=arguments.admin)
    except NotRunning:
        user_id = add_account(settings, arguments.name, password, admin=arguments.admin)
    print(f"Made {user_id}{' (administrator)' if arguments.admin else ''}.")
    if arguments.generate_password:
        print(f"Password: {password}")
    return 0


def asked_password(arguments: argparse.Namespace) -> str:
    """The password as the options say."""
    if arguments.generate_password:
        return secrets.token_urlsafe(15)
    if arguments.password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        if not sys.stdin.isatty():
            raise CommandFailed("there is no terminal to ask for a password: use --password-stdin")
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandFailed("the two passwords differ. Nothing was changed.")
    if not password:
        raise CommandFailed("the password is empty. Nothing was changed.")
    return password
