"""Makes paths, queries and bodies: by the schema, with real ids where a name asks for one."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.end_to_end.fuzz import nasty, samples
from tests.end_to_end.fuzz.forms import oauth_client
from tests.end_to_end.fuzz.operations import Operation
from tests.end_to_end.fuzz.pool import Pool
from tests.support.server import PASSWORD, SERVER_NAME

INVENTED = {
    "room": f"!missing:{SERVER_NAME}",
    "user": f"@nobody:{SERVER_NAME}",
    "event": "$" + "a" * 43,
    "alias": f"#fuzz1:{SERVER_NAME}",
    "mxc": f"mxc://{SERVER_NAME}/missing",
    "media": "missing",
    "device": "DEVICE",
}
KINDS = {
    "roomid": "room",
    "newroom": "room",
    "replacementroom": "room",
    "userid": "user",
    "mxid": "user",
    "sender": "user",
    "redacts": "event",
    "eventid": "event",
    "v": "event",
    "mfullyread": "event",
    "mread": "event",
    "mreadprivate": "event",
    "deviceid": "device",
    "alias": "alias",
    "roomalias": "alias",
    "from": "token",
    "to": "token",
    "since": "token",
    "at": "token",
    "nextbatch": "token",
    "pos": "pos",
    "mediaid": "media",
    "avatarurl": "mxc",
    "filterid": "filter",
    "version": "version",
    "refreshtoken": "refresh_token",
    "sessionid": "session_key",
    "delayid": "delay",
    "sid": "sid",
    "pushkey": "pushkey",
    "clientid": "client",
    "deleteid": "deletion",
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "txnid": tuple(f"t{number}" for number in range(200)),
    "eventtype": samples.EVENT_TYPES,
    "statekey": ("", "", f"@nobody:{SERVER_NAME}", "k"),
    "servername": (SERVER_NAME, SERVER_NAME, "elsewhere.test", "127.0.0.1"),
    "server": (SERVER_NAME, "elsewhere.test"),
    "via": (SERVER_NAME, "elsewhere.test"),
    "timeout": (0, 0, 0, 100, 30_000, 10**15),
    "limit": (0, 1, 2, 10, 100, 10**9),
    "dir": ("b", "f"),
    "receipttype": ("m.read", "m.read.private", "m.fully_read"),
    "threadid": ("main", "$" + "a" * 43),
    "threadroot": ("$" + "a" * 43,),
    "presence": ("online", "offline", "unavailable"),
    "setpresence": ("online", "offline", "unavailable"),
    "kind": ("override", "underride", "sender", "room", "content", "guest", "user"),
    "ruleid": (".m.rule.master", "fuzz", ".m.rule.contains_user_name", "word", ".m.rule.x"),
    "tag": ("m.favourite", "u.work", "m.lowpriority"),
    "type": (*samples.EVENT_TYPES, "m.login.password", "m.id.user"),
    "field": ("displayname", "avatar_url", "m.tz", "org.example.field"),
    "keyname": ("displayname", "avatar_url", "m.tz", "org.example.field"),
    "reltype": ("m.thread", "m.replace", "m.annotation", "m.reference"),
    "protocol": ("irc", "x"),
    "username": ("alice", "bob", "fuzz1", "fuzz2", "guest"),
    "localpart": ("alice", "bob", "fuzz1"),
    "userlocalpart": ("alice", "fuzz1"),
    "password": (PASSWORD, PASSWORD, "wrong"),
    "newpassword": (PASSWORD,),
    "membership": ("join", "invite", "leave", "ban", "knock"),
    "visibility": ("public", "private"),
    "preset": ("public_chat", "private_chat", "trusted_private_chat"),
    "ver": ("1", "5", "6", "11", "12"),
    "roomversion": ("1", "6", "10", "11", "12", "x"),
    "newversion": ("1", "11", "12", "x"),
    "roomaliasname": tuple(f"fuzz{number}" for number in range(20)),
    "method": ("crop", "scale", "x"),
    "width": (1, 32, 96, 10**9),
    "height": (1, 32, 96, 10**9),
    "ts": (0, 1_700_000_000_000, 2**53 - 1),
    "delay": (1, 1_000, 10**12),
    "orgmatrixmsc4140delay": (1, 1_000, 10**12),
    "action": ("restart", "send", "cancel"),
    "grouptype": ("m.space",),
    "searchterm": ("hello", "你好", '"fox quick"', "a OR b", "*", "x" * 300),
    "orderby": ("recent", "rank", "name"),
    "algorithm": ("m.megolm_backup.v1.curve25519-aes-sha2",),
    "medium": ("email", "msisdn"),
    "email": ("ann@example.org", "x"),
    "clientsecret": ("secret1", "secret2"),
    "url": ("http://example.org/", "https://push.example/_matrix/push/v1/notify", "http://127.0.0.1/"),
    "historyvisibility": ("shared", "joined"),
}
USERS_BY_NAME = ("invite", "users", "userids", "notsenders", "senders", "members")
MOST_DEPTH = 8


class Values:
    """Makes one thing after another from one source of chance."""

    def __init__(self, chance: random.Random, pool: Pool) -> None:
        self.chance = chance
        self.pool = pool
        self.own: dict[str, list[str]] = {}
        """Things of whoever asks, by kind: their rooms, their name, their device."""

    def real(self, kind: str) -> str:
        """A thing of this kind that exists, mostly; often one of the asker's own."""
        own = self.own.get(kind)
        if own and self.chance.random() < 0.65:
            return self.chance.choice(own)
        found = self.pool.pick(kind, self.chance) if self.chance.random() < 0.92 else None
        return found or INVENTED.get(kind) or nasty.text(self.chance)

    def asked_by(self, user_id: str, device_id: str) -> None:
        """Who asks next. The events of one of their rooms are preferred, so that room and event belong together."""
        rooms = self.pool.every(f"room of {user_id}")
        room = self.chance.choice(rooms[-6:]) if rooms else ""
        self.own = {
            "room": [room] if room else [],
            "event": self.pool.every(f"event of {room}"),
            "user": [user_id] if user_id else [],
            "device": [device_id] if device_id else [],
        }

    def named(self, name: str) -> Any:
        """A value for a parameter or member of this name, or None when the name says nothing."""
        plain = name.replace("_", "").replace(".", "").replace("-", "").lower()
        if plain == "roomidoralias":
            return self.real(self.chance.choice(("room", "room", "alias")))
        if plain in KINDS:
            return self.real(KINDS[plain])
        if plain in CHOICES:
            return self.chance.choice(CHOICES[plain])
        return None

    def path_value(self, name: str) -> str:
        if self.chance.random() < 0.04:
            return nasty.text(self.chance)
        found = self.named(name)
        return str(found) if found is not None else self.chance.choice(("a", "1", "x.y", "你"))

    def query(self, operation: Operation) -> list[tuple[str, str]]:
        made: list[tuple[str, str]] = []
        for parameter in operation.query:
            if self.chance.random() > (0.95 if parameter.is_required else 0.35):
                continue
            made += [(parameter.name, each) for each in self._query_values(parameter.name, parameter.schema)]
        if self.chance.random() < 0.03:
            made.append((nasty.text(self.chance)[:500], nasty.text(self.chance)[:2_000]))
        return made

    def _query_values(self, name: str, schema: Any) -> list[str]:
        if self.chance.random() < 0.08:
            return [nasty.text(self.chance)[:5_000]] * self.chance.choice((1, 1, 2))
        if name == "filter":
            return [
                self.real("filter")
                if self.chance.random() < 0.4
                else json.dumps(samples.room_filter(self.chance, self.real))
            ]
        value = self.named(name)
        if value is None:
            value = self.of(schema, {}, name)
        if isinstance(value, list):
            return [_as_text(each) for each in value[:5]]
        return [_as_text(value)]

    def body(self, operation: Operation, path_values: dict[str, str]) -> Any:
        """A body that is nearly right."""
        special = self._special(operation, path_values)
        if special is not None and self.chance.random() < 0.85:
            return special
        if not operation.bodies:
            return {}
        schema, definitions = self.chance.choice(operation.bodies)
        return self.of(schema, definitions, "")

    def _special(self, operation: Operation, path_values: dict[str, str]) -> Any:
        kind = path_values.get("event_type") or path_values.get("type")
        if kind is not None and operation.method == "PUT" and "receipt" not in operation.name.lower():
            if "messages" in json.dumps([one[0] for one in operation.bodies])[:3_000]:  # to-device
                device = self.chance.choice(("*", self.real("device")))
                return {"messages": {self.real("user"): {device: {"a": 1, "b": "你"}}}}
            return samples.event_content(kind, self.chance, self.real)
        field = path_values.get("field")
        if field is not None and "profile" in operation.paths[0]:
            return {field: self.chance.choice(("Name", "名", self.real("mxc"), 1, None))}
        if operation.paths[0].endswith("/oauth2/register"):
            return oauth_client(self.chance)
        if operation.name == "uploadKeys":
            return samples.device_keys(self.real("user"), self.real("device"), self.chance)
        if operation.name == "login":
            user = self.chance.choice(("alice", "bob", "carol", self.real("user")))
            return {
                "type": self.chance.choice(("m.login.password", "m.login.password", "m.login.token")),
                "identifier": {"type": "m.id.user", "user": user},
                "password": PASSWORD,
                "token": self.real("login_token"),
                "refresh_token": self.chance.random() < 0.5,
            }
        if any("sync" in path and operation.method == "POST" for path in operation.paths):
            return samples.sliding_sync(self.chance, self.real)
        return None

    def of(self, schema: Any, definitions: dict[str, Any], name: str, depth: int = 0) -> Any:
        """A value that a schema allows, or nearly: lengths and formats are left to chance."""
        if not isinstance(schema, dict) or depth > MOST_DEPTH:
            return nasty.value(self.chance)
        while "$ref" in schema:
            schema = {**definitions.get(schema["$ref"].rpartition("/")[2], {}), **_without(schema, "$ref")}
        if "allOf" in schema:
            schema = self._joined(schema, definitions)
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                chosen = self.chance.choice(schema[choice])
                return self.of({**_without(schema, choice), **chosen}, definitions, name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema and self.chance.random() < 0.9:
            return self.chance.choice(schema["enum"])
        special = self._member(name)
        if special is not None:
            return special
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            kind = self.chance.choice(kind)
        if kind == "object":
            return self._object(schema, definitions, depth)
        if kind == "array":
            inner = schema.get("items", {})
            plain = name.replace("_", "").lower()
            count = self.chance.choice((0, 1, 1, 2, 3))
            if plain in USERS_BY_NAME:
                return [self.real("user") for _ in range(count)]
            return [self.of(inner, definitions, name.removesuffix("s"), depth + 1) for _ in range(count)]
        return self._plain(kind, name)

    def _member(self, name: str) -> Any:
        """Members whose content the schema does not say."""
        if name == "auth":
            stages = ("m.login.password", "m.login.dummy", "m.login.dummy", "m.login.token", "m.login.terms")
            made: dict[str, Any] = {"type": self.chance.choice(stages)}
            if self.chance.random() < 0.5:
                made["session"] = self.real("session")
            if made["type"] == "m.login.password":
                user = self.real("user")
                made |= {"identifier": {"type": "m.id.user", "user": user}, "password": PASSWORD}
            return made
        if name == "initial_state":
            kinds = self.chance.sample(samples.STATE_TYPES, 2)
            return [
                {"type": kind, "state_key": "", "content": samples.event_content(kind, self.chance, self.real)}
                for kind in kinds
            ]
        if name in ("filter", "room_filter"):
            return samples.room_filter(self.chance, self.real)
        if name == "actions":
            return ["notify", {"set_tweak": "sound", "value": "default"}][: self.chance.choice((0, 1, 2))]
        if name == "conditions":
            return samples.push_conditions(self.chance, self.real)
        if name == "power_level_content_override":
            return samples.power_levels(self.chance, self.real)
        return None

    def _joined(self, schema: Any, definitions: dict[str, Any]) -> Any:
        joined: dict[str, Any] = {"type": "object", **_without(schema, "allOf")}
        properties = dict(joined.get("properties", {}))
        required = list(joined.get("required", ()))
        for part in schema["allOf"]:
            while "$ref" in part:
                part = definitions.get(part["$ref"].rpartition("/")[2], {})
            if "allOf" in part:
                part = self._joined(part, definitions)
            properties |= part.get("properties", {})
            required += part.get("required", ())
        return {**joined, "properties": properties, "required": required}

    def _object(self, schema: Any, definitions: dict[str, Any], depth: int) -> Any:
        required = set(schema.get("required", ()))
        made = {
            name: self.of(inner, definitions, name, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if self.chance.random() < (0.97 if name in required else 0.45 if depth else 0.5)
        }
        more = schema.get("additionalProperties")
        patterns = list(schema.get("patternProperties", {}).values())
        if isinstance(more, dict) or patterns:
            inner = more if isinstance(more, dict) else patterns[0]
            for _ in range(self.chance.choice((0, 1, 1, 2))):
                kind = self.chance.choice(("user", "device", "room", "event", "session_key"))
                made[self.real(kind)] = self.of(inner, definitions, "", depth + 1)
        elif not schema.get("properties"):
            made |= {"org.example": self.chance.choice((1, "x", ["你"]))}
        return made

    def _plain(self, kind: str | None, name: str) -> Any:
        found = self.named(name)
        if found is not None and self.chance.random() < 0.9:
            return found
        if kind == "string":
            return self.chance.choice(("text", "你好", "x", "m.example", self.real("user"), self.real("room")))
        if kind in ("integer", "number"):
            return self.chance.choice((0, 1, 10, 1_000, 1_700_000_000_000))
        if kind == "boolean":
            return self.chance.random() < 0.5
        if kind == "null":
            return None
        return nasty.value(self.chance)


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
