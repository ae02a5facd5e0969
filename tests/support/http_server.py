"""A real HTTP server on a free port, for tests over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from homeserver.clock import Clock, SystemClock
from homeserver.http.application import HttpApplication, HttpSettings
from homeserver.http.limits import ConnectionSettings, DescriptorGuard
from homeserver.http.request import Request
from homeserver.http.routing import Auth, Route, Router
from homeserver.http.twisted_server import HttpServer
from homeserver.users.requester import Requester


class Everybody:
    """An `Authenticator` that knows everybody as @alice."""

    async def authenticate(self, request: Request, auth: Auth) -> Requester | None:
        return None if auth is Auth.NONE else Requester("@alice:test", "DEVICE", 1)


def application(routes: Iterable[Route], *, clock: Clock | None = None, **settings: Any) -> HttpApplication:
    """An application without rate limits."""
    return HttpApplication(Router(routes), Everybody(), clock=clock or SystemClock(), settings=HttpSettings(**settings))


@asynccontextmanager
async def server(
    clock: Clock | None = None, *, guard: DescriptorGuard | None = None, grace: float = 0.2, **settings: Any
) -> AsyncIterator[HttpServer]:
    """A server that listens nowhere yet; shut down at the end. `settings` are those of `ConnectionSettings`."""
    from twisted.internet import reactor

    made = HttpServer(reactor, clock or SystemClock(), ConnectionSettings(**settings), guard=guard)
    try:
        yield made
    finally:
        await made.shut_down(grace)


@asynccontextmanager
async def serving(routes: Iterable[Route], *, clock: Clock | None = None, **settings: Any) -> AsyncIterator[int]:
    """The port of 127.0.0.1 where `routes` are served."""
    async with server(clock, **settings) as made:
        yield made.listen_tcp(application(routes, clock=clock), "127.0.0.1", 0).port
