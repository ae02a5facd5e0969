"""The composition root: from a configuration to a running server, and to its graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import random
import signal
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import uvloop

from config.settings import Listener, Settings
from homeserver.appservice_api.registration import load_registration
from homeserver.client_api.sync_socket import SyncSocketRoute
from homeserver.clock import Clock, SystemClock
from homeserver.composition import Homeserver, build
from homeserver.configured import (
    is_exempt,
    mailer_of,
    outbound_of,
    route_limits,
    server_settings,
)
from homeserver.hooks import Hooks
from homeserver.http.application import HttpApplication, HttpSettings
from homeserver.http.rate_limits import RouteLimiter
from homeserver.http.reactor import install_reactor
from homeserver.http.routing import Route, Router
from homeserver.http.scraping import metrics_routes
from homeserver.http.tls import TlsFiles
from homeserver.http.twisted_server import HttpServer
from homeserver.logs import configure_logs
from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.client import OutboundClient
from homeserver.protocol.identifiers import parse_server_name
from homeserver.storage.database import Database
from homeserver.storage.opening import open_database
from homeserver.sync.socket import PATH as SYNC_SOCKET_PATH
from homeserver.users.recaptcha import Recaptcha

if TYPE_CHECKING:
    from bridges.webchat import WebchatBridge
    from federation.remote_servers import RemoteServers
    from federation.services import FederationServices

GARBAGE_THRESHOLDS = (20_000, 10, 10)
"""How many objects are made between two looks for cycles: a request makes hundreds and leaves none behind, so looking
every 700, as Python does by itself, is mostly for nothing."""
DELETION_PAUSE_SECONDS = 5.0
"""Other servers and bridges read the stream at their own pace; by then they have heard who left the room."""

FIRST_REQUESTS_SECONDS = 1.0
"""After somebody joins a big room elsewhere, their client shows it and they say something before its members follow."""

_log = logging.getLogger("homeserver")


def run(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT. Returns the exit status."""
    configure_logs(
        style="json" if settings.logging.format == "json" else "human",
        level=settings.logging.level,
        areas=settings.logging.levels,
    )
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    reactor = install_reactor(loop)
    try:
        loop.run_until_complete(_serve(settings, reactor))
    finally:
        reactor.getThreadPool().stop()  # names are looked up there, and its threads would keep the process alive
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return 0


async def _serve(settings: Settings, reactor: Any) -> None:
    running = await start(settings, reactor)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, running.http.reload_tls)
    _give_back_memory()
    _log.info("%s is ready: %s", settings.server_name, ", ".join(running.addresses))
    await stopped.wait()
    _log.info("Stopping: no further requests are taken")
    await running.stop(settings.shutdown_seconds)
    _log.info("Stopped")


def _give_back_memory() -> None:
    """What the start needed for a moment (4 MiB, mostly compiled modules and the parsed configuration) is the system's
    again; glibc would keep it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@dataclass(slots=True)
class RunningServer:
    """A server with its listeners."""

    homeserver: Homeserver
    http: HttpServer
    webchat: WebchatBridge | None
    addresses: list[str]
    outbound: OutboundClient
    federation: FederationServices | None

    async def stop(self, grace_seconds: float) -> None:
        """End what runs, write what is only in memory, close the database."""
        async with contextlib.AsyncExitStack() as steps:  # the last one first; one that fails keeps none from its turn
            steps.push_async_callback(self.homeserver.db.close)
            steps.push_async_callback(self.outbound.close)
            steps.push_async_callback(self.homeserver.close)
            if self.federation is not None:
                steps.push_async_callback(self.federation.stop)
            steps.push_async_callback(self.http.shut_down, grace_seconds, wake=self.homeserver.notifier.close)
            steps.push_async_callback(self.homeserver.sync.sockets.close)
            if self.webchat is not None:
                steps.push_async_callback(self.webchat.stop)


async def start(settings: Settings, reactor: Any) -> RunningServer:
    """Open the database, build the parts and listen."""
    clock = SystemClock()
    url = settings.database.url
    db = await open_database(str(settings.database.sqlite_file) if url is None else url.reveal(), clock)
    async with contextlib.AsyncExitStack() as undo:  # what was begun would keep the process from ending
        undo.push_async_callback(db.close)
        running = await _start_on(db, clock, settings, reactor, undo)
        undo.pop_all()
        return running


async def _start_on(
    db: Database, clock: Clock, settings: Settings, reactor: Any, undo: contextlib.AsyncExitStack
) -> RunningServer:
    appservices = [load_registration(file, settings.server_name) for file in settings.appservices.registration_files]
    webchat: WebchatBridge | None = None
    if settings.webchat.enabled:
        from homeserver.bundled_webchat import start_webchat  # costs memory that servers without it keep

        webchat, registered = await start_webchat(settings)
        appservices.append(registered)
    outbound = outbound_of(settings, reactor)
    hooks = Hooks()
    recaptcha = settings.registration.recaptcha
    if recaptcha.secret_key is not None:
        hooks.verify_captcha.append(Recaptcha(recaptcha.secret_key.reveal(), recaptcha.verify_url).verify)
    federated = None
    if settings.federation.enabled:
        from federation.remote_servers import RemoteServers  # costs memory that servers without it keep

        federated = RemoteServers(settings.server_name)
    homeserver = build(
        db,
        clock,
        server_settings(settings),
        hooks=hooks,
        appservices=appservices,
        mailer=mailer_of(settings, clock),
        outbound=outbound,
        remote=federated,
    )
    federation = None if federated is None else federation_of(settings, homeserver, federated, reactor)
    if settings.ldap.uri is not None:
        use_directory(settings, homeserver)
    undo.push_async_callback(homeserver.close)
    homeserver.admin.rooms.deletion.pause_seconds = DELETION_PAUSE_SECONDS
    homeserver.admin.rooms.deletion.pauses_for_bridges = bool(appservices)
    await homeserver.start()
    if federation is not None:
        undo.push_async_callback(federation.stop)
        await federation.start()
        homeserver.admin.federation.reset = federation.backoff.forget
        homeserver.admin.federation.told = federation.sender.told
    http = HttpServer(reactor, clock)
    limiter: RouteLimiter | None = None
    if settings.rate_limits.enabled:
        exempt = partial(is_exempt, homeserver.appservices.registry)
        override = homeserver.admin.users.rate_limits.of_user
        limiter = RouteLimiter(clock, route_limits(settings), is_exempt=exempt, override=override)
    addresses: list[str] = []
    for listener in settings.listeners:
        application = HttpApplication(
            Router(_rows(homeserver, federation, listener)),
            homeserver.authenticator,
            limiter,
            clock=clock,
            settings=HttpSettings(
                upload_body_limit=settings.media.max_upload_bytes, trusted_proxies=tuple(listener.trusted_proxies)
            ),
            metrics=homeserver.metrics.requests,
        )
        listening = http.listen_tcp(
            application,
            listener.host,
            listener.port,
            tls=_tls(listener),
            websocket_routes=_sockets(settings, homeserver, listener, reactor),
        )
        addresses.append(f"{listener.host}:{listening.port} ({', '.join(listener.apis)})")
    if settings.metrics.enabled:
        scraped = HttpApplication(Router(metrics_routes(homeserver.metrics)), homeserver.authenticator, clock=clock)
        http.listen_tcp(scraped, settings.metrics.host, settings.metrics.port, is_essential=True)
        addresses.append(f"{settings.metrics.host}:{settings.metrics.port} (metrics)")
    if webchat is not None:
        addresses.append(f"{webchat.public_url} (webchat)")
    return RunningServer(homeserver, http, webchat, addresses, outbound, federation)


def federation_of(
    settings: Settings, homeserver: Homeserver, remote: RemoteServers, reactor: Any
) -> FederationServices:
    """Other servers: they may listen on any port, and are asked by a client of their own."""
    from federation.service_records import look_up_services
    from federation.services import FederationSettings, build_federation_services, notary_of

    outbound = settings.outbound
    own_ports = {settings.metrics.port, settings.webchat.port}
    guard = AddressGuard(outbound.allowed_networks, outbound.denied_networks, (), own_ports)
    services = build_federation_services(
        homeserver,
        remote,
        OutboundClient(guard, outbound.user_agent, reactor),
        look_up_services,
        random.SystemRandom(),
        FederationSettings(
            old_keys={old.key_id: (old.public_key, old.expired_ts) for old in settings.federation.old_signing_keys},
            notaries=[
                notary_of(parse_server_name(notary.server_name), notary.public_keys)
                for notary in settings.federation.notaries
            ],
            blocked_keys=settings.federation.blocked_keys,
            allowed_servers=settings.federation.allowed_servers,
            denied_servers=settings.federation.denied_servers,
        ),
    )
    services.completion.grace_seconds = FIRST_REQUESTS_SECONDS
    return services


def use_directory(settings: Settings, homeserver: Homeserver) -> None:
    """Let an LDAP directory judge passwords."""
    from homeserver.ldap import LdapPasswords, LdapSettings  # costs memory that servers without a directory keep

    if find_spec("ldap3") is None:
        raise RuntimeError('ldap.uri is set, but ldap3 is not installed: pip install "halfdoor[ldap]"')

    ldap = settings.ldap
    chosen = LdapSettings(
        uri=ldap.uri or "",
        base=ldap.base,
        name_attribute=ldap.name_attribute,
        mail_attribute=ldap.mail_attribute,
        display_name_attribute=ldap.display_name_attribute,
        filter=ldap.filter,
        bind_dn=ldap.bind_dn,
        bind_password=None if ldap.bind_password is None else ldap.bind_password.reveal(),
        start_tls=ldap.start_tls,
        ca_file=ldap.ca_file,
        timeout=ldap.timeout_seconds,
    )
    users = homeserver.users
    passwords = LdapPasswords(chosen, settings.server_name, users.vouched_accounts, asyncio.to_thread)
    homeserver.hooks.check_password.append(passwords.check_password)
    users.hooks.check_new_password.append(passwords.check_new_password)


def _rows(homeserver: Homeserver, federation: FederationServices | None, listener: Listener) -> list[Route]:
    rows: list[Route] = []
    if "client" in listener.apis:
        rows += homeserver.client_routes
    if "admin" in listener.apis:
        rows += homeserver.admin_routes
    if "federation" in listener.apis and federation is not None:
        rows += federation.routes
    return rows


def _sockets(
    settings: Settings, homeserver: Homeserver, listener: Listener, reactor: Any
) -> dict[str, SyncSocketRoute]:
    """What a listener upgrades to a WebSocket."""
    if "client" not in listener.apis or not settings.sync.websocket_enabled:
        return {}
    route = SyncSocketRoute(
        homeserver.sync.sockets,
        reactor,
        origins=tuple(settings.sync.websocket_origins),
        proxies=tuple(listener.trusted_proxies),
    )
    return {SYNC_SOCKET_PATH: route}


def _tls(listener: Listener) -> TlsFiles | None:
    if listener.tls_certificate_file is None or listener.tls_key_file is None:
        return None
    return TlsFiles(str(listener.tls_certificate_file), str(listener.tls_key_file))
