"""Redactions of messages, as the other people in the room see them."""

from __future__ import annotations

import logging

import pytest

from homeserver.stream import Change
from tests.support.server import Server


async def test_redaction_of_a_message_is_announced_to_the_room(
    whole_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    event_id = await alice.say(room_id, "to be taken back")
    before = whole_server.homeserver.stream.position
    with caplog.at_level(logging.ERROR):
        await alice.put(f"/rooms/{room_id}/redact/{event_id}/r1", {})
    assert whole_server.homeserver.stream.changed_since(Change.EVENTS, room_id, before)
    assert not caplog.records, "the commit's callback failed"
