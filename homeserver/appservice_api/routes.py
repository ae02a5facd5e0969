"""The index of what application services call beside the Client-Server API: the ping."""

from __future__ import annotations

import msgspec

from homeserver.appservice_api.services import AppserviceServices
from homeserver.clock import Clock
from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.protocol.errors import BadStatus, ConnectionFailed, ConnectionTimeout, Forbidden, UrlNotSet


class _PingBody(msgspec.Struct):
    transaction_id: str | None = None


class PingApi:
    """`POST /appservice/{appserviceId}/ping`. Spec: Application Service API, "Pinging"."""

    def __init__(self, services: AppserviceServices, clock: Clock) -> None:
        self._services = services
        self._clock = clock

    async def ping(self, request: Request) -> Response:
        """Whether this server reaches the service that asks. Raises UrlNotSet, BadStatus, ConnectionFailed, …"""
        body = parse_body(request, _PingBody, allow_empty=True)
        appservice_id = request.path_params["appservice_id"]
        if request.user.appservice_id != appservice_id:
            raise Forbidden("An application service can ping only itself.")
        appservice = self._services.registry.find(appservice_id)
        if appservice is None or appservice.url is None:
            raise UrlNotSet("The application service has no url.")
        started = self._clock.monotonic()
        answer = await self._services.client.ping(appservice, body.transaction_id)
        if answer.timed_out:
            raise ConnectionTimeout("The application service did not answer in time.")
        if answer.status == 0:
            raise ConnectionFailed(f"The application service could not be reached: {answer.error}.")
        if not 200 <= answer.status < 300:
            text = answer.body[:1_000].decode("utf-8", "replace")
            raise BadStatus("The application service answered with an error.", status=answer.status, body=text)
        return Response({"duration_ms": int((self._clock.monotonic() - started) * 1000)})


def appservice_routes(services: AppserviceServices, clock: Clock) -> list[Route]:
    api = PingApi(services, clock)
    path = "/_matrix/client/v1/appservice/{appservice_id}/ping"
    return [Route("POST", path, api.ping, Auth.APPSERVICE, RateClass.NONE, "pingAppservice")]
