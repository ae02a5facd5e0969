"""What the Client-Server API stands on: the domain services, by part. Each part is built where it lives."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class Services:
    """`public_base_url` is where clients reach this server, such as `https://matrix.example.org`; None: unknown."""

    users: UserServices
    public_base_url: str | None = None
