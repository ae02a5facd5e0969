"""Other networks, as the application services that lead to them tell. Spec: Application Service API, "Third-party
networks"; asked by `client_api/third_party.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from homeserver.appservice_api.client import AppserviceAnswer
from homeserver.appservice_api.registration import Appservice
from homeserver.appservice_api.registry import Registry

SEPARATOR = "|"
"""Between the service's id and the network's in an `instance_id`, as `rooms/public_rooms.py` reads it."""


class NetworkCalls(Protocol):
    """How a service is asked."""

    async def ask_network(self, appservice: Appservice, path: str) -> AppserviceAnswer: ...


class AppserviceNetworks:
    """Implements `client_api.third_party.ThirdPartyNetworks`."""

    def __init__(self, registry: Registry, client: NetworkCalls) -> None:
        self._registry = registry
        self._client = client

    async def protocols(self) -> dict[str, dict[str, Any]]:
        """Every protocol that a service registered and answers for; instances of several services are put together."""
        asked = [(one, protocol) for one in self._with_address() for protocol in one.protocols]
        answers = await asyncio.gather(
            *(self._ask(one, f"protocol/{quote(protocol, safe='')}") for one, protocol in asked)
        )
        found: dict[str, dict[str, Any]] = {}
        for (appservice, protocol), answer in zip(asked, answers, strict=True):
            if not isinstance(answer, dict):
                continue
            instances = [
                {**one, "instance_id": f"{appservice.id}{SEPARATOR}{one['network_id']}"}
                for one in answer.get("instances") or ()
                if isinstance(one, dict) and isinstance(one.get("network_id"), str)
            ]
            known = found.setdefault(protocol, {**answer, "instances": []})
            known["instances"] += instances
        return found

    async def find(self, kind: str, protocol: str | None, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """What all the services that may know it answer, one after the other."""
        services = [one for one in self._with_address() if protocol is None or protocol in one.protocols]
        path = kind if protocol is None else f"{kind}/{quote(protocol, safe='')}"
        query = urlencode(dict(fields))
        answers = await asyncio.gather(*(self._ask(one, f"{path}?{query}") for one in services))
        return [one for answer in answers if isinstance(answer, list) for one in answer if isinstance(one, dict)]

    def _with_address(self) -> list[Appservice]:
        return [one for one in self._registry.appservices if one.url is not None]

    async def _ask(self, appservice: Appservice, path: str) -> Any:
        """The JSON of an answer; None for a service that does not know, or cannot be reached."""
        answer = await self._client.ask_network(appservice, path)
        if answer.status != 200:
            return None
        try:
            return msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            return None
