"""Queries: aliases, profiles, devices and their keys, version."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from federation.transactions import takes_part
from homeserver.encryption.services import EncryptionServices
from homeserver.http.parsing import query_bool, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import BadJson, Forbidden, MissingParam, NotFound, UnknownToken, Unrecognized
from homeserver.protocol.identifiers import domain_of, parse_room_alias, parse_user_id
from homeserver.rooms.public_rooms import DirectoryQuery
from homeserver.rooms.services import RoomServices
from homeserver.users.services import UserServices

PUBLIC_ROOMS_MAX = 500
"""Also where no limit was asked for."""


class QueriesApi:
    """Handlers behind `ServerAuthenticator.signed`, but for the version."""

    def __init__(self, users: UserServices, rooms: RoomServices, encryption: EncryptionServices, own_name: str) -> None:
        self._users = users
        self._rooms = rooms
        self._encryption = encryption
        self._own_name = own_name

    async def get_version(self, request: Request) -> Response:
        return Response({"server": {"name": "Halfdoor", "version": version("halfdoor")}})

    async def get_openid_user(self, request: Request) -> Response:
        """`GET /openid/userinfo`: whose OpenID token it is."""
        token = request.access_token  # "access_token" of the query, which no log shows
        if token is None:
            raise MissingParam("The query parameter 'access_token' is required.")
        user_id = await self._users.openid.find_user(token)
        if user_id is None:
            raise UnknownToken("The token is unknown, or has expired")
        return Response({"sub": user_id})

    async def get_public_rooms(self, request: Request, origin: str, body: Any) -> Any:
        """`GET /publicRooms`"""
        query = DirectoryQuery(
            limit=query_int(request, "limit", 0, minimum=0, maximum=PUBLIC_ROOMS_MAX, clamp=True) or PUBLIC_ROOMS_MAX,
            since=query_string(request, "since", None) or None,
            instance_id=query_string(request, "third_party_instance_id", None) or None,
            all_networks=query_bool(request, "include_all_networks", False),
        )
        return await self._rooms.public_rooms.page(query)

    async def query_public_rooms(self, request: Request, origin: str, body: Any) -> Any:
        """`POST /publicRooms`"""
        said: dict[str, Any] = body if isinstance(body, dict) else {}
        wanted: dict[str, Any] = said["filter"] if isinstance(said.get("filter"), dict) else {}
        term, types, limit = wanted.get("generic_search_term"), wanted.get("room_types"), said.get("limit")
        kept = [one for one in types if one is None or isinstance(one, str)] if isinstance(types, list) else None
        since, instance = said.get("since"), said.get("third_party_instance_id")
        query = DirectoryQuery(
            term=term[:255] if isinstance(term, str) else "",
            room_types=kept,
            limit=(min(max(limit, 0), PUBLIC_ROOMS_MAX) if isinstance(limit, int) else 0) or PUBLIC_ROOMS_MAX,
            since=since if isinstance(since, str) and since else None,
            instance_id=instance if isinstance(instance, str) and instance else None,
            all_networks=said.get("include_all_networks") is True,
        )
        return await self._rooms.public_rooms.page(query)

    async def query_directory(self, request: Request, origin: str, body: Any) -> Any:
        alias = parse_room_alias(query_string(request, "room_alias"))
        if domain_of(alias) != self._own_name:
            raise NotFound("That is not an alias of this server")
        room_id, servers = await self._rooms.aliases.get(alias)
        room = await self._rooms.live.find(room_id)
        if room is not None:
            servers = list(dict.fromkeys([*servers, *room.servers_to_ask()]))[:50]
        return {"room_id": room_id, "servers": servers}

    async def query_profile(self, request: Request, origin: str, body: Any) -> Any:
        user_id = self._own_user(query_string(request, "user_id"))
        if not self._users.profiles.for_strangers and not await self._shares_room(origin, user_id):
            raise Forbidden("Profiles of this server can be read by those who share a room with their user.")
        profile = await self._users.profiles.get_profile(user_id)
        field = query_string(request, "field", None)
        if field is None:
            return profile
        return {field: profile[field]} if field in profile else {}

    async def query_keys(self, request: Request, origin: str, body: Any) -> Any:
        wanted = body.get("device_keys") if isinstance(body, dict) else None
        if not isinstance(wanted, dict):
            raise BadJson("'device_keys' must be an object")
        asked = {
            user_id: [one for one in devices if isinstance(one, str)] if isinstance(devices, list) else []
            for user_id, devices in wanted.items()
            if domain_of(user_id) == self._own_name
        }
        answer = await self._encryption.key_queries.query_local(None, asked)
        answer.pop("user_signing_keys", None)
        return answer

    async def claim_keys(self, request: Request, origin: str, body: Any) -> Any:
        wanted = body.get("one_time_keys") if isinstance(body, dict) else None
        if not isinstance(wanted, dict):
            raise BadJson("'one_time_keys' must be an object")
        asked = {
            user_id: {
                device: kind
                for device, kind in devices.items()
                if isinstance(kind, str) and "\0" not in device + kind  # which PostgreSQL refuses to look for
            }
            for user_id, devices in wanted.items()
            if domain_of(user_id) == self._own_name and isinstance(devices, dict) and "\0" not in user_id
        }
        return {"one_time_keys": await self._encryption.one_time_keys.claim_local(asked)}

    async def get_devices(self, request: Request, origin: str, body: Any) -> Any:
        user_id = self._own_user(request.path_params["user_id"])
        keys = await self._encryption.key_queries.query_local(None, {user_id: []})
        devices = []
        for device_id, device_keys in keys["device_keys"].get(user_id, {}).items():
            unsigned = device_keys.get("unsigned", {}) if isinstance(device_keys, dict) else {}
            entry = {"device_id": device_id, "keys": device_keys}
            if "device_display_name" in unsigned:
                entry["device_display_name"] = unsigned["device_display_name"]
            devices.append(entry)
        answer: dict[str, Any] = {"user_id": user_id, "stream_id": self._rooms.store.position, "devices": devices}
        for name, member in (("master_key", "master_keys"), ("self_signing_key", "self_signing_keys")):
            if user_id in keys.get(member, {}):
                answer[name] = keys[member][user_id]
        return answer

    async def query_other(self, request: Request, origin: str, body: Any) -> Any:
        """`GET /query/{queryType}` of a type that the specification does not have: its two have rows of their own."""
        raise Unrecognized("This server knows no queries of that type")

    async def _shares_room(self, origin: str, user_id: str) -> bool:
        """Whether anybody of a server is in a room with one of our users (G09)."""
        for room_id in await self._rooms.memberships.joined_rooms(user_id):
            room = await self._rooms.live.find(room_id)
            if room is not None and takes_part(room, origin):
                return True
        return False

    def _own_user(self, user_id: str) -> str:
        if domain_of(parse_user_id(user_id)) != self._own_name:
            raise NotFound("That is not a user of this server")
        return user_id
