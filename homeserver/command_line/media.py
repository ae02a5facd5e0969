"""`halfdoor media`: files that people sent."""

from __future__ import annotations

import argparse

from homeserver.command_line.command import Commands, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.operator import SYNAPSE, Operator, add_operation, day, demand_yes, facts, now_ms, table

LIST = """
The files that an account uploaded, the newest first. Without a name: who uploaded how much.

    halfdoor media list alice
    halfdoor media list
"""
SHOW = """
What the server knows of one file.

    halfdoor media show mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV
"""
QUARANTINE = """
Serves a file, and every other with the same content, to nobody; or all files of an account or a room. Nothing is
deleted.

    halfdoor media quarantine mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV
    halfdoor media quarantine --user spammer
    halfdoor media quarantine --room '!abc:example.org'
"""
RELEASE = """
Serves a file again.

    halfdoor media release mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV
"""
PROTECT = """
Keeps a file out of later quarantines, as for a sticker that everybody uses.

    halfdoor media protect mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV
"""
UNPROTECT = """
Ends that.

    halfdoor media unprotect mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV
"""
DELETE = """
Deletes a file of this server, or all files of an account.

    halfdoor media delete mxc://example.org/AQDaVFlbkQoErdOgqWRgiGSV --yes
    halfdoor media delete --user spammer --yes
"""
DELETE_OLD = """
Deletes files of this server that nobody used for some days. Pictures of accounts and rooms stay.

    halfdoor media delete-old --days 365 --larger-than 10000000 --yes
"""
PURGE_REMOTE = """
Forgets files of other servers that nobody used for some days; they are fetched again when somebody wants them.

    halfdoor media purge-remote --days 30
"""
DAY_MS = 24 * 3600 * 1000


def add_to(commands: Commands) -> None:
    group = add_group(commands, "media", "Manage files.")
    parser = add_operation(group, "list", "List files.", show_all, LIST)
    parser.add_argument("name", nargs="?", help="whose: alice, or @alice:example.org")
    parser.add_argument("--limit", type=int, default=1000, help="at most so many (default: 1000)")
    with_address(add_operation(group, "show", "Show one file.", show, SHOW))
    parser = add_operation(group, "quarantine", "Serve files to nobody.", quarantine, QUARANTINE)
    with_choice(parser).add_argument("--room", help="all that unencrypted messages of this room name")
    with_address(add_operation(group, "release", "Serve a file again.", release, RELEASE))
    with_address(add_operation(group, "protect", "Keep a file out of quarantines.", protect, PROTECT))
    with_address(add_operation(group, "unprotect", "Do not any more.", protect, UNPROTECT)).set_defaults(undo=True)
    parser = add_operation(group, "delete", "Delete files.", delete, DELETE)
    with_choice(parser)
    parser.add_argument("--yes", action="store_true", help="really")
    parser = add_operation(group, "delete-old", "Delete files that nobody uses.", delete_old, DELETE_OLD)
    parser.add_argument("--days", type=float, required=True, help="not used for so many days")
    parser.add_argument("--larger-than", type=int, default=0, help="of more bytes than this")
    parser.add_argument("--yes", action="store_true", help="really")
    parser = add_operation(group, "purge-remote", "Forget files of other servers.", purge_remote, PURGE_REMOTE)
    parser.add_argument("--days", type=float, required=True, help="not used for so many days")


def with_address(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("address", help="mxc://server/id")
    return parser


def with_choice(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("address", nargs="?", help="mxc://server/id")
    parser.add_argument("--user", help="all files of this account")
    return parser


def parts(address: str) -> tuple[str, str]:
    """(server, id) of an address."""
    server, _, media_id = address.removeprefix("mxc://").partition("/")
    if not address.startswith("mxc://") or not server or not media_id:
        raise CommandFailed(f"expected an address such as mxc://example.org/abc, got {address!r}")
    return server, media_id


def show_all(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    if arguments.name is None:
        answer = operator.get(
            f"{SYNAPSE}/v1/statistics/users/media", order_by="media_length", dir="b", limit=arguments.limit
        )
        rows = [(one["user_id"], one["media_count"], one["media_length"]) for one in answer["users"]]
        return operator.show(answer, table(rows, ("user", "files", "bytes")))
    user_id = operator.user_id(arguments.name)
    answer = operator.get(f"{SYNAPSE}/v1/users", user_id, "media", limit=arguments.limit)
    files = [
        (
            f"mxc://{operator.server_name}/{one['media_id']}",
            one["upload_name"],
            one["media_type"],
            one["media_length"],
            day(one["created_ts"]),
            "quarantined" if one["quarantined_by"] else "",
        )
        for one in answer["media"]
    ]
    lines = table(files, ("file", "name", "type", "bytes", "uploaded", ""))
    return operator.show(answer, [*lines, f"{len(files)} of {answer['total']} files"])


def show(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.get(f"{SYNAPSE}/v1/media", *parts(arguments.address))
    return operator.show(answer, facts(answer["media_info"]))


def quarantine(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    check_one(arguments, "address", "user", "room")
    if arguments.user is not None:
        answer = operator.post(f"{SYNAPSE}/v1/user", operator.user_id(arguments.user), "media", "quarantine")
    elif arguments.room is not None:
        answer = operator.post(f"{SYNAPSE}/v1/room", arguments.room, "media", "quarantine")
    else:
        answer = operator.post(f"{SYNAPSE}/v1/media/quarantine", *parts(arguments.address))
        return operator.show(answer, ["Nobody gets it any more."])
    return operator.show(answer, [f"Nobody gets {answer['num_quarantined']} files any more."])


def release(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.post(f"{SYNAPSE}/v1/media/unquarantine", *parts(arguments.address))
    return operator.show(answer, ["It is served again."])


def protect(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    undo = getattr(arguments, "undo", False)
    path = f"{SYNAPSE}/v1/media/{'unprotect' if undo else 'protect'}"
    answer = operator.post(path, parts(arguments.address)[1])
    return operator.show(answer, ["Not protected any more." if undo else "Protected."])


def delete(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    check_one(arguments, "address", "user")
    if arguments.user is None:
        demand_yes(arguments, f"delete {arguments.address}")
        answer = operator.delete(f"{SYNAPSE}/v1/media", *parts(arguments.address))
        return operator.show(answer, ["Deleted."])
    user_id = operator.user_id(arguments.user)
    demand_yes(arguments, f"delete every file of {user_id}")
    gone: list[str] = []
    while answer := operator.delete(f"{SYNAPSE}/v1/users", user_id, "media")["deleted_media"]:
        gone += answer
    return operator.show({"deleted_media": gone, "total": len(gone)}, [f"Deleted {len(gone)} files."])


def delete_old(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    demand_yes(arguments, f"delete files that nobody used for {arguments.days:g} days")
    before = now_ms() - round(arguments.days * DAY_MS)
    answer = operator.post(f"{SYNAPSE}/v1/media/delete", before_ts=before, size_gt=arguments.larger_than)
    return operator.show(answer, [f"Deleted {answer['total']} files."])


def purge_remote(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    before = now_ms() - round(arguments.days * DAY_MS)
    answer = operator.post(f"{SYNAPSE}/v1/purge_media_cache", before_ts=before)
    return operator.show(answer, [f"Forgot {answer['deleted']} files of other servers."])


def check_one(arguments: argparse.Namespace, *names: str) -> None:
    if sum(getattr(arguments, name) is not None for name in names) != 1:
        raise CommandFailed("say which: one address" + "".join(f", or --{name}" for name in names[1:]))
