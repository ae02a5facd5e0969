"""What the tools of the field ask of this API, and the fields that they read of the answers.

Facts taken from reading what they send: synapse-admin and ketesa (web consoles) and Draupnir (a moderation bot) call
the paths below and decode these members. Who a row is for stands behind it: S, K and D.
"""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.support.server import SERVER_NAME, Server, User

V1, V2, V3 = "/_synapse/admin/v1", "/_synapse/admin/v2", "/_synapse/admin/v3"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
YES_NO: Schema = {"type": "boolean"}
ANY: Schema = {}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def some(schema: Schema) -> Schema:
    """A list with at least one entry, so that the entries are looked at."""
    return {"type": "array", "items": schema, "minItems": 1}


def none_or_more(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def members(**fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(fields)}


USER = {
    "name": TEXT,
    "is_guest": YES_NO,
    "admin": YES_NO,
    "user_type": maybe({"enum": ["bot", "support"]}),
    "deactivated": YES_NO,
    "erased": YES_NO,
    "shadow_banned": YES_NO,
    "displayname": maybe(TEXT),
    "avatar_url": maybe(TEXT),
    "creation_ts": NUMBER,
    "locked": YES_NO,
}
ROOM = {
    "room_id": TEXT,
    "name": maybe(TEXT),
    "canonical_alias": maybe(TEXT),
    "joined_members": NUMBER,
    "joined_local_members": NUMBER,
    "version": TEXT,
    "creator": TEXT,
    "encryption": maybe(TEXT),
    "federatable": YES_NO,
    "public": YES_NO,
    "join_rules": maybe(TEXT),
    "guest_access": maybe({"enum": ["can_join", "forbidden"]}),
    "history_visibility": maybe({"enum": ["invited", "joined", "shared", "world_readable"]}),
    "state_events": NUMBER,
    "room_type": maybe(TEXT),
}
EVENT = members(type=TEXT, event_id=TEXT, sender=TEXT, origin_server_ts=NUMBER, content={"type": "object"})
DEVICE = members(
    device_id=TEXT,
    display_name=maybe(TEXT),
    last_seen_ip=maybe(TEXT),
    last_seen_ts=maybe(NUMBER),
    last_seen_user_agent=maybe(TEXT),
    user_id=TEXT,
)
TOKEN = members(token=TEXT, uses_allowed=maybe(NUMBER), pending=NUMBER, completed=NUMBER, expiry_time=maybe(NUMBER))
REPORT = members(
    id=NUMBER,
    received_ts=NUMBER,
    room_id=TEXT,
    event_id=TEXT,
    sender=TEXT,
    user_id=TEXT,
    name=maybe(TEXT),
    reason=maybe(TEXT),
    score=maybe(NUMBER),
    canonical_alias=maybe(TEXT),
)
MEDIA = members(
    media_id=TEXT,
    media_length=NUMBER,
    media_type=TEXT,
    created_ts=NUMBER,
    last_access_ts=maybe(NUMBER),
    quarantined_by=maybe(TEXT),
    safe_from_quarantine=YES_NO,
    upload_name=maybe(TEXT),
)
CONTEXT = members(
    event=EVENT, events_before=none_or_more(EVENT), events_after=none_or_more(EVENT), start=TEXT, end=TEXT
)

# Method, path, query or body, and the answer's shape. {user}, {room}, {event}, {media} and {server} are filled in.
TABLE: list[tuple[str, str, dict[str, Any], Schema]] = [
    # S K D
    ("GET", f"{V1}/server_version", {}, members(server_version=TEXT)),
    (
        "GET",
        f"{V2}/users",
        {
            "from": 0,
            "limit": 10,
            "guests": "true",
            "deactivated": "false",
            "order_by": "name",
            "dir": "f",
            "locked": "true",
        },
        members(users=some(members(**USER)), total=NUMBER),
    ),  # S
    ("GET", f"{V3}/users", {"from": 0, "limit": 10, "deactivated": "false"}, members(users=some(members(**USER)))),  # K
    (
        "GET",
        f"{V2}/users/{{user}}",
        {},
        members(
            **USER, last_seen_ts=NUMBER, suspended=YES_NO, threepids=none_or_more(ANY), external_ids=none_or_more(ANY)
        ),
    ),  # S K D
    (
        "PUT",
        f"{V2}/users/{{user}}",
        {
            "displayname": "A",
            "admin": False,
            "deactivated": False,
            "locked": False,
            "threepids": [],
            "external_ids": [],
            "user_type": None,
            "erased": False,
        },
        members(**USER),
    ),  # S K
    ("GET", f"{V1}/users/{{user}}/admin", {}, members(admin=YES_NO)),  # D
    (
        "GET",
        f"{V1}/whois/{{user}}",
        {},
        members(
            user_id=TEXT,
            devices={
                "type": "object",
                "additionalProperties": members(
                    sessions=some(members(connections=some(members(ip=TEXT, last_seen=NUMBER, user_agent=TEXT))))
                ),
            },
        ),
    ),  # S K
    ("GET", f"{V2}/users/{{user}}/devices", {}, members(devices=some(DEVICE), total=NUMBER)),  # S K
    ("GET", f"{V1}/users/{{user}}/joined_rooms", {}, members(joined_rooms=some(TEXT), total=NUMBER)),  # S K
    ("GET", f"{V1}/users/{{user}}/memberships", {}, members(memberships={"type": "object"}, total=NUMBER)),  # K
    ("GET", f"{V1}/users/{{user}}/pushers", {}, members(pushers=none_or_more(ANY), total=NUMBER)),  # S K
    (
        "GET",
        f"{V1}/users/{{user}}/media",
        {"from": 0, "limit": 10, "order_by": "created_ts", "dir": "b"},
        members(media=some(MEDIA), total=NUMBER),
    ),  # S K
    (
        "GET",
        f"{V1}/users/{{user}}/accountdata",
        {},
        members(account_data=members(**{"global": {"type": "object"}, "rooms": {"type": "object"}})),
    ),  # K
    ("GET", f"{V1}/users/{{user}}/override_ratelimit", {}, members()),  # K
    ("GET", f"{V1}/users/{{user}}/sent_invite_count", {"from_ts": 0}, members(invite_count=NUMBER)),  # K
    (
        "GET",
        f"{V1}/users/{{user}}/cumulative_joined_room_count",
        {"from_ts": 0},
        members(cumulative_joined_room_count=NUMBER),
    ),  # K
    ("GET", f"{V1}/experimental_features/{{user}}", {}, members(features={"type": "object"})),  # K
    ("GET", f"{V1}/username_available", {"username": "nobody"}, members(available=YES_NO)),  # K
    ("PUT", f"{V1}/suspend/{{user}}", {"suspend": True}, members()),  # K D
    ("PUT", f"{V1}/suspend/{{user}}", {"suspend": False}, members()),  # K D
    (
        "GET",
        f"{V1}/rooms",
        {"from": 0, "limit": 10, "order_by": "name", "dir": "f", "search_term": ""},
        members(rooms=some(members(**ROOM)), total_rooms=NUMBER, offset=NUMBER),
    ),  # S K D
    (
        "GET",
        f"{V1}/rooms/{{room}}",
        {},
        members(
            **ROOM,
            topic=maybe(TEXT),
            avatar=maybe(TEXT),
            joined_local_devices=NUMBER,
            forgotten=YES_NO,
            tombstoned=YES_NO,
            replacement_room=maybe(TEXT),
        ),
    ),  # S K D
    ("GET", f"{V1}/rooms/{{room}}/members", {}, members(members=some(TEXT), total=NUMBER)),  # S K
    ("GET", f"{V1}/rooms/{{room}}/state", {}, members(state=some(EVENT))),  # S K
    ("GET", f"{V1}/rooms/{{room}}/messages", {"dir": "b", "limit": 10}, members(chunk=some(EVENT), start=TEXT)),  # K
    ("GET", f"{V1}/rooms/{{room}}/context/{{event}}", {"limit": 1}, CONTEXT),  # K D
    (
        "GET",
        f"{V1}/rooms/{{room}}/timestamp_to_event",
        {"ts": 1, "dir": "f"},
        members(event_id=TEXT, origin_server_ts=NUMBER),
    ),  # K
    (
        "GET",
        f"{V1}/rooms/{{room}}/hierarchy",
        {"limit": 50},
        members(
            rooms=some(
                members(
                    room_id=TEXT,
                    num_joined_members=NUMBER,
                    guest_can_join=YES_NO,
                    world_readable=YES_NO,
                    children_state=none_or_more(ANY),
                )
            )
        ),
    ),  # K
    ("GET", f"{V1}/rooms/{{room}}/block", {}, members(block=YES_NO)),  # K D
    ("PUT", f"{V1}/rooms/{{room}}/block", {"block": False}, members(block=YES_NO)),  # K
    (
        "GET",
        f"{V1}/rooms/{{room}}/forward_extremities",
        {},
        members(
            count=NUMBER, results=some(members(event_id=TEXT, state_group=NUMBER, depth=NUMBER, received_ts=NUMBER))
        ),
    ),  # S K
    ("DELETE", f"{V1}/rooms/{{room}}/forward_extremities", {}, members(deleted=NUMBER)),  # S K
    ("GET", f"{V1}/room/{{room}}/media", {}, members(local=none_or_more(TEXT), remote=none_or_more(TEXT))),  # K
    ("POST", f"{V1}/rooms/{{room}}/make_room_admin", {"user_id": "{user}"}, members()),  # K D
    ("GET", f"{V1}/fetch_event/{{event}}", {}, members(event=members(type=TEXT, sender=TEXT, room_id=TEXT))),  # K
    (
        "GET",
        f"{V1}/event_reports",
        {"from": 0, "limit": 10, "dir": "b"},
        members(event_reports=some(REPORT), total=NUMBER),
    ),  # S K D
    ("GET", f"{V1}/event_reports/1", {}, {**REPORT, "required": [*REPORT["required"], "event_json"]}),  # S K
    (
        "GET",
        f"{V1}/user_reports",
        {"from": 0, "limit": 10},
        members(
            user_reports=some(members(id=NUMBER, received_ts=NUMBER, user_id=TEXT, target_user_id=TEXT, reason=TEXT)),
            total=NUMBER,
        ),
    ),  # K
    ("POST", f"{V1}/registration_tokens/new", {"length": 12, "uses_allowed": 1}, TOKEN),  # S K
    ("GET", f"{V1}/registration_tokens", {"valid": "true"}, members(registration_tokens=some(TOKEN))),  # S K
    (
        "GET",
        f"{V1}/statistics/users/media",
        {"from": 0, "limit": 10, "order_by": "media_length", "dir": "b"},
        members(
            users=some(members(user_id=TEXT, displayname=maybe(TEXT), media_count=NUMBER, media_length=NUMBER)),
            total=NUMBER,
        ),
    ),  # S K
    ("GET", f"{V1}/statistics/database/rooms", {}, members(rooms=some(members(room_id=TEXT, estimated_size=NUMBER)))),
    (
        "GET",
        f"{V1}/federation/destinations",
        {"from": 0, "limit": 10, "order_by": "destination", "dir": "f"},
        members(destinations=none_or_more(ANY), total=NUMBER),
    ),  # S K
    ("GET", f"{V1}/scheduled_tasks", {}, members(scheduled_tasks=none_or_more(ANY))),  # K
    ("GET", f"{V1}/media/{{server}}/{{media}}", {}, members(media_info=MEDIA)),  # K
    ("POST", f"{V1}/media/protect/{{media}}", {}, members()),  # S K
    ("POST", f"{V1}/media/unprotect/{{media}}", {}, members()),  # S K
    ("POST", f"{V1}/media/quarantine/{{server}}/{{media}}", {}, members()),  # S K
    ("POST", f"{V1}/media/unquarantine/{{server}}/{{media}}", {}, members()),  # S K
    (
        "POST",
        f"{V1}/send_server_notice",
        {"user_id": "{user}", "content": {"msgtype": "m.text", "body": "x"}},
        members(event_id=TEXT),
    ),  # S K
    ("POST", f"{V1}/user/{{user}}/redact", {"rooms": []}, members(redact_id=TEXT)),  # K D
    ("POST", f"{V1}/users/{{user}}/login", {}, members(access_token=TEXT)),  # K
    ("DELETE", f"{V2}/rooms/{{room}}", {"block": False, "purge": True}, members(delete_id=TEXT)),  # S K D
    ("POST", f"{V1}/deactivate/{{user}}", {"erase": True}, members(id_server_unbind_result=TEXT)),  # S K D
]


def fill(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, filled in names.items():
            value = value.replace("{" + name + "}", filled)
        return value
    return {key: fill(one, names) for key, one in value.items()} if isinstance(value, dict) else value


async def test_tools_find_what_they_ask_for(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(name="Den", preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.say(room_id, "rude")
    await bob.post(f"/rooms/{room_id}/report/{event_id}", {"reason": "rude"})
    await bob.post(f"/users/{alice.user_id}/report", {"reason": "rude"})
    uploaded = await server.client.request("POST", "/_matrix/media/v3/upload", body=b"x", token=alice.token)
    names = {
        "user": alice.user_id,
        "room": room_id,
        "event": event_id,
        "media": uploaded.json["content_uri"].rsplit("/", 1)[1],
        "server": SERVER_NAME,
    }
    for method, template, given, schema in TABLE:
        path, sent = fill(template, names), fill(given, names)
        answer = await (admin.request("GET", path, **sent) if method == "GET" else admin.request(method, path, sent))
        assert answer.status == 200, f"{method} {template}: {answer.status} {answer.body!r}"
        try:
            jsonschema.validate(answer.json, schema)
        except jsonschema.ValidationError as error:
            pytest.fail(f"{method} {template}: {error.message} at {list(error.absolute_path)}")
