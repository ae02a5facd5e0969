"""`halfdoor room`: rooms."""

from __future__ import annotations

import argparse
from typing import Any

from homeserver.command_line.command import Commands, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.operator import SYNAPSE, Operator, add_operation, demand_yes, facts, now_ms, table

LIST = """
The rooms of this server by name.

    halfdoor room list
    halfdoor room list --search tea --order-by joined_members
    halfdoor room list --empty
"""
SHOW = """
What the server knows of one room, and who is in it.

    halfdoor room show '!abc:example.org'
"""
DELETE = """
Makes everybody of this server leave a room and deletes all that the server holds of it: events, state, receipts, names.
The files that were sent in it stay; `halfdoor media` looks after them.

    halfdoor room delete '!abc:example.org' --yes
    halfdoor room delete '!abc:example.org' --block --yes
    halfdoor room delete '!abc:example.org' --new-room-user admin --message "Moved for good" --yes
    halfdoor room delete '!abc:example.org' --keep-data --yes
"""
PURGE = """
Deletes the messages of a room before a point. State and the newest event stay. Without --all, messages of this
server's own users stay, too: there may be no other copy.

    halfdoor room purge '!abc:example.org' --older-than-days 90 --all --yes
    halfdoor room purge '!abc:example.org' --before-event '$xyz' --yes
"""
BLOCK = """
Nobody of this server enters a blocked room, whether the server knows it yet or not. Who is in it stays in it.

    halfdoor room block '!abc:example.org'
"""
UNBLOCK = """
Ends a block.

    halfdoor room unblock '!abc:example.org'
"""
JOIN = """
Puts a user of this server into a room; where it needs an invitation, a member who may invites.

    halfdoor room join '#den:example.org' alice
"""
MAKE_ADMIN = """
Gives a user the highest power that a member of this server has in the room.

    halfdoor room make-admin '!abc:example.org' alice
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "room", "Manage rooms.")
    parser = add_operation(group, "list", "List rooms.", show_all, LIST)
    parser.add_argument("--search", help="a part of the name, the address or the id")
    parser.add_argument("--public", action="store_true", help="only rooms of the directory")
    parser.add_argument("--empty", action="store_true", help="only rooms that everybody has left")
    parser.add_argument("--order-by", default="name", help="name, joined_members, state_events, ... (default: name)")
    parser.add_argument("--limit", type=int, default=1000, help="at most so many (default: 1000)")
    parser.add_argument("--from", dest="start", type=int, default=0, help="after so many")
    with_room(add_operation(group, "show", "Show one room.", show, SHOW))
    parser = with_room(add_operation(group, "delete", "Delete a room.", delete, DELETE))
    parser.add_argument("--block", action="store_true", help="let nobody enter it again")
    parser.add_argument("--keep-data", action="store_true", help="only make everybody leave")
    parser.add_argument("--force", action="store_true", help="delete it also when somebody could not be made to leave")
    parser.add_argument("--new-room-user", help="make a room of this user and move everybody there")
    parser.add_argument("--new-room-name", help="what that room is called")
    parser.add_argument("--message", help="what is said in that room")
    parser.add_argument("--yes", action="store_true", help="really")
    parser = with_room(add_operation(group, "purge", "Delete old messages of a room.", purge, PURGE))
    point = parser.add_mutually_exclusive_group(required=True)
    point.add_argument("--older-than-days", type=float, help="messages older than so many days")
    point.add_argument("--before-event", help="messages before this event")
    parser.add_argument("--all", action="store_true", help="also messages of this server's own users")
    parser.add_argument("--yes", action="store_true", help="really")
    with_room(add_operation(group, "block", "Let nobody enter a room.", block, BLOCK)).set_defaults(block=True)
    with_room(add_operation(group, "unblock", "End a block.", block, UNBLOCK)).set_defaults(block=False)
    parser = with_room(add_operation(group, "join", "Put a user into a room.", join, JOIN))
    parser.add_argument("user", help="alice, or @alice:example.org")
    parser = with_room(add_operation(group, "make-admin", "Hand out power in a room.", make_admin, MAKE_ADMIN))
    parser.add_argument("user", help="alice, or @alice:example.org")


def with_room(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("room", help="the room's id (with its exclamation mark, in single quotes)")
    return parser


def show_all(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.get(
        f"{SYNAPSE}/v1/rooms",
        search_term=arguments.search,
        public_rooms="true" if arguments.public else None,
        empty_rooms="true" if arguments.empty else None,
        order_by=arguments.order_by,
        limit=arguments.limit,
        from_=arguments.start,
    )
    rows = [
        (room["room_id"], room["name"] or room["canonical_alias"], room["joined_members"], room["version"])
        for room in answer["rooms"]
    ]
    lines = table(rows, ("room", "name", "members", "version"))
    return operator.show(answer, [*lines, f"{len(rows)} of {answer['total_rooms']} rooms"])


def show(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    room = operator.get(f"{SYNAPSE}/v1/rooms", arguments.room)
    members = operator.get(f"{SYNAPSE}/v1/rooms", arguments.room, "members")["members"]
    is_blocked = operator.get(f"{SYNAPSE}/v1/rooms", arguments.room, "block")["block"]
    shown = {**room, "blocked": is_blocked}
    lines = [*facts(shown), "", "members:", *(f"  {member}" for member in members[:50])]
    more = [f"  and {len(members) - 50} more"] if len(members) > 50 else []
    return operator.show({**shown, "members": members}, [*lines, *more])


def delete(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    demand_yes(arguments, f"end the room {arguments.room} for everybody of this server")
    body: dict[str, Any] = {
        "block": arguments.block,
        "purge": not arguments.keep_data,
        "force_purge": arguments.force and not arguments.keep_data,
    }
    if arguments.new_room_user is not None:
        body["new_room_user_id"] = operator.user_id(arguments.new_room_user)
    elif arguments.new_room_name is not None or arguments.message is not None:
        raise CommandFailed("--new-room-name and --message are for a new room: name its --new-room-user")
    body |= {
        name: value
        for name, value in (("room_name", arguments.new_room_name), ("message", arguments.message))
        if value is not None
    }
    started = operator.delete(f"{SYNAPSE}/v2/rooms", arguments.room, body=body)
    answer = operator.wait(f"{SYNAPSE}/v2/rooms/delete_status", started["delete_id"])
    done = answer["shutdown_room"]
    lines = [f"{len(done['kicked_users'])} users left; {'it is deleted' if body['purge'] else 'the room stays'}."]
    if done["new_room_id"]:
        lines.append(f"The new room is {done['new_room_id']}.")
    return operator.show(answer, lines)


def purge(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    demand_yes(arguments, f"delete old messages of {arguments.room}")
    body: dict[str, Any] = {"delete_local_events": arguments.all}
    if arguments.before_event is not None:
        body["purge_up_to_event_id"] = arguments.before_event
    else:
        body["purge_up_to_ts"] = now_ms() - round(arguments.older_than_days * 24 * 3600 * 1000)
    started = operator.post(f"{SYNAPSE}/v1/purge_history", arguments.room, body=body)
    answer = operator.wait(f"{SYNAPSE}/v1/purge_history_status", started["purge_id"])
    return operator.show(answer, ["Deleted."])


def block(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    answer = operator.put(f"{SYNAPSE}/v1/rooms", arguments.room, "block", body={"block": arguments.block})
    return operator.show(answer, ["Blocked." if arguments.block else "Not blocked any more."])


def join(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.user)
    answer = operator.post(f"{SYNAPSE}/v1/join", arguments.room, body={"user_id": user_id})
    return operator.show(answer, [f"{user_id} is in {answer['room_id']}."])


def make_admin(arguments: argparse.Namespace) -> int:
    operator = Operator(arguments)
    user_id = operator.user_id(arguments.user)
    answer = operator.post(f"{SYNAPSE}/v1/rooms", arguments.room, "make_room_admin", body={"user_id": user_id})
    return operator.show(answer, [f"{user_id} has the power now."])
