"""All conversations by name."""

from __future__ import annotations

from tests.end_to_end.comparison.conversations import accounts, malformed, messages, rooms, sync
from tests.end_to_end.comparison.player import Conversation

CONVERSATIONS: dict[str, Conversation] = {
    **accounts.CONVERSATIONS,
    **rooms.CONVERSATIONS,
    **messages.CONVERSATIONS,
    **sync.CONVERSATIONS,
    **malformed.CONVERSATIONS,
}
