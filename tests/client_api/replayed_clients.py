"""What nine real clients asked in a recorded day, and what each request needs in order to be asked again.

`client_requests.tsv` has the facts: client, method, path, the statuses that the server of that day gave.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from homeserver.media.services import MediaSettings
from tests.support.http import Answer
from tests.support.key_material import DeviceMaterial, Identity
from tests.support.server import PASSWORD, SERVER_NAME, Server, User, open_server, server_settings

TABLE: Final = Path(__file__).with_name("client_requests.tsv")
PREFIX: Final = re.compile(r"^/_matrix/(?:client|media)/(?:r0|v1|v3|unstable)")

BETTER: Final[dict[tuple[str, str], tuple[int, str]]] = {
    ("GET", "/org.matrix.msc3814.v1/dehydrated_device"): (200, "there is a dehydrated device, and it is answered"),
    ("GET", "/org.matrix.msc4143/rtc/transports"): (200, "transports are told, also when there are none"),
    ("GET", "/auth_metadata"): (200, "the OAuth 2.0 API is answered"),
    ("GET", "/org.matrix.msc2965/auth_issuer"): (200, "the OAuth 2.0 API is answered"),
    ("GET", "/rooms/{roomId}/state/m.room.pinned_events/"): (200, "the client's own pins are there by then"),
    ("GET", "/user/{userId}/account_data/m.org.matrix.custom.backup_disabled"): (200, "it was written before"),
    ("GET", "/room_keys/version"): (200, "where the client had no backup then, there is one"),
    ("PUT", "/pushrules/global/override/.m.rule.contains_display_name/enabled"): (
        404,
        "since v1.17 there is no such rule: mentions are what m.mentions says",
    ),
}
"""Answers that differ from those of the recorded day for a reason."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One row of the table."""

    client: str
    method: str
    path: str
    statuses: frozenset[int]

    @property
    def name(self) -> tuple[str, str]:
        """Method, and path without its version."""
        return self.method, PREFIX.sub("", self.path)


def rows() -> list[Asked]:
    """Every request of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Asked(row["client"], row["method"], row["path"], frozenset(map(int, row["statuses"].split())))
            for row in csv.DictReader(file, delimiter="\t")
        ]


def picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(written, "PNG")
    return written.getvalue()


LAST: Final = (
    "/rooms/{roomId}/leave",
    "/rooms/{roomId}/kick",
    "/rooms/{roomId}/ban",
    "/rooms/{roomId}/unban",
    "/rooms/{roomId}/forget",
    "/rooms/{roomId}/upgrade",
    "/directory/room/{alias}",
    "/devices/{deviceId}",
    "/delete_devices",
    "/logout",
    "/account/password",
    "/account/deactivate",
)
"""Paths whose writing ends something; they come last, in this order."""


def in_order(asked: list[Asked]) -> list[Asked]:
    """Reads, then writes, then what ends something."""

    def place(one: Asked) -> tuple[int, int]:
        path = one.name[1]
        if one.method in ("POST", "DELETE") and path in LAST:
            return 3, LAST.index(path)
        return ("GET", "PUT", "POST", "DELETE").index(one.method) // 2, 0

    return sorted(asked, key=place)


@dataclass
class Stage:
    """A server with people and rooms, and what stands for each parameter of a path."""

    server: Server
    alice: User
    bob: User
    names: dict[str, str]
    material: DeviceMaterial
    refresh_token: str
    number: int = 0
    bodies: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def ask(self, asked: Asked) -> Answer:
        """Ask what the client asked."""
        self.number += 1
        method, short = asked.name
        names = {**self.names, "txnId": f"t{self.number}"}
        actor = self.alice
        if short.startswith("/media/download") or "/media/thumbnail" in short:
            names["mediaId"] = self.names["pictureId"]
        if method == "POST" and short == "/logout":
            actor = await self.server.log_in("alice", device_id="OTHERDEVICE")
        if short == "/account/deactivate":
            actor = await self.server.register("leaver")
        if short == "/rooms/{roomId}/leave":
            names["roomId"] = self.names["partingId"]
        if short == "/rooms/{roomId}/forget":
            names["roomId"] = self.names["forgottenId"]
        if short.startswith("/knock"):
            names["roomId"], actor = self.names["knockId"], self.bob
        if short in ("/join/{roomId}", "/join/{alias}", "/rooms/{roomId}/join"):
            # Who was refused had asked for a room that lets nobody in.
            names["roomId"] = self.names["joinId" if 200 in asked.statuses else "knockId"]
            actor = self.bob
        if (method, short) == ("PUT", "/directory/room/{alias}"):
            names["alias"] = f"%23new{self.number}:{SERVER_NAME}"
        path = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], asked.path)
        path = path.replace(f"m.space.child/{names['roomId']}", f"m.space.child/{self.names['joinId']}")
        if method == "POST" and short == "/upload":
            return await self._raw("POST", path, picture())
        if method == "PUT" and short.startswith("/upload/"):
            created = await self.alice.post("/_matrix/media/v1/create")
            return await self._raw("PUT", "/_matrix/media/v3/upload/" + created["content_uri"][6:], picture())
        if short.startswith("/media/download") or short.startswith("/media/thumbnail"):
            query = {"width": 2, "height": 2} if "thumbnail" in short else {}
            return await self.server.client.request("GET", path, token=self.alice.token, query=query)
        json = self._body(method, short, names)
        return await self.server.request(method, path, json, token=actor.token, **self._query(method, short))

    async def _raw(self, method: str, path: str, body: bytes) -> Answer:
        headers = {"content-type": "image/png"}
        return await self.server.client.request(method, path, token=self.alice.token, headers=headers, body=body)

    def _query(self, method: str, short: str) -> dict[str, Any]:
        if short.startswith("/room_keys/keys"):
            return {"version": self.names["version"]}
        if method != "GET":
            return {}
        known: Mapping[str, dict[str, Any]] = {
            "/rooms/{roomId}/messages": {"dir": "b", "limit": 10},
            "/rooms/{roomId}/timestamp_to_event": {"ts": self.server.clock.now_ms(), "dir": "b"},
            "/register/available": {"username": "somebody"},
            "/events": {"room_id": self.names["roomId"], "timeout": 0},
        }
        return known.get(short, {})

    def _body(self, method: str, short: str, names: Mapping[str, str]) -> Any:
        if method in ("GET", "DELETE"):
            return {} if method == "DELETE" and short.startswith("/devices") else ...
        if short.startswith("/sendToDevice/"):
            return {"messages": {self.bob.user_id: {self.bob.device_id: {"transaction_id": names["txnId"]}}}}
        if short.startswith("/rooms/{roomId}/send/m.reaction"):
            return {"m.relates_to": {"rel_type": "m.annotation", "event_id": names["eventId"], "key": names["txnId"]}}
        if short.startswith("/rooms/{roomId}/send/"):
            return {"msgtype": "m.text", "body": "hello"}
        if short.startswith("/rooms/{roomId}/state/m.space"):
            return {"via": [SERVER_NAME]}
        if "/account_data/" in short:
            return {"enabled": True}
        if "/tags/" in short:
            return {"order": 0.5}
        return _BODIES(self, names).get((method, short), {})


def _BODIES(stage: Stage, names: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    alice, bob = stage.alice, stage.bob
    password = {"identifier": {"type": "m.id.user", "user": "alice"}, "password": PASSWORD}
    proof = {"type": "m.login.password", **password}
    target = {"user_id": bob.user_id}
    key = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {"ciphertext": "x"}}
    return {
        ("POST", "/account/deactivate"): {"auth": {**proof, "identifier": {"type": "m.id.user", "user": "leaver"}}},
        ("POST", "/account/password"): {"new_password": PASSWORD, "auth": proof},
        ("POST", "/createRoom"): {"name": "a room"},
        ("POST", "/delete_devices"): {"devices": ["SPARE"], "auth": proof},
        ("PUT", "/devices/{deviceId}"): {"display_name": "my phone"},
        ("PUT", "/directory/list/room/{roomId}"): {"visibility": "public"},
        ("PUT", "/directory/room/{alias}"): {"room_id": names["roomId"]},
        ("POST", "/keys/claim"): {"one_time_keys": {bob.user_id: {bob.device_id: "signed_curve25519"}}},
        ("POST", "/keys/device_signing/upload"): Identity(alice.user_id).upload(),
        ("POST", "/keys/query"): {"device_keys": {bob.user_id: []}},
        ("POST", "/keys/signatures/upload"): {alice.user_id: {alice.device_id: stage.material.device_keys()}},
        ("POST", "/keys/upload"): {"one_time_keys": stage.material.one_time_keys(stage.number * 10, 5)},
        ("POST", "/login"): proof,
        ("PUT", "/presence/{userId}/status"): {"presence": "online"},
        ("PUT", "/profile/{userId}/avatar_url"): {"avatar_url": f"mxc://{SERVER_NAME}/abc"},
        ("PUT", "/profile/{userId}/displayname"): {"displayname": "Alice"},
        ("PUT", "/profile/{userId}/m.tz"): {"m.tz": "Europe/London"},
        ("POST", "/pushers/set"): {
            "app_id": "org.example.app",
            "app_display_name": "App",
            "device_display_name": "phone",
            "kind": "http",
            "lang": "en",
            "pushkey": "k",
            "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
        },
        ("PUT", "/pushrules/global/content/{ruleId}"): {"pattern": "cake", "actions": ["notify"]},
        ("PUT", "/pushrules/global/content/{ruleId}/actions"): {"actions": []},
        ("PUT", "/pushrules/global/content/{ruleId}/enabled"): {"enabled": False},
        ("GET", "/room_keys/version"): (200, "where the client had no backup then, there is one"),
        ("PUT", "/pushrules/global/override/.m.rule.contains_display_name/enabled"): {"enabled": False},
        ("PUT", "/pushrules/global/override/{roomId}"): {"conditions": [], "actions": []},
        ("PUT", "/pushrules/global/room/{roomId}"): {"actions": []},
        ("POST", "/refresh"): {"refresh_token": stage.refresh_token},
        ("POST", "/register"): {
            "username": f"new{stage.number}",
            "password": PASSWORD,
            "auth": {"type": "m.login.dummy"},
        },
        ("PUT", "/room_keys/keys"): {"rooms": {names["roomId"]: {"sessions": {names["sessionId"]: key}}}},
        ("POST", "/room_keys/version"): {
            "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
            "auth_data": {"public_key": "abc", "signatures": {}},
        },
        ("POST", "/rooms/{roomId}/ban"): {"user_id": names["badId"]},
        ("POST", "/rooms/{roomId}/unban"): {"user_id": names["badId"]},
        ("POST", "/rooms/{roomId}/kick"): target,
        ("POST", "/rooms/{roomId}/invite"): {"user_id": names["invitedId"]},
        ("POST", "/rooms/{roomId}/read_markers"): {"m.fully_read": names["eventId"], "m.read": names["eventId"]},
        ("POST", "/rooms/{roomId}/upgrade"): {"new_version": "11"},
        ("POST", "/rooms/{roomId}/report"): {"reason": "noise"},
        ("POST", "/rooms/{roomId}/report/{eventId}"): {"reason": "noise"},
        ("PUT", "/rooms/{roomId}/state/m.room.join_rules/"): {"join_rule": "public"},
        ("PUT", "/rooms/{roomId}/state/m.room.name/"): {"name": "another name"},
        ("PUT", "/rooms/{roomId}/state/m.room.topic/"): {"topic": "another topic"},
        ("PUT", "/rooms/{roomId}/state/m.room.pinned_events/"): {"pinned": [names["eventId"]]},
        ("PUT", "/rooms/{roomId}/state/m.room.power_levels/"): {"users": {alice.user_id: 100}},
        ("PUT", "/rooms/{roomId}/typing/{userId}"): {"typing": True, "timeout": 1000},
        ("POST", "/search"): {"search_categories": {"room_events": {"search_term": "hello"}}},
        ("POST", "/user_directory/search"): {"search_term": "bob"},
        ("POST", "/org.matrix.simplified_msc3575/sync"): {"lists": {}},
    }


async def set_stage(folder: Path) -> Stage:
    """People, rooms, keys and files, as they were there on the recorded day."""
    server = open_server(settings=server_settings(media=MediaSettings(folder / "media")))
    alice, bob = await server.register("alice", refresh_token=True), await server.register("bob")
    bad = await server.register("mallory")
    spare = await server.log_in("alice", device_id="SPARE", refresh_token=True)
    room = {"preset": "public_chat", "room_version": "11"}
    # Version 11 still lets the creator stand among the users of the power levels, as the clients of that day wrote.
    room_id = await alice.create_room(**room, name="room", topic="topic", room_alias_name="room")
    join_id = await alice.create_room(**room, room_alias_name="open")
    knock_id = await alice.create_room(
        **{**room, "preset": "private_chat"},
        initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}],
    )
    parting_id, forgotten_id = await alice.create_room(**room), await alice.create_room(**room)
    await alice.post(f"/rooms/{forgotten_id}/leave")
    await bob.join(room_id)
    event_id = await alice.say(room_id, "hello")
    material, bobs = DeviceMaterial(alice.user_id, alice.device_id), DeviceMaterial(bob.user_id, bob.device_id)
    await alice.post("/keys/upload", {"device_keys": material.device_keys()})
    await bob.post("/keys/upload", {"device_keys": bobs.device_keys(), "one_time_keys": bobs.one_time_keys(0, 5)})
    backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "a", "signatures": {}}}
    version = (await alice.post("/room_keys/version", backup))["version"]
    data = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {"ciphertext": "x"}}
    await alice.put(f"/room_keys/keys/{room_id}/session", data, version=version)
    everywhere, in_room = f"/user/{alice.user_id}/account_data", f"/user/{alice.user_id}/rooms/{room_id}"
    for name in ("org.x", "org.x.y", "m.ignored_user_list", "m.secret_storage.key.thekey"):
        await alice.put(f"{everywhere}/{name}", {})
    await alice.put(f"{in_room}/account_data/org.r", {})
    for tag in ("m.favourite", "u.x"):
        await alice.put(f"{in_room}/tags/{tag}", {})
    await alice.put("/pushrules/global/content/cake", {"pattern": "cake", "actions": ["notify"]})
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    await alice.put(f"/profile/{alice.user_id}/avatar_url", {"avatar_url": f"mxc://{SERVER_NAME}/abc"})
    await alice.put(f"/profile/{alice.user_id}/m.tz", {"m.tz": "Europe/London"})
    filter_id = (await alice.post(f"/user/{alice.user_id}/filter", {}))["filter_id"]
    query = {"org.matrix.msc4140.delay": 60_000}
    delayed = await alice.put(f"/rooms/{room_id}/send/m.room.message/later", {"body": "later"}, **query)
    refreshed = await server.request(
        "POST",
        "/login",
        {
            "type": "m.login.password",
            "user": "alice",
            "password": PASSWORD,
            "refresh_token": True,
            "identifier": {"type": "m.id.user", "user": "alice"},
        },
    )
    upload = await server.client.request(
        "POST", "/_matrix/media/v3/upload", token=alice.token, headers={"content-type": "image/png"}, body=picture()
    )
    names = {
        "roomId": room_id,
        "joinId": join_id,
        "knockId": knock_id,
        "partingId": parting_id,
        "forgottenId": forgotten_id,
        "eventId": event_id,
        "userId": alice.user_id,
        "badId": bad.user_id,
        "invitedId": f"@somebody:{SERVER_NAME}",
        "alias": f"%23open:{SERVER_NAME}",
        "deviceId": spare.device_id,
        "server": SERVER_NAME,
        "mediaId": "nothing",
        "pictureId": upload.json["content_uri"].rpartition("/")[2],
        "name": "picture.png",
        "ruleId": "cake",
        "version": version,
        "sessionId": "session",
        "filterId": filter_id,
        "keyId": "thekey",
        "delayId": delayed["delay_id"],
    }
    return Stage(server, alice, bob, names, material, refreshed.json["refresh_token"])
