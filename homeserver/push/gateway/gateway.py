"""The gateway: which app a device is of, who passes it on, and what is answered.

A provider that has no time now (429, 5xx) is asked again soon where it says so; else the homeserver is told to come
back, and until then nobody of that app asks. What was delivered is remembered for a while by event and device, so that
the homeserver's next try reaches only those devices that it did not reach before.

Spec: Push Gateway API: "It is therefore necessary to perform duplicate suppression for such notifications using the
`event_id` field".
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from homeserver.clock import Clock
from homeserver.metrics import Metrics
from homeserver.outbound.client import Outbound
from homeserver.protocol.globs import Glob
from homeserver.push.gateway.apns import Apns
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.gateway.fcm import Fcm
from homeserver.push.gateway.notification import (
    Device,
    Dropped,
    Notification,
    Refused,
    Unreachable,
    parse_notification,
)
from homeserver.push.gateway.unified_push import UnifiedPush
from homeserver.push.gateway.web_push import WebPush
from homeserver.push.own_gateway import OwnGatewayFailed

TRIES: Final = 3
LONGEST_PAUSE: Final = 5.0
"""Seconds that a request may wait for the next try; whoever is told to wait longer comes back later."""
DEFAULT_PAUSE: Final = 1.0
DEFAULT_ABSENCE: Final = 30.0
REMEMBERED: Final = 20_000
IN_FLIGHT: Final = 500
"""Notifications at once; anybody may call the gateway."""

_log = logging.getLogger("homeserver.push.gateway")


class Provider(Protocol):
    """Passes notifications on to the devices of one app."""

    async def send(self, notification: Notification, device: Device) -> None:
        """Returns when the provider has taken it. Raises Refused, Dropped, Unreachable."""
        ...

    async def close(self) -> None: ...


class App:
    """One configured app."""

    def __init__(self, settings: AppSettings, provider: Provider) -> None:
        self.kind = settings.kind
        self.app_id = settings.app_id
        self.provider = provider
        self.absent_until = 0.0
        self._pattern = Glob(settings.app_id)

    def serves(self, app_id: str) -> bool:
        """Whether the pattern matches."""
        return self._pattern.matches(app_id)


class PushGateway:
    """All apps."""

    def __init__(self, apps: Sequence[App], clock: Clock) -> None:
        self._apps = apps
        self._clock = clock
        self._in_flight = 0
        self._delivered: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self.outcomes: Counter[tuple[str, str]] = Counter()

    @property
    def is_unified_push(self) -> bool:
        """Whether apps that bring their own push servers are served."""
        return any(app.kind == "unifiedpush" for app in self._apps)

    def serves(self, app_id: str) -> bool:
        return self._find(app_id) is not None

    async def notify(self, notification: Mapping[str, Any]) -> list[str]:
        """The pushkeys that are rejected. Raises BadJson, and OwnGatewayFailed when the homeserver shall try again."""
        parsed = parse_notification(notification)
        if self._in_flight >= IN_FLIGHT:
            raise OwnGatewayFailed("too many notifications at once", 10.0)
        self._in_flight += 1
        try:
            return await self._notify(parsed)
        finally:
            self._in_flight -= 1

    async def _notify(self, parsed: Notification) -> list[str]:
        rejected: list[str] = []
        failure: Unreachable | None = None
        for device in parsed.devices:
            try:
                await self._tell(parsed, device)
            except Refused as error:
                _log.info("a pushkey of %s is rejected: %s", device.app_id, error)
                rejected.append(device.pushkey)
            except Unreachable as error:
                failure = error
        if failure is not None:  # at the next try, what was delivered is left out, and what is rejected is so again
            raise OwnGatewayFailed(str(failure), failure.retry_after)
        return rejected

    async def close(self) -> None:
        for app in self._apps:
            await app.provider.close()

    def _find(self, app_id: str) -> App | None:
        matching = [app for app in self._apps if app.serves(app_id)]
        return next((app for app in matching if app.app_id == app_id), matching[0] if matching else None)

    async def _tell(self, notification: Notification, device: Device) -> None:
        app = self._find(device.app_id)
        if app is None:
            raise Refused("this gateway does not know the app")
        known = (device.app_id, device.pushkey, notification.event_id or "")
        if notification.event_id and known in self._delivered:
            return
        try:
            await self._send(app, notification, device)
        except Dropped as error:
            _log.warning("a notification for %s was dropped: %s", device.app_id, error)
            self.outcomes[app.kind, "dropped"] += 1
            return
        except Refused:
            self.outcomes[app.kind, "rejected"] += 1
            raise
        except Unreachable:
            self.outcomes[app.kind, "failed"] += 1
            raise
        self.outcomes[app.kind, "delivered"] += 1
        if notification.event_id:
            self._delivered[known] = None
            if len(self._delivered) > REMEMBERED:
                self._delivered.popitem(last=False)

    async def _send(self, app: App, notification: Notification, device: Device) -> None:
        absent = app.absent_until - self._clock.monotonic()
        if absent > 0:
            raise Unreachable("its provider asked to be left alone", absent)
        pause = DEFAULT_PAUSE
        for attempt in range(1, TRIES + 1):
            try:
                return await app.provider.send(notification, device)
            except Unreachable as error:
                wait = pause if error.retry_after is None else error.retry_after
                if attempt == TRIES or wait > LONGEST_PAUSE:
                    away = DEFAULT_ABSENCE if error.retry_after is None else error.retry_after
                    if error.is_for_all:
                        app.absent_until = self._clock.monotonic() + away
                    _log.warning("%s is not reached for %s: %s", app.kind, app.app_id, error)
                    raise Unreachable(str(error), away) from error
            await self._clock.sleep(wait)
            pause *= 2


def build_gateway(apps: Sequence[AppSettings], outbound: Outbound, clock: Clock, metrics: Metrics) -> PushGateway:
    """Raises ValueError when an app's settings are incomplete or its key is none."""
    gateway = PushGateway([App(app, _provider(app, outbound, clock)) for app in apps], clock)
    metrics.add_labelled(
        "halfdoor_push_gateway_notifications",
        "Notifications that this gateway passed on, by kind of provider and outcome",
        ("kind", "outcome"),
        lambda: {labels: float(number) for labels, number in gateway.outcomes.items()},
    )
    return gateway


def _provider(app: AppSettings, outbound: Outbound, clock: Clock) -> Provider:
    try:
        if app.kind == "apns":
            return Apns(app, clock)
        if app.kind == "fcm":
            return Fcm(app, outbound, clock)
        if app.kind == "webpush":
            return WebPush(app, outbound, clock)
        return UnifiedPush(app, outbound)
    except ValueError as error:
        raise ValueError(f"push.gateway.apps, {app.app_id}: {error}") from None
