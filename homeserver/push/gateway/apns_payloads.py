"""What an iPhone is told: the payload in the shape that Element, Element X and their like know from other gateways.

With the format `event_id_only` it is the app's own `default_payload` and the IDs; the app fetches and shows the rest.
Without, it is an alert whose words are the app's (`loc-key`), filled with names and text (`loc-args`).
"""

from __future__ import annotations

import copy
from typing import Any, Final

import msgspec

from homeserver.push.gateway.notification import Device, Dropped, Notification, Refused, shorten

LIMIT: Final = 4096
"""Bytes of a payload, for everything but VoIP."""
LONGEST_NAME: Final = 1024


def apns_payload(notification: Notification, device: Device) -> bytes | None:
    """The body of the request; None when there is nothing that a phone would show or count. Raises Refused for a pusher
    whose `default_payload` is no object, Dropped for what does not fit."""
    default = device.data.get("default_payload", {})
    if not isinstance(default, dict):
        raise Refused("its default_payload is no object")
    if notification.event_id and not notification.type:
        return _fitting(_ids(notification, default), ())
    payload, args = _alert(notification, device, default)
    return None if payload is None else _fitting(payload, args)


def _ids(notification: Notification, default: dict[str, Any]) -> dict[str, Any]:
    payload = {**default, "event_id": notification.event_id}
    if notification.room_id:
        payload["room_id"] = notification.room_id
    if notification.counts.unread is not None:
        payload["unread_count"] = notification.counts.unread
    if notification.counts.missed_calls is not None:
        payload["missed_calls"] = notification.counts.missed_calls
    return payload


def _alert(
    notification: Notification, device: Device, default: dict[str, Any]
) -> tuple[dict[str, Any] | None, list[str]]:
    counts = notification.counts
    badge = None if counts.unread is None and counts.missed_calls is None else (counts.unread or 0)
    if badge is not None:
        badge += counts.missed_calls or 0
    key, args = _words(notification)
    if key is None and badge is None:
        return None, []
    payload: dict[str, Any] = copy.deepcopy(default) if notification.type else {}
    aps = payload.get("aps")
    payload["aps"] = aps = aps if isinstance(aps, dict) else {}
    if key is not None:
        alert = aps.get("alert")
        aps["alert"] = {**(alert if isinstance(alert, dict) else {}), "loc-key": key, "loc-args": args}
        sound = device.tweaks.get("sound")
        if isinstance(sound, str) and "sound" not in aps:
            aps["sound"] = sound
        if notification.room_id:
            payload["room_id"] = notification.room_id
        if notification.event_id:
            payload["event_id"] = notification.event_id
    if badge is not None:
        aps["badge"] = badge
    return payload, args


def _words(notification: Notification) -> tuple[str | None, list[str]]:
    """The app's sentence and what it is filled with."""
    sender = shorten(notification.sender_display_name or notification.sender or " ", LONGEST_NAME)
    name = notification.room_name or notification.room_alias
    room = None if name is None else shorten(name, LONGEST_NAME)
    content = notification.content or {}
    if notification.type in ("m.room.message", "m.room.encrypted"):
        return _message(sender, room, content)
    if notification.type == "m.call.invite":
        offer = content.get("offer")
        sdp = offer.get("sdp") if isinstance(offer, dict) else None
        is_video = isinstance(sdp, str) and "m=video" in sdp
        return "VIDEO_CALL_FROM_USER" if is_video else "VOICE_CALL_FROM_USER", [sender]
    if notification.type == "m.room.member":
        if not notification.user_is_target or notification.membership != "invite":
            return None, []
        return ("USER_INVITE_TO_NAMED_ROOM", [sender, room]) if room else ("USER_INVITE_TO_CHAT", [sender])
    return ("MSG_FROM_USER", [sender]) if notification.type else (None, [])


def _message(sender: str, room: str | None, content: dict[str, Any]) -> tuple[str, list[str]]:
    kind, body = content.get("msgtype"), content.get("body")
    text = body if isinstance(kind, str) and isinstance(body, str) and body else None
    if text is not None and kind == "m.image":
        return ("IMAGE_FROM_USER_IN_ROOM", [sender, text, room]) if room else ("IMAGE_FROM_USER", [sender, text])
    if text is not None and kind == "m.emote":
        return ("ACTION_FROM_USER_IN_ROOM", [room, sender, text]) if room else ("ACTION_FROM_USER", [sender, text])
    if text is not None:
        if room:
            return "MSG_FROM_USER_IN_ROOM_WITH_CONTENT", [sender, room, text]
        return "MSG_FROM_USER_WITH_CONTENT", [sender, text]
    return ("MSG_FROM_USER_IN_ROOM", [sender, room]) if room else ("MSG_FROM_USER", [sender])


def _fitting(payload: dict[str, Any], args: list[str] | tuple[()]) -> bytes:
    """The payload as JSON, with what people wrote (`args`, a part of it) shortened until it fits."""
    encoded = msgspec.json.encode(payload)
    while len(encoded) > LIMIT:
        place = max(range(len(args)), key=lambda at: len(args[at]), default=None)
        if place is None or len(args[place]) <= 1:
            raise Dropped("the payload is larger than the provider takes")
        longest = len(args[place].encode())
        args[place] = shorten(args[place], max(min(longest - (len(encoded) - LIMIT), longest - 4), 1))  # type: ignore[index]
        if len(args[place].encode()) >= longest:
            args[place] = "…"  # type: ignore[index]
        encoded = msgspec.json.encode(payload)
    return encoded
