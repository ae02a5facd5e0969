"""Conversations about /sync, and the things that are seen through it alone: presence, to-device messages."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.comparison.player import Player

STATE_AFTER: dict[str, Any] = {"org.matrix.msc4222.use_state_after": True}
"""By the name that Synapse 1.163 and matrix-js-sdk know."""


def timeline_filter(**options: Any) -> dict[str, Any]:
    return {"room": {"timeline": options}}


def first_syncs(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    empty = p.sync("of an empty account", ann)
    p.sync("nothing new", ann, empty["next_batch"])
    room = p.room("create", ann, name="Synced", topic="Topic", preset="public_chat")
    p.sync("created since", ann, empty["next_batch"])
    p.sync("created, from the beginning", ann)
    p.post("join", ben, "/join/{}", room)
    p.sync("joined, from the beginning", ben)
    joined = p.sync("ann sees the join", ann, empty["next_batch"])
    p.send("hello", ben, room, "hello")
    said = p.sync("ann sees the message", ann, joined["next_batch"])
    p.sync("full state", ann, said["next_batch"], full_state=True)
    p.sync("state after", ann, **STATE_AFTER)
    p.state("rename", ann, room, "m.room.name", {"name": "Renamed"})
    p.sync("renamed, state after", ben, joined["next_batch"], **STATE_AFTER)
    p.sync("renamed", ben, joined["next_batch"])
    p.put("ann changes her name", ann, "/profile/{}/displayname", ann.user_id, body={"displayname": "Ann the second"})

    def changed(answer: dict[str, Any]) -> bool:
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
        return any(event.get("state_key") == ann.user_id for event in events)

    p.sync("ben sees the new name", ben, said["next_batch"], until=changed)


def limited_syncs(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    begun = p.sync("begin", ben)["next_batch"]
    p.state("name", ann, room, "m.room.name", {"name": "Within the gap"})
    for n in range(15):
        p.send(f"message {n}", ann, room, f"message {n}")
    p.sync("default limit", ben, begun)
    p.sync("limit five", ben, begun, filter=timeline_filter(limit=5))
    p.sync("limit five, state after", ben, begun, filter=timeline_filter(limit=5), **STATE_AFTER)
    p.sync("limit zero", ben, begun, filter=timeline_filter(limit=0))
    p.sync("limit fifty", ben, begun, filter=timeline_filter(limit=50))
    p.sync("limit one from the beginning", ben, filter=timeline_filter(limit=1))
    p.sync("wrong filter", ben, filter="{nonsense")
    p.sync("unknown filter", ben, filter="99999")
    p.sync("wrong token", ben, "nonsense")
    p.get("wrong timeout", ben, "/sync", query={"timeout": "x"})
    p.get("negative timeout", ben, "/sync", query={"timeout": -5})
    p.get("wrong full_state", ben, "/sync", query={"full_state": "maybe"})
    p.get("wrong presence", ben, "/sync", query={"set_presence": "asleep", "timeout": 0})
    p.get("without a token", None, "/sync")


def filtered_syncs(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat", name="Filtered")
    other = p.room("create other", ann, preset="public_chat", name="Other")
    p.post("join", ben, "/join/{}", room)
    p.post("join other", ben, "/join/{}", other)
    p.send("text", ann, room, "text")
    p.send("text with url", ann, room, {"msgtype": "m.image", "body": "x", "url": "mxc://a/b"})
    p.send("special", ben, room, {"x": 1}, "org.example.special")
    p.put("account data", ben, "/user/{}/account_data/{}", ben.user_id, "org.example.a", body={"a": 1})

    def with_filter(name: str, **options: Any) -> None:
        p.sync(name, ben, filter=options, whole="event_fields" not in options and "event_format" not in options)

    with_filter("types", room={"timeline": {"types": ["m.room.message"]}})
    with_filter("types by star", room={"timeline": {"types": ["org.example.*"]}})
    with_filter("not types", room={"timeline": {"not_types": ["m.room.*"]}})
    with_filter("senders", room={"timeline": {"senders": [ben.user_id]}})
    with_filter("not senders", room={"timeline": {"not_senders": [ann.user_id]}})
    with_filter("contains url", room={"timeline": {"contains_url": True}})
    with_filter("contains no url", room={"timeline": {"contains_url": False}})
    with_filter("rooms", room={"rooms": [room]})
    with_filter("not rooms", room={"not_rooms": [room]})
    with_filter("no rooms", room={"rooms": []})
    with_filter("no state", room={"state": {"types": []}})
    with_filter("some state", room={"state": {"types": ["m.room.name", "m.room.create"]}})
    with_filter("no account data", account_data={"types": []})
    with_filter("one account data", account_data={"types": ["org.example.*"]})
    with_filter("no presence", presence={"types": []})
    with_filter("no ephemeral", room={"ephemeral": {"types": []}})
    with_filter("fields", event_fields=["type", "content.body", "event_id"])
    with_filter("federation format", event_format="federation", room={"timeline": {"limit": 1}, "state": {"types": []}})
    with_filter("unknown member", room={"nonsense": 1}, other=2)
    with_filter("both types", room={"timeline": {"types": ["m.room.message"], "not_types": ["m.room.*"]}})


def lazy_members(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    room = p.room("create", ann, preset="public_chat")
    p.post("ben joins", ben, "/join/{}", room)
    p.post("cid joins", cid, "/join/{}", room)
    for n in range(3):
        p.send(f"by ann {n}", ann, room, "x")
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}
    begun = p.sync("from the beginning", cid, filter=lazy)["next_batch"]
    p.send("by ben", ben, room, "first word of ben")
    said = p.sync("ben spoke", cid, begun, filter=lazy)["next_batch"]
    p.send("by ben again", ben, room, "second word of ben")
    said = p.sync("ben spoke again", cid, said, filter=lazy)["next_batch"]
    redundant = {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}}
    p.send("by ben a third time", ben, room, "third word of ben")
    p.sync("with redundant members", cid, said, filter=redundant)
    p.sync("lazy full state", cid, said, filter=lazy, full_state=True)
    p.sync("lazy state after", cid, filter=lazy, **STATE_AFTER)
    p.post("ben leaves", ben, "/rooms/{}/leave", room)
    p.sync("ben left", cid, said, filter=lazy)


def leaving_syncs(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat", name="Left")
    p.post("join", ben, "/join/{}", room)
    begun = p.sync("begin", ben)["next_batch"]
    p.send("before", ann, room, "before")
    p.post("leave", ben, "/rooms/{}/leave", room)
    p.send("after", ann, room, "after")
    left = p.sync("left", ben, begun)["next_batch"]
    p.sync("nothing more", ben, left)
    p.sync("from the beginning", ben)
    p.sync("from the beginning with left rooms", ben, filter={"room": {"include_leave": True}})
    p.post("join again", ben, "/join/{}", room)
    p.sync("back", ben, left)
    p.sync("left and back", ben, begun)
    p.post("kick", ann, "/rooms/{}/kick", room, body={"user_id": ben.user_id, "reason": "r"})
    p.sync("kicked", ben, left)
    p.post("forget", ben, "/rooms/{}/forget", room)
    p.sync("forgotten", ben, filter={"room": {"include_leave": True}})
    p.post("ban", ann, "/rooms/{}/ban", room, body={"user_id": ben.user_id})
    p.sync("banned after leaving", ben, left)


def invite_syncs(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    begun = p.sync("begin", ben)["next_batch"]
    room = p.room("create", ann, name="Invited", topic="T", invite=[ben.user_id], is_direct=True)
    p.sync("invited", ben, begun)
    p.sync("invited, from the beginning", ben)
    p.post("take it back", ann, "/rooms/{}/kick", room, body={"user_id": ben.user_id})
    p.sync("taken back", ben, begun)
    p.post("invite again", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
    again = p.sync("invited again", ben, begun)["next_batch"]
    p.post("reject", ben, "/rooms/{}/leave", room)
    p.sync("rejected", ben, again)
    p.put(
        "ignore",
        ben,
        "/user/{}/account_data/m.ignored_user_list",
        ben.user_id,
        body={"ignored_users": {ann.user_id: {}}},
    )
    p.post("invite by the ignored", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
    p.sync("ignored", ben, again)


def to_device(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    begun = p.sync("begin", ben)["next_batch"]
    path = "/sendToDevice/{}/{}"
    body = {"messages": {ben.user_id: {ben.device_id: {"n": 1}}}}
    p.put("send", ann, path, "org.example.x", "t1", body=body)
    p.put("send the same again", ann, path, "org.example.x", "t1", body=body)
    p.put("send to all devices", ann, path, "org.example.x", "t2", body={"messages": {ben.user_id: {"*": {"n": 2}}}})

    def both(answer: dict[str, Any]) -> bool:
        return len(answer.get("to_device", {}).get("events", [])) == 2

    received = p.sync("received", ben, begun, until=both)["next_batch"]
    p.sync("received again from the old token", ben, begun)
    p.sync("acknowledged", ben, received)
    p.put("to an unknown device", ann, path, "org.example.x", "t3", body={"messages": {ben.user_id: {"NOTHING": {}}}})
    p.put("to nobody", ann, path, "org.example.x", "t4", body={"messages": {}})
    p.put("without messages", ann, path, "org.example.x", "t5", body={})
    p.put("wrong messages", ann, path, "org.example.x", "t6", body={"messages": []})


def presence(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    begun = p.sync("begin", ben, set_presence="offline")["next_batch"]
    path = "/presence/{}/status"
    p.put("set", ann, path, ann.user_id, body={"presence": "unavailable", "status_msg": "away"})
    p.get("own", ann, path, ann.user_id)
    p.get("of one in the same room", ben, path, ann.user_id)
    p.get("of a stranger", cid, path, ann.user_id)
    p.put("somebody else's", ben, path, ann.user_id, body={"presence": "online"})
    p.put("wrong", ann, path, ann.user_id, body={"presence": "asleep"})
    p.put("absent", ann, path, ann.user_id, body={})

    def away(answer: dict[str, Any]) -> bool:
        events = answer.get("presence", {}).get("events", [])
        return any(event["content"].get("status_msg") == "away" for event in events)

    p.sync("seen", ben, begun, set_presence="offline", until=away)


CONVERSATIONS = {
    "first-syncs": first_syncs,
    "limited-syncs": limited_syncs,
    "filtered-syncs": filtered_syncs,
    "lazy-members": lazy_members,
    "leaving-syncs": leaving_syncs,
    "invite-syncs": invite_syncs,
    "to-device": to_device,
    "presence": presence,
}
