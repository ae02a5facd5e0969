"""`halfdoor user`: accounts."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
from typing import Any

import config
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.operator import SYNAPSE, Operator, add_operation, day, demand_yes, facts, table
from homeserver.command_line.own_database import add_account
from homeserver.command_line.running_server import NotRunning, RunningServer

ADD = """
Asks for the password twice, unless it is piped in or made up. A running server is asked through its operators' API
(with registration.shared_secret); when none answers, the account is written into the database.

    halfdoor user add alice --admin
    halfdoor user add bob --generate-password
    printf %s "$PASSWORD" | halfdoor user add carol --password-stdin
"""
LIST = """
The accounts of this server by name, without those that have ended unless they are asked for.

    halfdoor user list
    halfdoor user list --search ali --admins
    halfdoor user list --deactivated --json
"""
SHOW = """
What the server knows of one account: flags, addresses, devices, rooms.

    halfdoor user show alice
"""
MODIFY = """
Changes what is named and leaves the rest.

    halfdoor user modify alice --display-name "Alice Marigold" --admin
    halfdoor user modify shop-bot --type bot --no-admin
"""
NEW_LOGIN = """
Sets a new password and logs the account out everywhere, unless --keep-sessions is said.

    halfdoor user password alice --generate-password
"""
DEACTIVATE = """
Ends an account: it cannot log in any more, leaves its rooms and loses its settings. Its name is never given again.
With --erase, those who come later do not get to read what it sent. `halfdoor user activate` opens it again, without
its rooms and settings.

    halfdoor user deactivate alice --yes
    halfdoor user deactivate alice --erase --yes
"""
ACTIVATE = """
Opens an account that was deactivated, with a new password.

    halfdoor user activate alice --generate-password
"""
LOCK = """
A locked account can do nothing, and is as it was once it is unlocked.

    halfdoor user lock alice
"""
UNLOCK = """
Ends a lock.

    halfdoor user unlock alice
"""
SUSPEND = """
A suspended account reads and leaves, but says nothing and enters nothing.

    halfdoor user suspend alice
"""
UNSUSPEND = """
Ends a suspension.

    halfdoor user unsuspend alice
"""
LOGOUT = """
Removes the devices of an account, with its sessions and keys, or one of them.

    halfdoor user logout alice
    halfdoor user logout alice --device QBUAZIFURK
"""
REDACT = """
Redacts everything that an account sent, in all its rooms or in some; the newest 1000 events of each.

    halfdoor user redact spammer --yes
    halfdoor user redact spammer --room '!abc:example.org' --reason spam --yes
"""
RATE_LIMIT = """
How fast an account may send, in place of the configured limit. Without options it shows what holds.

    halfdoor user rate-limit shop-bot --per-second 20 --burst 100
    halfdoor user rate-limit shop-bot --none
    halfdoor user rate-limit shop-bot --default
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "user", "Manage accounts.")
    parser = add_command(group, "add", "Make an account.", add, ADD)
    parser.add_argument("name", help="the part between @ and colon, for example alice")
    parser.add_argument("--admin", action="store_true", help="the account may use the operators' API")
    add_password_options(parser)
    add_config_option(parser)
    parser = add_operation(group, "list", "List accounts.", show_all, LIST)
    parser.add_argument("--search", help="a part of the name")
    parser.add_argument("--admins", action="store_true", help="administrators only")
    parser.add_argument("--no-guests", action="store_true", help="without guests")
    parser.add_argument("--deactivated", action="store_true", help="also those that have ended")
    parser.add_argument("--limit", type=int, default=1000, help="at most so many (default: 1000)")
    parser.add_argument("--from", dest="start", type=int, default=0, help="after so many")
    with_name(add_operation(group, "show", "Show one account.", show, SHOW))
    parser = with_name(add_operation(group, "modify", "Change an account.", modify, MODIFY))
    parser.add_argument("--display-name", help="empty to remove it")
    parser.add_argument("--avatar-url", help="an mxc:// address; empty to remove it")
    parser.add_argument("--admin", action=argparse.BooleanOptionalAction, help="whether it operates the server")
    parser.add_argument("--type", choices=("bot", "support", "none"), help="what kind of account it is")
    parser = with_name(add_operation(group, "password", "Set a new password.", set_password, NEW_LOGIN))
    parser.add_argument("--keep-sessions", action="store_true", help="log nobody out")
    add_password_options(parser)
    parser = with_name(add_operation(group, "deactivate", "End an account.", deactivate, DEACTIVATE))
    parser.add_argument("--erase", action="store_true", help="hide what it sent from those who come later")
    parser.add_argument("--yes", action="store_true", help="really")
    parser = with_name(add_operation(group, "activate", "Open an ended account again.", activate, ACTIVATE))
    add_password_options(parser)
    for name, summary, explanation, flag in (
        ("lock", "Lock an account.", LOCK, {"locked": True}),
        ("unlock", "Unlock an account.", UNLOCK, {"locked": False}),
        ("suspend", "Suspend an account.", SUSPEND, {"suspended": True}),
        ("unsuspend", "End a suspension.", UNSUSPEND, {"suspended": False}),
    ):
        with_name(add_operation(group, name, summary, set_flag, explanation)).set_defaults(flag=flag)
    parser = with_name(add_operation(group, "logout", "Log an account out.", log_out, LOGOUT))
    parser.add_argument("--device", action="append", help="only this device; may be repeated")
    parser = with_name(add_operation(group, "redact", "Redact all that an account sent.", redact, REDACT))
    parser.add_argument("--room", action="append", default=[], help="only in this room; may be repeated")
    parser.add_argument("--reason", help="what members read")
    parser.add_argument("--yes", action="store_true", help="really")
    parser = with_name(add_operation(group, "rate-limit", "Limit how fast an account sends.", rate_limit, RATE_LIMIT))
    parser.add_argument("--per-second", type=int, help="events a second in the long run")
    parser.add_argument("--burst", type=int, help="events at once")
    parser.add_argument("--none", action="store_true", help="no limit")
    parser.add_argument("--default", action="store_true", help="what is configured")


def with_name(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", help="alice, or @alice:example.org")
    return parser


def add_password_options(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--generate-password", action="store_true", help="make up a password and print it")
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


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


def show_all(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.get(
        f"{SYNAPSE}/v2/users",
        name=arguments.search,
        admins="true" if arguments.admins else None,
        guests="false" if arguments.no_guests else None,
        deactivated="true" if arguments.deactivated else None,
        locked="true",
        limit=arguments.limit,
        from_=arguments.start,
    )
    rows = [
        (user["name"], user["displayname"], day(user["creation_ts"]), day(user["last_seen_ts"]), ", ".join(flags(user)))
        for user in answer["users"]
    ]
    lines = table(rows, ("user", "name", "made", "last seen", ""))
    return operator.show(answer, [*lines, f"{len(rows)} of {answer['total']} accounts"])


def flags(user: dict[str, Any]) -> list[str]:
    """What is special about an account."""
    names = ("admin", "is_guest", "locked", "suspended", "deactivated", "erased")
    found = [name.removeprefix("is_") for name in names if user.get(name)]
    return [*found, user["user_type"]] if user.get("user_type") else found


def show(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    user = operator.get(f"{SYNAPSE}/v2/users", user_id)
    devices = operator.get(f"{SYNAPSE}/v2/users", user_id, "devices")["devices"]
    rooms = operator.get(f"{SYNAPSE}/v1/users", user_id, "joined_rooms")["joined_rooms"]
    shown = {
        "user": user["name"],
        "name": user["displayname"],
        "avatar": user["avatar_url"],
        "made": day(user["creation_ts"]),
        "last seen": day(user["last_seen_ts"]) or None,
        "is": ", ".join(flags(user)) or None,
        "addresses": ", ".join(each["address"] for each in user["threepids"]) or None,
        "bridge": user["appservice_id"],
        "devices": len(devices),
        "rooms": len(rooms),
    }
    return operator.show({**user, "devices": devices, "joined_rooms": rooms}, facts(shown))


def modify(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    wanted = {
        "displayname": arguments.display_name,
        "avatar_url": arguments.avatar_url,
        "admin": arguments.admin,
    }
    body: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if arguments.type is not None:
        body["user_type"] = None if arguments.type == "none" else arguments.type
    if not body:
        raise CommandFailed("nothing to change was said; --help lists what can be")
    return change(operator, arguments, body, "Changed")


def change(operator: Operator, arguments: argparse.Namespace, body: dict[str, Any], deed: str) -> int:
    """Change an account that exists; the API would make one that does not."""
    user_id = operator.user_id(arguments.name)
    operator.get(f"{SYNAPSE}/v2/users", user_id)
    return operator.show(operator.put(f"{SYNAPSE}/v2/users", user_id, body=body), [f"{deed} {user_id}."])


def set_password(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id, password = operator.user_id(arguments.name), asked_password(arguments)
    body = {"new_password": password, "logout_devices": not arguments.keep_sessions}
    answer = operator.post(f"{SYNAPSE}/v1/reset_password", user_id, body=body)
    told = [f"Password: {password}"] if arguments.generate_password else []
    shown = {"user_id": user_id, "password": password} if arguments.generate_password else answer
    return operator.show(shown, [f"{user_id} has a new password.", *told])


def deactivate(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    demand_yes(arguments, f"end the account {user_id}{' and hide what it sent' if arguments.erase else ''}")
    answer = operator.post(f"{SYNAPSE}/v1/deactivate", user_id, body={"erase": arguments.erase})
    return operator.show(answer, [f"Ended {user_id}."])


def activate(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    password = asked_password(arguments)
    status = change(operator, arguments, {"deactivated": False, "password": password}, "Opened")
    if arguments.generate_password:
        print(f"Password: {password}", file=sys.stderr if arguments.json else sys.stdout)
    return status


def set_flag(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    (name, value), *_ = arguments.flag.items()
    return change(operator, arguments, arguments.flag, f"{'Set' if value else 'Removed'} {name}:")


def log_out(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    listed = operator.get(f"{SYNAPSE}/v2/users", user_id, "devices")["devices"]
    known = [device["device_id"] for device in listed]
    wanted = arguments.device or known
    missing = [device for device in wanted if device not in known]
    if missing:
        raise CommandFailed(f"{user_id} has no device {missing[0]}. Nothing was changed.")
    operator.post(f"{SYNAPSE}/v2/users", user_id, "delete_devices", body={"devices": wanted})
    return operator.show({"deleted_devices": wanted}, [f"Logged out {len(wanted)} devices of {user_id}."])


def redact(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.name)
    demand_yes(arguments, f"redact everything that {user_id} sent")
    body = {"rooms": arguments.room, "reason": arguments.reason}
    started = operator.post(f"{SYNAPSE}/v1/user", user_id, "redact", body=body)
    answer = operator.wait(f"{SYNAPSE}/v1/user/redact_status", started["redact_id"])
    failed = len(answer["failed_redactions"])
    lines = [f"Redacted {answer['successful_redactions']} events of {user_id}."]
    return operator.show(answer, [*lines, f"{failed} could not be redacted."] if failed else lines)


def rate_limit(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    path = (f"{SYNAPSE}/v1/users", operator.user_id(arguments.name), "override_ratelimit")
    if arguments.default:
        operator.delete(*path)
    elif arguments.none:
        operator.post(*path, body={"messages_per_second": 0, "burst_count": 0})
    elif arguments.per_second is not None or arguments.burst is not None:
        per_second = arguments.per_second or 1
        body = {"messages_per_second": per_second, "burst_count": arguments.burst or per_second}
        operator.post(*path, body=body)
    answer = operator.get(*path)
    if not answer:
        return operator.show(answer, ["The configured limit holds."])
    if not answer["messages_per_second"]:
        return operator.show(answer, ["No limit holds."])
    told = f"{answer['messages_per_second']} events a second, {answer['burst_count']} at once."
    return operator.show(answer, [told])


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
