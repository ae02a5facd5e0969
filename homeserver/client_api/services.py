"""What the Client-Server API stands on: the domain services, by part. Each part is built where it lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.client_api.third_party import NoNetworks, ThirdPartyNetworks
from homeserver.client_api.versions import PublicFacts
from homeserver.client_api.voip import TurnSettings
from homeserver.clock import Clock, SystemClock
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class Services:
    """`facts` are what anybody may know of this server, also where clients reach it. `networks`: other
    networks that application services lead to. `turn`: relays for calls. `sso_flow`: m.login.sso, as /login
    shows it."""

    users: UserServices
    facts: PublicFacts = field(default_factory=PublicFacts)
    networks: ThirdPartyNetworks = field(default_factory=NoNetworks)
    turn: TurnSettings = field(default_factory=TurnSettings)
    clock: Clock = field(default_factory=SystemClock)
    sso_flow: Mapping[str, Any] | None = None
