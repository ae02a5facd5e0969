"""Every in-process extension point, on one screen. Hooks serve policy; networks and features are bridges on the wire.

Each hook is a list of async callables, called in the order of registration. A check refuses by raising an error of
`homeserver.protocol.errors`; its message reaches the client. Register at start: `hooks.check_event.append(my_check)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EventToCheck:
    """What somebody of this server is about to send. `state_key` is None unless it is a state event;
    `redacts_event_of` is who sent what a redaction empties."""

    room_id: str
    sender: str
    type: str
    state_key: str | None
    content: Mapping[str, Any]
    redacts_event_of: str | None = None


@dataclass(frozen=True, slots=True)
class RegistrationToCheck:
    """An account that is about to be made: the wanted localpart, and the address that asks."""

    username: str
    client_address: str
    is_guest: bool


@dataclass(frozen=True, slots=True)
class InviteToCheck:
    """An invite by `sender` that is about to reach `target`. `room_id` is "" for a room that is yet to be made."""

    room_id: str
    sender: str
    target: str


@dataclass(slots=True)
class Hooks:
    """All hooks. `check_password` answers True (right), False (wrong) or None (not mine to say)."""

    check_event: list[Callable[[EventToCheck], Awaitable[None]]] = field(default_factory=list)
    check_registration: list[Callable[[RegistrationToCheck], Awaitable[None]]] = field(default_factory=list)
    check_invite: list[Callable[[InviteToCheck], Awaitable[None]]] = field(default_factory=list)
    check_password: list[Callable[[str, str], Awaitable[bool | None]]] = field(default_factory=list)
    verify_captcha: list[Callable[[str, str], Awaitable[bool]]] = field(default_factory=list)
