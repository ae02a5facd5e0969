"""Bad requests: each must be refused with the same status and error code on both servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.end_to_end.comparison.player import V1, Player

JSON_BODIES: dict[str, bytes] = {
    "no JSON": b"nonsense",
    "half an object": b'{"a": ',
    "empty body": b"",
    "list": b"[]",
    "text": b'"text"',
    "number": b"7",
    "null": b"null",
    "not UTF-8": b'{"body": "\xff\xfe"}',
    "NaN": b'{"body": NaN}',
    "infinity": b'{"body": Infinity}',
    "trailing garbage": b'{"body": "x"} x',
    "single quotes": b"{'body': 'x'}",
    "trailing comma": b'{"body": "x",}',
}
BODY_TARGETS: dict[str, tuple[str, str]] = {
    "send": ("PUT", "/rooms/{room}/send/m.room.message/{step}"),
    "state": ("PUT", "/rooms/{room}/state/org.example.x/k"),
    "create room": ("POST", "/createRoom"),
    "login": ("POST", "/login"),
    "register": ("POST", "/register"),
    "account data": ("PUT", "/user/{user}/account_data/org.example.x"),
    "filter": ("POST", "/user/{user}/filter"),
}


@dataclass(frozen=True)
class Bad:
    """One bad request. `{room}`, `{event}`, `{user}` and `{other}` in the path become percent-encoded ids."""

    name: str
    method: str
    path: str
    body: Any = None
    signed_in: bool = True


TYPES: tuple[Bad, ...] = (
    Bad("login type a number", "POST", "/login", {"type": 7}),
    Bad(
        "login password a number",
        "POST",
        "/login",
        {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "x"}, "password": 7},
    ),
    Bad("login identifier a text", "POST", "/login", {"type": "m.login.password", "identifier": "x", "password": "x"}),
    Bad(
        "login user a list",
        "POST",
        "/login",
        {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": []}, "password": "x"},
    ),
    Bad("register username a number", "POST", "/register", {"username": 7, "password": "x"}),
    Bad("register password a list", "POST", "/register", {"username": "x", "password": []}),
    Bad(
        "register auth a text",
        "POST",
        "/register",
        {"username": "x", "password": "a long enough Passw0rd!", "auth": "x"},
    ),
    Bad("refresh without token", "POST", "/refresh", {}),
    Bad("refresh token a number", "POST", "/refresh", {"refresh_token": 7}),
    Bad("device name a number", "PUT", "/devices/X", {"display_name": 7}),
    Bad("delete devices without list", "POST", "/delete_devices", {}),
    Bad("delete devices with a text", "POST", "/delete_devices", {"devices": "X"}),
    Bad("new password a number", "POST", "/account/password", {"new_password": 7}),
    Bad("display name missing", "PUT", "/profile/{user}/displayname", {}),
    Bad("display name a list", "PUT", "/profile/{user}/displayname", {"displayname": []}),
    Bad("avatar missing", "PUT", "/profile/{user}/avatar_url", {}),
    Bad("avatar a number", "PUT", "/profile/{user}/avatar_url", {"avatar_url": 7}),
    Bad("create room name a list", "POST", "/createRoom", {"name": []}),
    Bad("create room topic a number", "POST", "/createRoom", {"topic": 7}),
    Bad("create room invite a text", "POST", "/createRoom", {"invite": "@a:b"}),
    Bad("create room invite a number", "POST", "/createRoom", {"invite": [7]}),
    Bad("create room creation_content a list", "POST", "/createRoom", {"creation_content": []}),
    Bad("create room initial_state of texts", "POST", "/createRoom", {"initial_state": ["x"]}),
    Bad(
        "create room initial_state content a text",
        "POST",
        "/createRoom",
        {"initial_state": [{"type": "x", "content": "y"}]},
    ),
    Bad("create room levels a list", "POST", "/createRoom", {"power_level_content_override": []}),
    Bad("create room version a list", "POST", "/createRoom", {"room_version": []}),
    Bad("create room is_direct a text", "POST", "/createRoom", {"is_direct": "yes"}),
    Bad("create room invite_3pid a text", "POST", "/createRoom", {"invite_3pid": "x"}),
    Bad("create room alias a number", "POST", "/createRoom", {"room_alias_name": 7}),
    Bad("create room alias with hash", "POST", "/createRoom", {"room_alias_name": "#x"}),
    Bad("invite without user", "POST", "/rooms/{room}/invite", {}),
    Bad("invite a number", "POST", "/rooms/{room}/invite", {"user_id": 7}),
    Bad("invite no user id", "POST", "/rooms/{room}/invite", {"user_id": "ben"}),
    Bad("invite with a number as reason", "POST", "/rooms/{room}/invite", {"user_id": "@x:halfdoor.test", "reason": 7}),
    Bad("kick without user", "POST", "/rooms/{room}/kick", {}),
    Bad("kick a number", "POST", "/rooms/{room}/kick", {"user_id": 7}),
    Bad("kick no user id", "POST", "/rooms/{room}/kick", {"user_id": "ben"}),
    Bad("ban without user", "POST", "/rooms/{room}/ban", {}),
    Bad("ban no user id", "POST", "/rooms/{room}/ban", {"user_id": "@"}),
    Bad("unban without user", "POST", "/rooms/{room}/unban", {}),
    Bad("join with a number as reason", "POST", "/join/{room}", {"reason": 7}),
    Bad("upgrade version a number", "POST", "/rooms/{room}/upgrade", {"new_version": 7}),
    Bad("redact reason a number", "PUT", "/rooms/{room}/redact/{event}/badreason", {"reason": 7}),
    Bad("receipt body a list", "POST", "/rooms/{room}/receipt/m.read/{event}", []),
    Bad("read markers a text", "POST", "/rooms/{room}/read_markers", {"m.read": 7}),
    Bad("read markers no event id", "POST", "/rooms/{room}/read_markers", {"m.read": "x"}),
    Bad("typing a text", "PUT", "/rooms/{room}/typing/{user}", {"typing": "yes", "timeout": 1}),
    Bad("typing of nobody", "PUT", "/rooms/{room}/typing/nobody", {"typing": True, "timeout": 1}),
    Bad("tag order a text", "PUT", "/user/{user}/rooms/{room}/tags/u.x", {"order": "x"}),
    Bad("tag a list", "PUT", "/user/{user}/rooms/{room}/tags/u.x", []),
    Bad("filter limit a text", "POST", "/user/{user}/filter", {"room": {"timeline": {"limit": "x"}}}),
    Bad("filter limit negative", "POST", "/user/{user}/filter", {"room": {"timeline": {"limit": -1}}}),
    Bad("filter rooms a text", "POST", "/user/{user}/filter", {"room": {"rooms": "x"}}),
    Bad("filter rooms no ids", "POST", "/user/{user}/filter", {"room": {"rooms": ["x"]}}),
    Bad("filter types a text", "POST", "/user/{user}/filter", {"presence": {"types": "x"}}),
    Bad("filter event_format unknown", "POST", "/user/{user}/filter", {"event_format": "xml"}),
    Bad("filter event_fields a text", "POST", "/user/{user}/filter", {"event_fields": "x"}),
    Bad("filter lazy a text", "POST", "/user/{user}/filter", {"room": {"state": {"lazy_load_members": "x"}}}),
    Bad("presence a number", "PUT", "/presence/{user}/status", {"presence": 7}),
    Bad("presence message a number", "PUT", "/presence/{user}/status", {"presence": "online", "status_msg": 7}),
    Bad("search term a number", "POST", "/search", {"search_categories": {"room_events": {"search_term": 7}}}),
    Bad("search categories a list", "POST", "/search", {"search_categories": []}),
    Bad("user search term a number", "POST", "/user_directory/search", {"search_term": 7}),
    Bad("user search limit a text", "POST", "/user_directory/search", {"search_term": "x", "limit": "y"}),
    Bad("public rooms filter a text", "POST", "/publicRooms", {"filter": "x"}),
    Bad("public rooms limit negative", "POST", "/publicRooms", {"limit": -1}),
    Bad("public rooms since a number", "POST", "/publicRooms", {"since": 7}),
    Bad("alias room a number", "PUT", "/directory/room/%23x%3Ahalfdoor.test", {"room_id": 7}),
    Bad("alias without server", "PUT", "/directory/room/%23x", {"room_id": "{room}"}),
    Bad("push rule actions a text", "PUT", "/pushrules/global/override/x", {"conditions": [], "actions": "notify"}),
    Bad("push rule conditions a text", "PUT", "/pushrules/global/override/x", {"conditions": "x", "actions": []}),
    Bad("push rule enabled a text", "PUT", "/pushrules/global/override/.m.rule.master/enabled", {"enabled": "x"}),
    Bad("push rule enabled missing", "PUT", "/pushrules/global/override/.m.rule.master/enabled", {}),
    Bad("push rule set actions missing", "PUT", "/pushrules/global/override/.m.rule.master/actions", {}),
    Bad("to-device messages a text", "PUT", "/sendToDevice/x/bad1", {"messages": "x"}),
    Bad("to-device message a text", "PUT", "/sendToDevice/x/bad2", {"messages": {"@a:b": {"X": "y"}}}),
    Bad("power levels with a text", "PUT", "/rooms/{room}/state/m.room.power_levels", {"users": {"@a:b": "100"}}),
    Bad("power levels with a wrong user", "PUT", "/rooms/{room}/state/m.room.power_levels", {"users": {"nobody": 1}}),
    Bad("member without membership", "PUT", "/rooms/{room}/state/m.room.member/{user}", {}),
    Bad("member with a wrong state key", "PUT", "/rooms/{room}/state/m.room.member/nobody", {"membership": "join"}),
    Bad("join rule a number", "PUT", "/rooms/{room}/state/m.room.join_rules", {"join_rule": 7}),
    Bad("aliases of texts", "PUT", "/rooms/{room}/state/m.room.canonical_alias", {"alt_aliases": "x"}),
    Bad("report reason a list", "POST", "/rooms/{room}/report/{event}", {"reason": []}),
    Bad("pusher without anything", "POST", "/pushers/set", {}),
    Bad("pusher kind a number", "POST", "/pushers/set", {"kind": 7, "app_id": "x", "pushkey": "y"}),
    Bad("keys a text", "POST", "/keys/query", {"device_keys": "x"}),
    Bad("keys without anything", "POST", "/keys/query", {}),
    Bad("openid for somebody else", "POST", "/user/{other}/openid/request_token", {}),
    Bad("leave with a list as reason", "POST", "/rooms/{room}/leave", {"reason": []}),
)
QUERIES: tuple[Bad, ...] = (
    Bad("messages without direction", "GET", "/rooms/{room}/messages"),
    Bad("messages with an empty direction", "GET", "/rooms/{room}/messages?dir="),
    Bad("messages limit a float", "GET", "/rooms/{room}/messages?dir=b&limit=1.5"),
    Bad("messages to nonsense", "GET", "/rooms/{room}/messages?dir=b&to=nonsense"),
    Bad("messages filter a list", "GET", "/rooms/{room}/messages?dir=b&filter=[]"),
    Bad("context limit a text", "GET", "/rooms/{room}/context/{event}?limit=x"),
    Bad("context limit negative", "GET", "/rooms/{room}/context/{event}?limit=-1"),
    Bad("members membership unknown", "GET", "/rooms/{room}/members?membership=nonsense"),
    Bad("members at nonsense", "GET", "/rooms/{room}/members?at=nonsense"),
    Bad("relations limit a text", "GET", V1 + "/rooms/{room}/relations/{event}?limit=x"),
    Bad("relations from nonsense", "GET", V1 + "/rooms/{room}/relations/{event}?from=nonsense"),
    Bad("threads limit zero", "GET", V1 + "/rooms/{room}/threads?limit=0"),
    Bad("threads from nonsense", "GET", V1 + "/rooms/{room}/threads?from=nonsense"),
    Bad("hierarchy depth negative", "GET", V1 + "/rooms/{room}/hierarchy?max_depth=-1"),
    Bad("hierarchy suggested a text", "GET", V1 + "/rooms/{room}/hierarchy?suggested_only=maybe"),
    Bad("by time with wrong direction", "GET", V1 + "/rooms/{room}/timestamp_to_event?ts=1&dir=x"),
    Bad("by time before time", "GET", V1 + "/rooms/{room}/timestamp_to_event?ts=-1&dir=f"),
    Bad("public rooms limit a text", "GET", "/publicRooms?limit=x"),
    Bad("notifications limit a text", "GET", "/notifications?limit=x"),
    Bad(
        "search next batch nonsense",
        "POST",
        "/search?next_batch=nonsense",
        {"search_categories": {"room_events": {"search_term": "x"}}},
    ),
    Bad("sync since a number", "GET", "/sync?since=7&timeout=0"),
    Bad("state format unknown", "GET", "/rooms/{room}/state/m.room.create/?format=xml"),
    Bad("threads of a wrong room", "GET", V1 + "/rooms/nonsense/threads"),
)
PATHS: tuple[Bad, ...] = (
    Bad("unknown path", "GET", "/nonsense"),
    Bad("unknown path below a known one", "GET", "/sync/more"),
    Bad("trailing slash", "GET", "/joined_rooms/"),
    Bad("doubled slash", "GET", "//joined_rooms"),
    Bad("unknown version", "GET", "/_matrix/client/v9/sync"),
    Bad("nothing", "GET", "/_matrix/client"),
    Bad("unknown api", "GET", "/_matrix/nonsense/v1/x"),
    Bad("wrong method on sync", "POST", "/sync", {}),
    Bad("wrong method on createRoom", "GET", "/createRoom"),
    Bad("wrong method on whoami", "DELETE", "/account/whoami"),
    Bad("wrong method on send", "POST", "/rooms/{room}/send/m.room.message/1", {}),
    Bad("wrong method on messages", "PUT", "/rooms/{room}/messages", {}),
    Bad("wrong method on versions", "PUT", "/_matrix/client/versions", {}),
    Bad("not-supported auth metadata", "GET", V1 + "/auth_metadata"),
    Bad("not-supported auth issuer", "GET", "/_matrix/client/unstable/org.matrix.msc2965/auth_issuer"),
    Bad("not-supported dehydrated device", "GET", "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"),
    Bad("room id nonsense", "GET", "/rooms/nonsense/state"),
    Bad("room id of another server", "GET", "/rooms/!x%3Aelsewhere.test/state"),
    Bad("room alias as room id", "GET", "/rooms/%23x%3Ahalfdoor.test/state"),
    Bad("event id nonsense", "GET", "/rooms/{room}/event/nonsense"),
    Bad("user id nonsense", "GET", "/user/nonsense/account_data/x"),
    Bad("filter of a nonsense user", "GET", "/user/nonsense/filter/0"),
    Bad("filter id nonsense", "GET", "/user/{user}/filter/nonsense"),
    Bad("send without a type", "PUT", "/rooms/{room}/send//1", {}),
    Bad("absent room-keys version", "GET", "/room_keys/version"),
)
TOKENS: tuple[Bad, ...] = tuple(
    Bad(f"without a token: {method} {path}", method, path, body, signed_in=False)
    for method, path, body in (
        ("GET", "/sync", None),
        ("POST", "/createRoom", {}),
        ("POST", "/createRoom", []),
        ("PUT", "/rooms/{room}/send/m.room.message/1", {}),
        ("GET", "/rooms/{room}/messages?dir=b", None),
        ("GET", "/devices", None),
        ("GET", "/pushrules/", None),
        ("GET", "/joined_rooms", None),
        ("GET", "/capabilities", None),
        ("POST", "/search", {}),
        ("POST", "/publicRooms", {}),
        ("GET", "/account/3pid", None),
        ("GET", "/voip/turnServer", None),
        ("PUT", "/profile/{user}/displayname", {"displayname": "x"}),
    )
)


def bodies(p: Player) -> None:
    ann = p.account("ann")
    room = p.room("create", ann)
    for target, (method, path) in BODY_TARGETS.items():
        for name, raw in JSON_BODIES.items():
            place = path.format(room="{}", user="{}", step=name.replace(" ", "-"))
            parts = [room] if "{room}" in path else [ann.user_id] if "{user}" in path else []
            p.call(f"{target}: {name}", method, ann, place, *parts, raw=raw)


def _play(p: Player, requests: tuple[Bad, ...]) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, room_version="11")
    event = p.send("message", ann, room, "x")
    values = {"room": room, "event": event, "user": ann.user_id, "other": ben.user_id}
    for bad in requests:
        path, parts = bad.path, []
        for name, value in sorted(values.items(), key=lambda item: path.find("{" + item[0] + "}")):
            if "{" + name + "}" in path:
                path = path.replace("{" + name + "}", "{}")
                parts.append(value)
        p.call(bad.name, bad.method, ann if bad.signed_in else None, path, *parts, body=bad.body)


def wrong_types(p: Player) -> None:
    _play(p, TYPES)


def wrong_queries(p: Player) -> None:
    _play(p, QUERIES)


def wrong_paths(p: Player) -> None:
    _play(p, PATHS)


def missing_tokens(p: Player) -> None:
    _play(p, TOKENS)


def general(p: Player) -> None:
    """No errors at all: what a client asks first."""
    ann = p.account("ann")
    p.get("versions", None, "/_matrix/client/versions")
    p.get("well-known", None, "/.well-known/matrix/client")
    p.get("capabilities", ann, "/capabilities")
    p.get("turn server", ann, "/voip/turnServer")
    p.get("third-party protocols", ann, "/thirdparty/protocols")
    p.get("pushers", ann, "/pushers")
    p.get("devices", ann, "/devices")
    p.post("openid token", ann, "/user/{}/openid/request_token", ann.user_id)
    p.get("media configuration", ann, V1 + "/media/config")


CONVERSATIONS = {
    "malformed-bodies": bodies,
    "malformed-types": wrong_types,
    "malformed-queries": wrong_queries,
    "malformed-paths": wrong_paths,
    "malformed-tokens": missing_tokens,
    "general": general,
}
