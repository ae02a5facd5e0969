"""Everything of rooms/, built in order from a few values: what app.py and the tests put together."""

from __future__ import annotations

from dataclasses import dataclass, field

from signedjson.types import SigningKey

from homeserver.clock import Clock
from homeserver.hooks import Hooks
from homeserver.notifier import Notifier
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION
from homeserver.rooms.aggregations import Aggregations
from homeserver.rooms.aliases import Aliases, AliasNamespaces
from homeserver.rooms.branches import Branches
from homeserver.rooms.client_events import EventSerializer
from homeserver.rooms.creation import RoomCreation
from homeserver.rooms.delayed_events import DelayedEvents, DelayedEventSettings
from homeserver.rooms.hierarchy import Hierarchy
from homeserver.rooms.importing import RoomImport
from homeserver.rooms.invites_from_elsewhere import InvitesFromElsewhere
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.membership import IsGuest, Memberships, ProfileOf
from homeserver.rooms.partial_judging import PartialJudging
from homeserver.rooms.partial_rooms import PartialRooms
from homeserver.rooms.partial_state import PartialStates
from homeserver.rooms.persistence import Persistence
from homeserver.rooms.pipeline import Pipeline
from homeserver.rooms.policy_servers import PolicyServers
from homeserver.rooms.public_rooms import PublicRooms
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.received_branches import BranchRuns
from homeserver.rooms.received_events import ReceivedEvents
from homeserver.rooms.received_runs import Runs
from homeserver.rooms.receiving import Receiver
from homeserver.rooms.relations import RelatedEvents
from homeserver.rooms.remote import NoFederation, RemoteServers
from homeserver.rooms.reports import Reports
from homeserver.rooms.room_summaries import RoomSummaries
from homeserver.rooms.search import Search
from homeserver.rooms.search_index import SearchIndex
from homeserver.rooms.sending import Sending
from homeserver.rooms.state import RoomState
from homeserver.rooms.sticky_events import StickyEvents
from homeserver.rooms.third_party_invites import ThirdPartyInvites, find_nobody
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.rooms.timeline import Timeline
from homeserver.rooms.transactions import SendTransactions
from homeserver.rooms.typing import Typing
from homeserver.rooms.upgrades import Upgrades
from homeserver.rooms.visibility import RoomVisibility
from homeserver.storage.aliases import AliasStore
from homeserver.storage.database import Database
from homeserver.storage.delayed_events import DelayedEventStore
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import EventStore
from homeserver.storage.partial_state import PartialStateStore
from homeserver.storage.public_rooms import PublicRoomStore
from homeserver.storage.receipts import ReceiptStore
from homeserver.storage.relations import RelationStore
from homeserver.storage.reports import ReportStore
from homeserver.storage.rooms import RoomStore
from homeserver.storage.search import SearchStore
from homeserver.storage.sticky_events import StickyEventStore
from homeserver.storage.thread_subscriptions import ThreadSubscriptionStore
from homeserver.stream import Stream
from homeserver.users.identity_servers import IdentityServers
from homeserver.users.threepids import Threepids


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What an operator may set of rooms."""

    server_name: str
    default_version: str = DEFAULT_ROOM_VERSION
    invites_at_creation_max: int = 100
    creation_for_everyone: bool = True
    directory_for_everyone: bool = True
    invites_by_address: bool = True
    delayed_events: DelayedEventSettings = field(default_factory=DelayedEventSettings)


class NoAliasNamespaces:
    """No application service keeps aliases for itself."""

    def alias_is_reserved(self, alias: str, user_id: str) -> bool:
        return False

    async def ask_for_alias(self, alias: str) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class RoomServices:
    """The services of rooms/, one a noun."""

    settings: RoomSettings
    live: LiveRooms
    store: RoomStore
    events: EventStore
    relations: RelationStore
    serializer: EventSerializer
    aggregations: Aggregations
    visibility: RoomVisibility
    pipeline: Pipeline
    graph: EventGraphStore
    branches: Branches
    receiver: Receiver
    room_import: RoomImport
    partial_states: PartialStates
    invites_from_elsewhere: InvitesFromElsewhere
    memberships: Memberships
    third_party_invites: ThirdPartyInvites
    aliases: Aliases
    creation: RoomCreation
    transactions: SendTransactions
    sending: Sending
    delayed_events: DelayedEvents
    sticky_events: StickyEvents
    state: RoomState
    timeline: Timeline
    related: RelatedEvents
    search_index: SearchIndex
    search: Search
    summaries: RoomSummaries
    hierarchy: Hierarchy
    public_rooms: PublicRooms
    upgrades: Upgrades
    reports: Reports
    receipts: Receipts
    thread_subscriptions: ThreadSubscriptions
    typing: Typing


def build_room_services(
    db: Database,
    clock: Clock,
    stream: Stream,
    notifier: Notifier,
    settings: RoomSettings,
    signing_key: SigningKey,
    *,
    profile_of: ProfileOf,
    is_guest: IsGuest,
    threepids: Threepids,
    identity_servers: IdentityServers,
    hooks: Hooks | None = None,
    remote: RemoteServers | None = None,
    policy_servers: PolicyServers | None = None,
    namespaces: AliasNamespaces | None = None,
) -> RoomServices:
    """`profile_of` gives what a user's member events carry. Without `remote` there is no federation."""
    hooks = hooks or Hooks()
    remote = remote or NoFederation()
    store, events = RoomStore(db), EventStore(db)
    relations = RelationStore(db, events)
    partial_store = PartialStateStore(db)
    live = LiveRooms(store, events, PartialRooms(partial_store, clock))
    serializer = EventSerializer(clock)
    aggregations = Aggregations(relations, serializer)
    visibility = RoomVisibility(store, events)
    sticky_events = StickyEvents(store=StickyEventStore(db), events=events, rooms=live, clock=clock)
    graph = EventGraphStore(db)
    persistence = Persistence(
        rooms=live, events=events, store=store, graph=graph, sticky=sticky_events, stream=stream, notifier=notifier
    )
    branches = Branches(events=events, graph=graph, rooms=store)
    pipeline = Pipeline(
        db=db,
        rooms=live,
        persistence=persistence,
        hooks=hooks,
        clock=clock,
        server_name=settings.server_name,
        signing_key=signing_key,
        policy_servers=policy_servers,
    )
    received_events = ReceivedEvents(
        events=events, store=store, graph=graph, persistence=persistence, stream=stream, notifier=notifier
    )
    receiver = Receiver(
        db=db,
        rooms=live,
        events=events,
        graph=graph,
        branches=branches,
        persistence=persistence,
        received_events=received_events,
        runs=Runs(rooms=live, events=events, graph=graph, store=store, branches=branches),
        branch_runs=BranchRuns(
            db=db,
            events=events,
            branches=branches,
            received_events=received_events,
            server_name=settings.server_name,
        ),
        why_not_recommended=pipeline.why_not_recommended,
        partial=PartialJudging(db, events, store, partial_store),
    )
    memberships = Memberships(
        db=db,
        store=store,
        rooms=live,
        pipeline=pipeline,
        receiver=receiver,
        remote=remote,
        stream=stream,
        hooks=hooks,
        profile_of=profile_of,
        is_guest=is_guest,
        server_name=settings.server_name,
    )
    third_party_invites = ThirdPartyInvites(
        rooms=live,
        memberships=memberships,
        pipeline=pipeline,
        identity_servers=identity_servers,
        find_user=threepids.find_user if settings.invites_by_address else find_nobody,
        profile_of=profile_of,
        server_name=settings.server_name,
    )
    alias_store = AliasStore(db)
    aliases = Aliases(
        db=db,
        store=alias_store,
        rooms=live,
        remote=remote,
        namespaces=namespaces or NoAliasNamespaces(),
        server_name=settings.server_name,
    )
    typing = Typing(rooms=live, stream=stream, notifier=notifier, clock=clock)
    transactions = SendTransactions(events)
    timeline = Timeline(
        rooms=live,
        store=store,
        events=events,
        relations=relations,
        remote=remote,
        visibility=visibility,
        aggregations=aggregations,
        serializer=serializer,
    )
    state = RoomState(rooms=live, store=store, events=events, visibility=visibility, serializer=serializer)
    summaries = RoomSummaries(
        rooms=live, memberships=memberships, aliases=aliases, remote=remote, server_name=settings.server_name
    )
    search_store = SearchStore(db)
    search_index = SearchIndex(
        db=db, store=search_store, events=events, relations=relations, stream=stream, clock=clock
    )
    sending = Sending(
        rooms=live,
        events=events,
        relations=relations,
        pipeline=pipeline,
        memberships=memberships,
        aliases=aliases,
        transactions=transactions,
        typing=typing,
    )
    return RoomServices(
        settings=settings,
        live=live,
        store=store,
        events=events,
        relations=relations,
        serializer=serializer,
        aggregations=aggregations,
        visibility=visibility,
        pipeline=pipeline,
        graph=graph,
        branches=branches,
        receiver=receiver,
        invites_from_elsewhere=InvitesFromElsewhere(db, store, stream, notifier),
        room_import=RoomImport(
            db=db,
            rooms=live,
            events=events,
            store=store,
            graph=graph,
            stream=stream,
            notifier=notifier,
            server_name=settings.server_name,
            partial=partial_store,
        ),
        partial_states=PartialStates(
            db=db,
            rooms=live,
            events=events,
            store=store,
            partial=partial_store,
            graph=graph,
            branches=branches,
            receiver=receiver,
            stream=stream,
            notifier=notifier,
        ),
        memberships=memberships,
        third_party_invites=third_party_invites,
        aliases=aliases,
        creation=RoomCreation(
            pipeline=pipeline,
            aliases=aliases,
            memberships=memberships,
            profile_of=profile_of,
            server_name=settings.server_name,
            default_version=settings.default_version,
            max_invites=settings.invites_at_creation_max,
        ),
        transactions=transactions,
        sending=sending,
        delayed_events=DelayedEvents(
            db=db,
            store=DelayedEventStore(db),
            rooms=live,
            sending=sending,
            stream=stream,
            clock=clock,
            settings=settings.delayed_events,
        ),
        sticky_events=sticky_events,
        state=state,
        timeline=timeline,
        related=RelatedEvents(
            rooms=live,
            events=events,
            store=relations,
            visibility=visibility,
            timeline=timeline,
            aggregations=aggregations,
            serializer=serializer,
        ),
        search_index=search_index,
        search=Search(
            index=search_index,
            store=search_store,
            rooms=live,
            room_store=store,
            events=events,
            relations=relations,
            visibility=visibility,
            timeline=timeline,
            state=state,
            serializer=serializer,
        ),
        summaries=summaries,
        hierarchy=Hierarchy(rooms=live, summaries=summaries, remote=remote),
        public_rooms=PublicRooms(
            db=db,
            rooms=live,
            aliases=aliases,
            alias_store=alias_store,
            store=PublicRoomStore(db),
            remote=remote,
            server_name=settings.server_name,
        ),
        upgrades=Upgrades(
            db=db, rooms=live, pipeline=pipeline, memberships=memberships, aliases=alias_store, profile_of=profile_of
        ),
        thread_subscriptions=ThreadSubscriptions(
            db=db, store=ThreadSubscriptionStore(db), timeline=timeline, announcer=stream
        ),
        reports=Reports(db=db, store=ReportStore(db), rooms=live, timeline=timeline, clock=clock),
        receipts=Receipts(db=db, store=ReceiptStore(db), events=events, rooms=live, stream=stream, clock=clock),
        typing=typing,
    )
