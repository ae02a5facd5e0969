"""What the Client-Server API stands on: the domain services, by part. Each part is built where it lives."""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.client_api.third_party import NoNetworks, ThirdPartyNetworks
from homeserver.client_api.versions import PublicFacts
from homeserver.client_api.voip import TurnSettings
from homeserver.clock import Clock, SystemClock
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class Services:
    """`facts` are what anybody may know of this server, also where clients reach it. `networks`: other
    networks that application services lead to. `turn`: relays for calls."""

    users: UserServices
    facts: PublicFacts = field(default_factory=PublicFacts)
    networks: ThirdPartyNetworks = field(default_factory=NoNetworks)
    turn: TurnSettings = field(default_factory=TurnSettings)
    clock: Clock = field(default_factory=SystemClock)
