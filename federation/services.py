"""Everything of federation/, built in order on top of a homeserver."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from signedjson.key import decode_verify_key_bytes, get_verify_key
from signedjson.types import VerifyKey
from unpaddedbase64 import decode_base64

from federation.api.authentication import ServerAuthenticator
from federation.api.keys import KeysApi
from federation.api.queries import QueriesApi
from federation.api.rooms import RoomsApi
from federation.api.routes import federation_routes
from federation.arrivals import Arrivals
from federation.audiences import Audiences
from federation.backfill import Backfill
from federation.backoff import Backoff
from federation.catching_up import CatchingUp
from federation.client import FederationClient
from federation.device_lists import RemoteDeviceLists
from federation.edus import IncomingEdus
from federation.events import EventChecks
from federation.inviting import Inviting
from federation.joining import Joining
from federation.joins_under_way import JoinsUnderWay
from federation.keyring import Keyring, Notary
from federation.knocking import Knocking
from federation.leaving import Leaving
from federation.media import FederationMedia
from federation.membership_events import MembershipEvents
from federation.merging import Merging
from federation.missing_events import MissingEvents
from federation.outgoing_edus import OutgoingEdus
from federation.partial_state import StateCompletion
from federation.past_events import PastEvents
from federation.policy_servers import FederatedPolicyServers
from federation.remote_presence import RemotePresence
from federation.remote_profiles import RemoteProfiles
from federation.remote_rooms import RemoteRooms
from federation.remote_servers import RemoteServers
from federation.sender import FederationSender
from federation.server_discovery import LookUpServices, ServerDiscovery
from federation.serving import Serving
from federation.third_party_invites import ThirdPartyExchange
from federation.transactions import Transactions
from homeserver.composition import Homeserver
from homeserver.http.routing import Route
from homeserver.outbound.client import Outbound
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.server_acl import ServerAcl
from homeserver.protocol.signatures import key_id_of
from homeserver.rooms.earlier_history import EarlierHistory
from homeserver.storage.destinations import DestinationStore
from homeserver.storage.presence import PresenceStore
from homeserver.storage.remote_devices import RemoteDeviceStore
from homeserver.storage.server_keys import ServerKeyStore


@dataclass(frozen=True, slots=True)
class FederationSettings:
    """`old_keys`: by id, (unpadded Base64, milliseconds when it was last used). `blocked_keys`: nobody's (B07).
    `allowed_servers`, `denied_servers`: patterns of names that this server has to do with, and has not."""

    old_keys: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    notaries: Sequence[Notary] = ()
    blocked_keys: Sequence[str] = ()
    allowed_servers: Sequence[str] = ("*",)
    denied_servers: Sequence[str] = ()


@dataclass(slots=True)
class FederationServices:
    """The parts, and the routes."""

    homeserver: Homeserver
    outbound: Outbound
    client: FederationClient
    backoff: Backoff
    keyring: Keyring
    sender: FederationSender
    joining: Joining
    completion: StateCompletion
    leaving: Leaving
    inviting: Inviting
    knocking: Knocking
    backfill: Backfill
    media: FederationMedia
    device_lists: RemoteDeviceLists
    remote_rooms: RemoteRooms
    past_events: PastEvents
    presence: RemotePresence
    profiles: RemoteProfiles
    outgoing_edus: OutgoingEdus
    merging: Merging
    arrivals: Arrivals
    routes: list[Route]

    async def start(self) -> None:
        self.backoff.start(await DestinationStore(self.homeserver.db).list_destinations())
        await self.homeserver.rooms.live.partial.load()
        await self.sender.start()
        await self.completion.start()
        await self.device_lists.start()
        await self.presence.start()
        await self.outgoing_edus.start()
        await self.arrivals.start()

    async def stop(self) -> None:
        await self.arrivals.stop()
        await self.merging.close()
        await self.outgoing_edus.stop()
        await self.presence.stop()
        await self.device_lists.stop()
        await self.completion.stop()
        await self.sender.stop()
        close = getattr(self.outbound, "close", None)
        if close is not None:
            await close()

    async def profile_of(self, user_id: str) -> dict[str, Any]:
        """What a member event of a user of ours carries."""
        fields = await self.homeserver.users.profiles.find_profile(user_id)
        return {name: fields[name] for name in ("displayname", "avatar_url") if fields.get(name)}

    async def servers_for(self, user_id: str, room_id: str, via: Sequence[str]) -> list[str]:
        """Whom to ask about a room, in order: those that were named, who invited the user, the room's own server."""
        own = self.homeserver.settings.server_name
        membership = await self.homeserver.rooms.store.find_membership(room_id, user_id)
        named = [*via]
        if membership is not None and membership.membership == "invite":
            named.insert(0, domain_of(membership.sender))
        if ":" in room_id:
            named.append(domain_of(room_id))
        partial = self.homeserver.rooms.live.partial.find(room_id)
        if partial is not None:
            named.append(partial.resident)
        return [name for name in dict.fromkeys(named) if name and name != own]


def verify_keys(keys: Mapping[str, str]) -> dict[str, VerifyKey]:
    """Public keys as they stand in a configuration, by id."""
    return {key_id: decode_verify_key_bytes(key_id, decode_base64(key)) for key_id, key in keys.items()}


def notary_of(server_name: str, keys: Mapping[str, str]) -> Notary:
    """A notary as it stands in a configuration."""
    return Notary(server_name, verify_keys(keys))


def build_federation_services(
    homeserver: Homeserver,
    remote: RemoteServers,
    outbound: Outbound,
    look_up: LookUpServices,
    chance: random.Random,
    settings: FederationSettings | None = None,
) -> FederationServices:
    """`remote` is what `homeserver` was built with; it answers from now on."""
    settings = settings or FederationSettings()
    db, clock, rooms, users = homeserver.db, homeserver.clock, homeserver.rooms, homeserver.users
    own_name, signing_key = homeserver.settings.server_name, homeserver.settings.signing_key
    destinations = DestinationStore(db)
    backoff = Backoff(db, destinations, clock, chance)
    partners = ServerAcl({"allow": list(settings.allowed_servers), "deny": list(settings.denied_servers)})
    client = FederationClient(
        outbound=outbound,
        discovery=ServerDiscovery(outbound, look_up, clock, chance),
        backoff=backoff,
        own_name=own_name,
        signing_key=signing_key,
        partners=partners,
    )
    old_keys = {
        key_id: (verify_keys({key_id: key})[key_id], expired)
        for key_id, (key, expired) in settings.old_keys.items()
        if key_id != key_id_of(signing_key)
    }
    own_keys: dict[str, VerifyKey] = {key_id_of(signing_key): get_verify_key(signing_key)}
    keyring = Keyring(
        db=db,
        store=ServerKeyStore(db),
        fetcher=client,
        clock=clock,
        own_name=own_name,
        own_keys=own_keys,
        own_old_keys=old_keys,
        notaries=settings.notaries,
        blocked=settings.blocked_keys,
    )
    checks = EventChecks(keyring)
    missing = MissingEvents(client, checks, rooms)
    events = MembershipEvents(
        rooms=rooms, client=client, checks=checks, clock=clock, own_name=own_name, signing_key=signing_key
    )
    leaving = Leaving(events=events, missing=missing, rooms=rooms, invites=rooms.invites_from_elsewhere)
    knocking = Knocking(events=events, missing=missing, invites=rooms.invites_from_elsewhere)
    inviting = Inviting(
        client=client,
        checks=checks,
        missing=missing,
        rooms=rooms,
        users=users,
        invites=rooms.invites_from_elsewhere,
        hooks=homeserver.hooks,
        own_name=own_name,
        signing_key=signing_key,
    )
    audiences = Audiences(own_name, partners)
    serving = Serving(rooms, own_name)
    sender = FederationSender(
        db=db,
        store=destinations,
        client=client,
        backoff=backoff,
        rooms=rooms,
        audiences=audiences,
        catching_up=CatchingUp(destinations, rooms, audiences, serving, own_name),
        stream=homeserver.stream,
        clock=clock,
        own_name=own_name,
    )
    device_lists = RemoteDeviceLists(
        db=db,
        store=RemoteDeviceStore(db),
        marks=users.device_lists,
        client=client,
        backoff=backoff,
        stream=homeserver.stream,
        clock=clock,
        own_name=own_name,
    )
    sender.add_metrics(homeserver.metrics)
    history = EarlierHistory(
        db=db,
        rooms=rooms.live,
        events=rooms.events,
        store=rooms.store,
        graph=rooms.graph,
        branches=rooms.branches,
        room_import=rooms.room_import,
    )
    backfill = Backfill(client=client, checks=checks, missing=missing, rooms=rooms, history=history, own_name=own_name)
    completion = StateCompletion(
        client=client,
        checks=checks,
        missing=missing,
        sender=sender,
        backfill=backfill,
        rooms=rooms,
        clock=clock,
        own_name=own_name,
    )
    completion.add_metrics(homeserver.metrics)
    under_way = JoinsUnderWay(clock)
    joining = Joining(
        events=events,
        checks=checks,
        missing=missing,
        rooms=rooms,
        completion=completion,
        under_way=under_way,
        clock=clock,
        own_name=own_name,
        signing_key=signing_key,
    )
    presence = RemotePresence(PresenceStore(db), RemoteDeviceStore(db), users.presence, clock, own_name)
    events.pass_on = sender.pass_on
    transactions = Transactions(
        db=db,
        store=destinations,
        clock=clock,
        rooms=rooms,
        checks=checks,
        missing=missing,
        under_way=under_way,
        take_removal=inviting.receive_removal,
        own_name=own_name,
        edus=IncomingEdus(users, rooms, device_lists, presence, clock).handlers(),
    )
    media = FederationMedia(client, outbound, homeserver.media, own_name)

    routes = federation_routes(
        ServerAuthenticator(keyring, backoff, own_name, sender.wake, partners),
        KeysApi(own_name, signing_key, settings.old_keys, clock, keyring),
        RoomsApi(
            transactions=transactions,
            joining=joining,
            leaving=leaving,
            inviting=inviting,
            knocking=knocking,
            third_parties=ThirdPartyExchange(client, rooms, users, own_name),
            serving=serving,
            clock=clock,
            own_name=own_name,
        ),
        QueriesApi(users, rooms, homeserver.encryption, own_name),
        media,
    )
    outgoing_edus = OutgoingEdus(
        db=db,
        store=destinations,
        sender=sender,
        rooms=rooms,
        users=users,
        encryption=homeserver.encryption,
        stream=homeserver.stream,
        clock=clock,
        own_name=own_name,
    )
    merging = Merging(
        db=db,
        rooms=rooms.live,
        events=rooms.events,
        branches=rooms.branches,
        pipeline=rooms.pipeline,
        receiver=rooms.receiver,
        stream=homeserver.stream,
        clock=clock,
        chance=chance,
        server_name=own_name,
    )
    rooms.pipeline.merge_ends = merging.merge_all
    services = FederationServices(
        homeserver=homeserver,
        outbound=outbound,
        client=client,
        backoff=backoff,
        keyring=keyring,
        sender=sender,
        joining=joining,
        completion=completion,
        leaving=leaving,
        inviting=inviting,
        knocking=knocking,
        backfill=backfill,
        media=media,
        device_lists=device_lists,
        remote_rooms=RemoteRooms(client, clock, own_name),
        past_events=PastEvents(
            client=client, checks=checks, missing=missing, rooms=rooms, clock=clock, own_name=own_name
        ),
        presence=presence,
        profiles=RemoteProfiles(client, clock),
        outgoing_edus=outgoing_edus,
        merging=merging,
        arrivals=Arrivals(edus=outgoing_edus, rooms=rooms, users=users, stream=homeserver.stream, own_name=own_name),
        routes=routes,
    )
    remote.bind(services)
    rooms.pipeline.policy_servers = FederatedPolicyServers(client)
    homeserver.users.hooks.fetch_profile = remote.fetch_profile
    return services
