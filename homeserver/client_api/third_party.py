"""Other networks that application services lead to. Spec: Client-Server API, "Third-party Lookups"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from homeserver.http.request import Request, Response
from homeserver.protocol.errors import MissingParam, NotFound


class ThirdPartyNetworks(Protocol):
    """What is known of other networks. Fields are the query parameters of a look-up."""

    async def protocols(self) -> dict[str, dict[str, Any]]:
        """What there is to know of each protocol, by its id."""
        ...

    async def find(self, kind: str, protocol: str | None, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """`kind` is `user` or `location`. With a protocol, Matrix names of a remote one; without, the reverse."""
        ...


class NoNetworks:
    """No application service offers a protocol."""

    async def protocols(self) -> dict[str, dict[str, Any]]:
        return {}

    async def find(self, kind: str, protocol: str | None, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        return []


class ThirdPartyApi:
    """/thirdparty."""

    def __init__(self, networks: ThirdPartyNetworks) -> None:
        self._networks = networks

    async def get_protocols(self, request: Request) -> Response:
        return Response(await self._networks.protocols())

    async def get_protocol(self, request: Request) -> Response:
        return Response(await self._protocol(request))

    async def query_locations(self, request: Request) -> Response:
        return await self._query("location", request)

    async def query_users(self, request: Request) -> Response:
        return await self._query("user", request)

    async def query_location_by_alias(self, request: Request) -> Response:
        return await self._reverse("location", "alias", request)

    async def query_user_by_id(self, request: Request) -> Response:
        return await self._reverse("user", "userid", request)

    async def _protocol(self, request: Request) -> dict[str, Any]:
        found = (await self._networks.protocols()).get(request.path_params["protocol"])
        if found is None:
            raise NotFound("No application service offers this protocol")
        return found

    async def _query(self, kind: str, request: Request) -> Response:
        await self._protocol(request)
        fields = {name: values[0] for name, values in request.query.items() if name != "access_token"}
        found = await self._networks.find(kind, request.path_params["protocol"], fields)
        if not found:
            raise NotFound(f"No {kind} of this network was found")
        return Response(found)

    async def _reverse(self, kind: str, parameter: str, request: Request) -> Response:
        values = request.query.get(parameter)
        if not values:
            raise MissingParam(f"The query parameter {parameter!r} is required.")
        found = await self._networks.find(kind, None, {parameter: values[0]})
        if not found:
            raise NotFound(f"No {kind} of another network was found")
        return Response(found)
