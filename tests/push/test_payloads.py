"""Payloads of any notification: they fit, and they are what an app can read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.push.gateway.apns_payloads import apns_payload
from homeserver.push.gateway.fcm import fcm_data
from homeserver.push.gateway.notification import Dropped, Notification, parse_notification, shorten
from homeserver.push.gateway.web_push import web_push_payload
from homeserver.push.gateway.web_push_encryption import MAX_PLAINTEXT

text = st.text(max_size=60) | st.builds(
    lambda part, times: part * times, st.text(min_size=1, max_size=4), st.integers(1, 3000)
)
content = st.dictionaries(
    st.sampled_from(["msgtype", "body", "formatted_body", "ciphertext", "url", "offer"]) | st.text(max_size=5),
    text | st.integers(-5, 5) | st.just({"sdp": "m=video"}) | st.none(),
    max_size=5,
)
notifications: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"devices": st.just([{"app_id": "a", "pushkey": "k", "data": {"default_payload": {"x": "y"}}}])},
    optional={
        "event_id": st.just("$1"),
        "room_id": st.just("!room"),
        "type": st.sampled_from(["m.room.message", "m.room.encrypted", "m.room.member", "m.call.invite", "x"]),
        "sender": text,
        "sender_display_name": text,
        "room_name": text,
        "room_alias": text,
        "membership": st.sampled_from(["invite", "join"]),
        "user_is_target": st.booleans(),
        "prio": st.sampled_from(["high", "low", "?"]),
        "content": content,
        "counts": st.fixed_dictionaries({}, optional={"unread": st.integers(0, 99), "missed_calls": st.integers(0, 9)}),
    },
)


def parsed(notification: dict[str, Any]) -> Notification:
    return parse_notification(notification)


@settings(max_examples=60)
@given(notifications)
def test_every_payload_fits_its_provider(notification: dict[str, Any]) -> None:
    told = parsed(notification)
    device = told.devices[0]
    with contextlib.suppress(Dropped):
        payload = apns_payload(told, device)
        if payload is not None:
            assert len(payload) <= 4096
            assert json.loads(payload)["x" if told.type or (told.event_id and not told.type) else "aps"]
    with contextlib.suppress(Dropped):
        data = fcm_data(told, device)
        assert sum(len(name.encode()) + len(value.encode()) for name, value in data.items()) <= 4096
        assert data.get("event_id") == told.event_id
    with contextlib.suppress(Dropped):
        message = web_push_payload(told, device)
        assert len(message) <= MAX_PLAINTEXT
        assert json.loads(message).get("event_id") == told.event_id


@given(st.text(max_size=200), st.integers(3, 300))
def test_shortened_text_is_a_beginning_of_whole_characters(whole: str, limit: int) -> None:
    short = shorten(whole, limit)
    assert len(short.encode()) <= limit
    assert short == whole or whole.startswith(short.removesuffix("…"))
