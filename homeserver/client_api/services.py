"""What the Client-Server API stands on: the domain services, by part. Each part is built where it lives."""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.client_api.versions import PublicFacts
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class Services:
    """`facts` are what anybody may know of this server, also where clients reach it."""

    users: UserServices
    facts: PublicFacts = field(default_factory=PublicFacts)
