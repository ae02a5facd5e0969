"""Everything of push/ that runs beside the requests, built in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.clock import Clock
from homeserver.mail.mailer import Mailer
from homeserver.metrics import Metrics
from homeserver.outbound.client import Outbound
from homeserver.push.badges import Badges
from homeserver.push.deliveries import Channel, Deliveries
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.http_pushes import PATH, HttpPushes
from homeserver.push.pushers import KnownPushers
from homeserver.push.recipients import Recipients
from homeserver.push.sender import PushSender
from homeserver.push.unread_counts import UnreadCounts
from homeserver.push.unread_events import UnreadEvents
from homeserver.push.unsubscribing import UnsubscribeLinks
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.push_queue import PushQueue
from homeserver.storage.pushers import PusherStore
from homeserver.storage.receipts import ReceiptStore
from homeserver.storage.sliding_sync import SlidingSyncStore
from homeserver.stream import Stream
from homeserver.users.pushers import EMAIL, HTTP
from homeserver.users.services import UserServices

if TYPE_CHECKING:
    from homeserver.push.gateway.gateway import PushGateway


@dataclass(frozen=True, slots=True)
class PushSettings:
    """`includes_content`: whether what messages say leaves the server; `counts_rooms`: whether the number on an app's
    icon is that of rooms, not of messages; `trusted_gateways`: origins of the operator's own; `apps`: those of our
    gateway."""

    includes_content: bool = True
    counts_rooms: bool = True
    trusted_gateways: tuple[str, ...] = ()
    apps: tuple[AppSettings, ...] = ()


@dataclass(slots=True)
class PushServices:
    """The services of push/."""

    settings: PushSettings
    sender: PushSender
    deliveries: Deliveries
    badges: Badges
    known: KnownPushers
    queue: PushQueue
    unsubscribe_links: UnsubscribeLinks
    gateway: PushGateway | None = None

    async def start(self) -> None:
        """Begin to notify, where the last run ended."""
        await self.sender.start()

    async def stop(self) -> None:
        await self.sender.stop()
        if self.gateway is not None:
            await self.gateway.close()

    def forget_all(self) -> None:
        """Another process wrote."""
        self.known.forget_all()
        self.badges.forget_all()


def build_push_services(
    db: Database,
    clock: Clock,
    stream: Stream,
    users: UserServices,
    rooms: RoomServices,
    counts: UnreadCounts,
    outbound: Outbound,
    mailer: Mailer,
    metrics: Metrics,
    settings: PushSettings,
    *,
    server_name: str,
    public_base_url: str,
    secret: bytes,
) -> PushServices:
    """`secret`: only this server has it; what signs the links in e-mails follows from it."""
    queue, receipts = PushQueue(db), ReceiptStore(db)
    known = KnownPushers(PusherStore(db), (HTTP, EMAIL) if mailer.can_send else (HTTP,))
    badges = Badges(
        rooms=rooms,
        receipts=receipts,
        newest_of=SlidingSyncStore(db).newest_positions,
        hides_invite=users.invite_permissions.hides,
        counts=counts,
        stream=stream,
        counts_rooms=settings.counts_rooms,
    )
    events = UnreadEvents(rooms, receipts)
    links = UnsubscribeLinks(secret, public_base_url, users.pushers)
    gateway: PushGateway | None = None
    if settings.apps:
        from homeserver.push.gateway.gateway import build_gateway  # costs memory that servers without it keep

        gateway = build_gateway(settings.apps, outbound, clock, metrics)
    channels: dict[str, Channel] = {
        HTTP: HttpPushes(
            outbound=outbound,
            events=events,
            badges=badges,
            trusted=settings.trusted_gateways,
            includes_content=settings.includes_content,
            own=gateway,
            own_url=public_base_url.rstrip("/") + PATH,
        )
    }
    if mailer.can_send:
        from homeserver.push.email_pushes import EmailPushes  # costs memory that servers without e-mail keep

        users.hooks.list_emails = users.threepids.list_emails
        channels[EMAIL] = EmailPushes(
            mailer=mailer,
            events=events,
            receipts=receipts,
            hooks=users.hooks,
            links=links,
            server_name=server_name,
            includes_content=settings.includes_content,
            clock=clock,
        )
    deliveries = Deliveries(
        db=db,
        queue=queue,
        known=known,
        pushers=users.pushers,
        recipients=Recipients(users.accounts, queue, clock),
        channels=channels,
        clock=clock,
    )
    sender = PushSender(
        db=db,
        queue=queue,
        pushers=known,
        deliveries=deliveries,
        users=users,
        rooms=rooms,
        stream=stream,
        clock=clock,
    )
    _follow_users(users, known)
    metrics.add_labelled(
        "halfdoor_push_notifications",
        "Notifications by outcome: delivered, skipped (read meanwhile), failed tries, given_up, rejected, suppressed",
        ("outcome",),
        lambda: {(outcome,): float(number) for outcome, number in deliveries.outcomes.items()},
    )
    metrics.add_gauge("halfdoor_push_waiting", "Pushers that something waits for", lambda: deliveries.busy)
    return PushServices(settings, sender, deliveries, badges, known, queue, links, gateway)


def _follow_users(users: UserServices, known: KnownPushers) -> None:
    """Pushers come and go with requests, with devices, and with accounts."""
    users.hooks.pushers_changed.append(known.changed)

    async def device_removed(txn: Transaction, user_id: str, device_id: str) -> None:
        txn.on_commit(lambda: known.changed(user_id))

    async def deactivated(user_id: str, erase: bool) -> None:
        known.changed(user_id)

    users.hooks.device_removed.append(device_removed)
    users.hooks.deactivated.append(deactivated)
