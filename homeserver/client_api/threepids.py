"""/account/3pid: the addresses of whoever asks. Spec: Client-Server API, "Adding Account Administrative Contact
Information"."""

from __future__ import annotations

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.http.parsing import convert, parse_body, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden
from homeserver.protocol.identifiers import ServerName
from homeserver.users.identity_servers import identity_server, parse_id_server
from homeserver.users.interactive_auth import InteractiveAuth
from homeserver.users.threepids import Threepids
from homeserver.users.validation_sessions import ValidationSessions

_PASSWORD = [["m.login.password"]]


class _AddBody(msgspec.Struct):
    sid: str
    client_secret: str


class _Credentials(msgspec.Struct):
    sid: str
    client_secret: str
    id_server: str | None = None
    id_access_token: str | None = None


class _OldBody(msgspec.Struct):
    three_pid_creds: _Credentials


class _BindBody(msgspec.Struct):
    sid: str
    client_secret: str
    id_server: str
    id_access_token: str


class _ThreepidBody(msgspec.Struct):
    medium: str
    address: str
    id_server: str | None = None


class ThreepidApi:
    """/account/3pid and below."""

    def __init__(self, threepids: Threepids, sessions: ValidationSessions, interactive_auth: InteractiveAuth) -> None:
        self._threepids = threepids
        self._sessions = sessions
        self._interactive_auth = interactive_auth

    async def get_threepids(self, request: Request) -> Response:
        return Response({"threepids": await self._threepids.list_threepids(request.user.user_id)})

    async def post_threepid(self, request: Request) -> Response:
        """The old way: bound when an identity server is named, else added, for which a password is asked as in
        `add_threepid`: who has an address can reset the password."""
        body = parse_object(request)
        if "threePidCreds" in body:
            body = {"three_pid_creds": body["threePidCreds"], **body}
        wanted = convert(body, _OldBody).three_pid_creds
        if wanted.id_server is not None and wanted.id_access_token is not None:
            server = identity_server(wanted.id_server, wanted.id_access_token)
            await self._threepids.bind(request.user.user_id, server, wanted.sid, wanted.client_secret)
            return Response({})
        return await self._add(request, wanted.sid, wanted.client_secret)

    async def add_threepid(self, request: Request) -> Response:
        wanted = convert(parse_object(request), _AddBody)
        return await self._add(request, wanted.sid, wanted.client_secret)

    async def bind_threepid(self, request: Request) -> Response:
        wanted = parse_body(request, _BindBody)
        server = identity_server(wanted.id_server, wanted.id_access_token)
        await self._threepids.bind(request.user.user_id, server, wanted.sid, wanted.client_secret)
        return Response({})

    async def delete_threepid(self, request: Request) -> Response:
        """Spec, "Account suspension": "Change or add admin contacts, but not remove"."""
        request.user.check_not_suspended()
        wanted = parse_body(request, _ThreepidBody)
        id_server = _id_server(wanted)
        user_id = request.user.user_id
        result = await self._threepids.remove(user_id, wanted.medium, wanted.address, id_server)
        return Response({"id_server_unbind_result": result})

    async def unbind_threepid(self, request: Request) -> Response:
        wanted = parse_body(request, _ThreepidBody)
        id_server = _id_server(wanted)
        user_id = request.user.user_id
        result = await self._threepids.unbind(user_id, wanted.medium, wanted.address, id_server)
        return Response({"id_server_unbind_result": result})

    async def _add(self, request: Request, sid: str, client_secret: str) -> Response:
        if request.user.appservice_id is not None:
            raise Forbidden("Application services have no addresses.")
        self._sessions.check_can_validate()
        await self._threepids.check_confirmed(sid, client_secret)
        await self._interactive_auth.check(operation_of(request, parse_object(request)), _PASSWORD)
        await self._threepids.add(request.user.user_id, sid, client_secret)
        return Response({})


def _id_server(wanted: _ThreepidBody) -> ServerName | None:
    return None if wanted.id_server is None else parse_id_server(wanted.id_server)
