"""What people asked for and what was acknowledged: the truth that the server is held against."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Send:
    """One message: `key` is its body and its transaction id. `event_id` is None until it is acknowledged."""

    key: str
    sender: str
    room_id: str
    number: int
    cycle: int
    event_id: str | None = None
    tries: int = 0


@dataclass(slots=True)
class Counted:
    """A value that is written again and again with the next number: what was acknowledged, what was tried."""

    acknowledged: int = 0
    tried: int = 0


@dataclass
class Ledger:
    """Everything of one run. `cycle` is the present one."""

    cycle: int = 0
    sends: dict[str, Send] = field(default_factory=dict)
    redactions: dict[str, str] = field(default_factory=dict)
    """redacted event: the acknowledged redaction of it"""
    state_events: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """acknowledged state event: (room, sender, number)"""
    state: defaultdict[tuple[str, str], Counted] = field(default_factory=lambda: defaultdict(Counted))
    account_data: defaultdict[tuple[str, str], Counted] = field(default_factory=lambda: defaultdict(Counted))
    """by (user, room or "")"""
    receipts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(room, user): the event whose receipt was acknowledged last"""
    to_device: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """user: ids of messages that were acknowledged to their sender"""
    to_device_tried: set[str] = field(default_factory=set)
    created: dict[str, tuple[str, str]] = field(default_factory=dict)
    """acknowledged room: (its name, its creator)"""
    joined: set[tuple[str, str]] = field(default_factory=set)
    """(room, user) whose joining was acknowledged, and who stayed"""
    _numbers: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def new_send(self, sender: str, room_id: str) -> Send:
        """The next message of a sender in a room."""
        self._numbers[sender, room_id] += 1
        number = self._numbers[sender, room_id]
        name = sender.partition(":")[0].removeprefix("@")
        send = Send(f"{name}-{room_id[1:7]}-{number}", sender, room_id, number, self.cycle)
        self.sends[send.key] = send
        return send

    @property
    def acknowledged(self) -> list[Send]:
        return [send for send in self.sends.values() if send.event_id is not None]
