"""Conversations about events: sending, relations, redaction, pagination, context, search, receipts, reports."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.comparison.player import V1, Player

EVENT = "/rooms/{}/event/{}"
RELATIONS = V1 + "/rooms/{}/relations/{}"


def edit(event_id: str, text: str) -> dict[str, Any]:
    return {
        "msgtype": "m.text",
        "body": f"* {text}",
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def reaction(event_id: str, key: str) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}


def threaded(root: str, text: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": text, "m.relates_to": {"rel_type": "m.thread", "event_id": root}}


def _unread(answer: dict[str, Any], room: str) -> Any:
    return answer["rooms"]["join"].get(room, {}).get("unread_notifications", {}).get("notification_count")


def sending(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    path = "/rooms/{}/send/{}/{}"
    text = {"msgtype": "m.text", "body": "hello"}
    first = p.put("send", ann, path, room, "m.room.message", "t1", body=text)
    again = p.put("the same transaction", ann, path, room, "m.room.message", "t1", body=text)
    p.get("one event for both", ann, EVENT, room, again["event_id"])
    p.put("the same transaction with other content", ann, path, room, "m.room.message", "t1", body={"body": "other"})
    p.put("the same transaction of another type", ann, path, room, "org.example", "t1", body=text)
    p.put("the same transaction of another user", ben, path, room, "m.room.message", "t1", body=text)
    p.put("transaction with a slash", ann, path, room, "m.room.message", "a/b c%", body=text)
    p.put("unknown type", ann, path, room, "org.example.anything", "t2", body={"a": {"b": [1, 2, {"c": None}]}})
    p.put(
        "unicode", ann, path, room, "m.room.message", "t3", body={"msgtype": "m.text", "body": "你好 🎉 \u0000 \u2028"}
    )
    p.put("outsider", cid, path, room, "m.room.message", "t1", body=text)
    p.put("unknown room", ann, path, "!unknown:halfdoor.test", "m.room.message", "t4", body=text)
    p.put("float", ann, path, room, "m.room.message", "t5", body={"body": "x", "n": 1.5})
    p.put("too large a number", ann, path, room, "m.room.message", "t6", body={"body": "x", "n": 2**60})
    p.put("too large", ann, path, room, "m.room.message", "t7", body={"body": "x" * 66000})
    p.put("state event's type without power", ben, path, room, "m.room.encrypted", "t8", body={"x": 1})
    p.put("as another user", ann, path, room, "m.room.message", "t9", query={"user_id": ben.user_id}, body=text)
    p.put("with a time of its own", ann, path, room, "m.room.message", "t10", query={"ts": 1}, body=text)
    p.get("event", ben, EVENT, room, first["event_id"])
    p.get("event for an outsider", cid, EVENT, room, first["event_id"])
    p.get("unknown event", ann, EVENT, room, "$unknown")
    other = p.room("create another", ann)
    p.get("event of another room", ann, EVENT, other, first["event_id"])
    p.get("old way to read an event", ann, "/events/{}", first["event_id"])


def relations(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    root = p.send("original", ann, room, "original")
    p.send("edit", ann, room, edit(root, "edited"))
    p.get("edited", ben, EVENT, room, root)
    p.send("edit again", ann, room, edit(root, "edited twice"))
    p.get("edited twice", ben, EVENT, room, root)
    p.send("edit by another", ben, room, edit(root, "forged"))
    p.get("not edited by another", ben, EVENT, room, root)
    p.send("thumb", ann, room, reaction(root, "👍"), "m.reaction")
    p.send("thumb by ben", ben, room, reaction(root, "👍"), "m.reaction")
    p.put("thumb twice", ann, "/rooms/{}/send/m.reaction/twice", room, body=reaction(root, "👍"))
    heart = p.send("heart", ben, room, reaction(root, "❤️"), "m.reaction")
    p.send("reference", ben, room, {"m.relates_to": {"rel_type": "m.reference", "event_id": root}}, "org.example.ref")
    p.get("with everything", ben, EVENT, room, root)
    p.get("relations", ben, RELATIONS, room, root)
    p.get("relations forwards", ben, RELATIONS, room, root, query={"dir": "f"})
    p.get("annotations", ben, RELATIONS + "/m.annotation", room, root)
    p.get("reactions", ben, RELATIONS + "/m.annotation/m.reaction", room, root)
    p.get("replacements", ben, RELATIONS + "/m.replace", room, root)
    page = p.get("first page", ben, RELATIONS, room, root, query={"limit": 2})
    p.get("second page", ben, RELATIONS, room, root, query={"limit": 2, "from": page["next_batch"]})
    p.put("redact the heart", ben, "/rooms/{}/redact/{}/r1", room, heart, body={"reason": "oops"})
    p.get("relations after redaction", ben, RELATIONS + "/m.annotation", room, root)
    p.get("relations of an unknown event", ben, RELATIONS, room, "$unknown")
    p.get("old path", ben, "/_matrix/client/unstable/rooms/{}/relations/{}", room, root)
    p.get("wrong direction", ben, RELATIONS, room, root, query={"dir": "x"})
    p.sync("bundled in sync", ben)
    p.put("redact the original", ann, "/rooms/{}/redact/{}/r2", room, root, body={})
    p.get("redacted original", ben, EVENT, room, root)


def threads(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    first = p.send("first root", ann, room, "first")
    second = p.send("second root", ben, room, "second")
    p.send("reply to first", ben, room, threaded(first, "a"))
    p.send("reply to second", ann, room, threaded(second, "b"))
    last = p.send("second reply to first", ann, room, threaded(first, "c"))
    p.send("edit of the last", ann, room, edit(last, "c edited"))
    p.send("reaction in thread", ben, room, reaction(last, "x"), "m.reaction")
    p.get("root", ann, EVENT, room, first)
    p.get("root for ben", ben, EVENT, room, first)
    path = V1 + "/rooms/{}/threads"
    p.get("list", ann, path, room)
    p.get("list of those taken part in", ben, path, room, query={"include": "participated"})
    page = p.get("first page", ann, path, room, query={"limit": 1})
    if "next_batch" in page:
        p.get("second page", ann, path, room, query={"limit": 1, "from": page["next_batch"]})
    p.get("wrong include", ann, path, room, query={"include": "nonsense"})
    p.get("events of a thread", ann, RELATIONS + "/m.thread", room, first)
    p.get("recursive", ann, RELATIONS, room, first, query={"recurse": True})
    p.put("nested thread", ann, "/rooms/{}/send/m.room.message/nested", room, body=threaded(last, "nested"))
    p.put("redact a reply", ann, "/rooms/{}/redact/{}/r1", room, last, body={})
    p.get("root after redaction", ann, EVENT, room, first)


def redactions(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    for version in ("10", "12"):
        room = p.room(f"create {version}", ann, preset="public_chat", room_version=version)
        p.post(f"join {version}", ben, "/join/{}", room)
        one = p.send(f"one {version}", ben, room, "one")
        two = p.send(f"two {version}", ann, room, "two")
        path = "/rooms/{}/redact/{}/{}"
        done = p.put(f"own {version}", ben, path, room, one, "r1", body={"reason": "mine"})
        p.put(f"own again {version}", ben, path, room, one, "r1", body={"reason": "mine"})
        p.put(f"somebody else's {version}", ben, path, room, two, "r2", body={})
        p.get(f"redacted {version}", ann, EVENT, room, one)
        p.get(f"redaction {version}", ann, EVENT, room, done["event_id"])
        p.put(f"by the outsider {version}", cid, path, room, two, "r3", body={})
        p.put(f"an unknown event {version}", ann, path, room, "$unknown", "r4", body={})
        name = p.state(f"name {version}", ann, room, "m.room.name", {"name": "x"})["event_id"]
        p.put(f"a state event {version}", ann, path, room, name, "r5", body={})
        p.get(f"state after redaction {version}", ann, "/rooms/{}/state/m.room.name", room)
        body = {"redacts": two, "reason": "by send"}
        p.put(f"by send {version}", ann, "/rooms/{}/send/m.room.redaction/r6", room, body=body)
        p.get(f"redacted by send {version}", ben, EVENT, room, two)
        p.get(f"messages {version}", ben, "/rooms/{}/messages", room, query={"dir": "b", "limit": 30})


def pagination(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat", name="Long")
    for n in range(12):
        p.send(f"message {n}", ann, room, f"message {n}")
    p.post("join", ben, "/join/{}", room)
    path = "/rooms/{}/messages"
    p.get("from the end", ben, path, room, query={"dir": "b", "limit": 5})
    page = p.get("from the end for ann", ann, path, room, query={"dir": "b", "limit": 5})
    page = p.get("next", ann, path, room, query={"dir": "b", "limit": 5, "from": page["end"]})
    p.get("back again", ann, path, room, query={"dir": "f", "limit": 5, "from": page["start"]})
    page = p.get("from the beginning", ann, path, room, query={"dir": "f", "limit": 8})
    p.get("on from the beginning", ann, path, room, query={"dir": "f", "limit": 8, "from": page["end"]})
    page = p.get("everything", ann, path, room, query={"dir": "b", "limit": 100})
    p.get(
        "filtered by type", ann, path, room, query={"dir": "b", "filter": {"types": ["m.room.name", "m.room.member"]}}
    )
    p.get(
        "filtered by not type",
        ann,
        path,
        room,
        query={"dir": "b", "limit": 3, "filter": {"not_types": ["m.room.message"]}},
    )
    p.get("filtered by sender", ann, path, room, query={"dir": "b", "filter": {"senders": [ben.user_id]}})
    p.get("lazy members", ann, path, room, query={"dir": "b", "limit": 4, "filter": {"lazy_load_members": True}})
    p.get("no direction", ann, path, room)
    p.get("wrong direction", ann, path, room, query={"dir": "x"})
    p.get("wrong token", ann, path, room, query={"dir": "b", "from": "nonsense"})
    p.get("wrong limit", ann, path, room, query={"dir": "b", "limit": "x"})
    p.get("negative limit", ann, path, room, query={"dir": "b", "limit": -1})
    p.get("limit zero", ann, path, room, query={"dir": "b", "limit": 0})
    p.get("wrong filter", ann, path, room, query={"dir": "b", "filter": "{"})
    p.get("unknown room", ann, path, "!unknown:halfdoor.test", query={"dir": "b"})
    synced = p.sync("sync with a short timeline", ann, filter={"room": {"timeline": {"limit": 3}}})
    token = synced["rooms"]["join"][room]["timeline"]["prev_batch"]
    p.get("before the sync", ann, path, room, query={"dir": "b", "limit": 4, "from": token})


def contexts(p: Player) -> None:
    ann, cid = p.account("ann"), p.account("cid")
    room = p.room("create", ann)
    sent = [p.send(f"message {n}", ann, room, f"message {n}") for n in range(9)]
    path = "/rooms/{}/context/{}"
    state = ("$.state",)
    middle = p.get("middle", ann, path, room, sent[4], query={"limit": 4}, unordered=state)
    p.get("on from its end", ann, "/rooms/{}/messages", room, query={"dir": "f", "from": middle["end"]})
    p.get(
        "back from its start", ann, "/rooms/{}/messages", room, query={"dir": "b", "from": middle["start"], "limit": 3}
    )
    p.get("first", ann, path, room, sent[0], query={"limit": 2}, unordered=state)
    p.get("last", ann, path, room, sent[8], unordered=state)
    p.get("limit zero", ann, path, room, sent[4], query={"limit": 0}, unordered=state)
    p.get("limit one", ann, path, room, sent[4], query={"limit": 1}, unordered=state)
    p.get("filtered", ann, path, room, sent[4], query={"filter": {"lazy_load_members": True}}, unordered=state)
    p.get("unknown event", ann, path, room, "$unknown")
    p.get("outsider", cid, path, room, sent[4])
    at = V1 + "/rooms/{}/timestamp_to_event"
    p.get("first event after a time", ann, at, room, query={"ts": 0, "dir": "f"})
    p.get("last event before a time", ann, at, room, query={"ts": 2**43, "dir": "b"})
    p.get("no event after a time", ann, at, room, query={"ts": 2**43, "dir": "f"})
    p.get("no time", ann, at, room, query={"dir": "f"})
    p.get("wrong time", ann, at, room, query={"ts": "x", "dir": "f"})
    p.get("outsider asks by time", cid, at, room, query={"ts": 0, "dir": "f"})


def visibility(p: Player) -> None:
    ann = p.account("ann")
    for setting in ("shared", "invited", "joined", "world_readable"):
        ben, cid = p.account(f"ben-{setting}"), p.account(f"cid-{setting}")
        state = [{"type": "m.room.history_visibility", "content": {"history_visibility": setting}}]
        room = p.room(f"create {setting}", ann, preset="public_chat", initial_state=state)
        early = p.send(f"early {setting}", ann, room, "early")
        p.post(f"invite {setting}", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
        p.send(f"between {setting}", ann, room, "between")
        p.post(f"join {setting}", ben, "/join/{}", room)
        p.send(f"late {setting}", ann, room, "late")
        p.get(f"messages {setting}", ben, "/rooms/{}/messages", room, query={"dir": "b", "limit": 30})
        p.get(f"early event {setting}", ben, EVENT, room, early)
        p.sync(f"sync {setting}", ben, until=lambda answer, room=room: _unread(answer, room) == 1)
        p.get(f"stranger reads {setting}", cid, "/rooms/{}/messages", room, query={"dir": "b", "limit": 30})
        p.post(f"leave {setting}", ben, "/rooms/{}/leave", room)
        p.send(f"after {setting}", ann, room, "after")
        p.get(f"messages after leaving {setting}", ben, "/rooms/{}/messages", room, query={"dir": "b", "limit": 30})


def search(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat", name="Searchable pangolin")
    p.post("join", ben, "/join/{}", room)
    p.send("pangolin 1", ann, room, "the first pangolin came")
    p.send("other", ann, room, "nothing of interest")
    p.send("pangolin 2", ben, room, "a second pangolin left")

    def body(term: str, **options: Any) -> dict[str, Any]:
        return {"search_categories": {"room_events": {"search_term": term, "order_by": "recent", **options}}}

    def found(count: int) -> Any:
        return lambda answer: answer["search_categories"]["room_events"].get("count") == count

    found_ = "$.search_categories.room_events"
    order = (f"{found_}.highlights", f"{found_}.state.!(create)")
    p.post("a word", ann, "/search", body=body("pangolin", keys=["content.body"]), until=found(2), unordered=order)
    p.post("in names too", ann, "/search", body=body("pangolin"), unordered=order)
    p.post("two words", ann, "/search", body=body("second pangolin"), unordered=order)
    p.post("by sender", ann, "/search", body=body("pangolin", filter={"senders": [ben.user_id]}), unordered=order)
    p.post("in no room", ann, "/search", body=body("pangolin", filter={"rooms": []}), unordered=order)
    p.post("nothing", ann, "/search", body=body("aardvark"), unordered=order)
    context = {"before_limit": 1, "after_limit": 1, "include_profile": True}
    p.post("with context", ann, "/search", body=body("second", event_context=context), unordered=order)
    p.post("with state", ann, "/search", body=body("second", include_state=True), unordered=order)
    groups = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
    p.post("grouped", ann, "/search", body=body("pangolin", keys=["content.body"], groupings=groups), unordered=order)
    page = p.post(
        "first page", ann, "/search", body=body("pangolin", keys=["content.body"], filter={"limit": 1}), unordered=order
    )
    token = page["search_categories"]["room_events"].get("next_batch", "")
    if token:
        p.post(
            "second page",
            ann,
            "/search",
            query={"next_batch": token},
            body=body("pangolin", keys=["content.body"], filter={"limit": 1}),
            unordered=order,
        )
    p.post("without a term", ann, "/search", body={"search_categories": {"room_events": {}}})
    p.post("without categories", ann, "/search", body={})
    p.post("wrong order", ann, "/search", body=body("x", order_by="random"))
    stranger = p.account("cid")
    p.post("by a stranger", stranger, "/search", body=body("pangolin"), unordered=order)


def receipts(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    first = p.sync("ben begins", ben)["next_batch"]
    mine = p.sync("ann begins", ann)["next_batch"]
    one, two, three = (p.send(f"message {n}", ann, room, f"message {n}") for n in range(3))
    path = "/rooms/{}/receipt/{}/{}"

    def unread(answer: dict[str, Any]) -> Any:
        return _unread(answer, room)

    p.sync("unread", ben, first, until=lambda answer: unread(answer) == 3)
    p.post("read one", ben, path, room, "m.read", one)
    p.sync("ben after reading one", ben, first, until=lambda answer: unread(answer) == 2)
    p.sync("ann sees it", ann, mine)
    p.post("read two privately", ben, path, room, "m.read.private", two)
    p.sync("ben after reading two", ben, first, until=lambda answer: unread(answer) == 1)
    p.sync("ann does not see it", ann, mine)
    p.post("fully read two", ben, path, room, "m.fully_read", two)
    markers = {"m.fully_read": three, "m.read": three, "m.read.private": three}
    p.post("markers", ben, "/rooms/{}/read_markers", room, body=markers)
    p.sync("ben after the markers", ben, first, until=lambda answer: unread(answer) == 0)
    p.sync("ann after the markers", ann, mine)
    p.sync("ann from the beginning", ann)
    p.post("wrong kind", ben, path, room, "m.seen", one)
    p.post("unknown event", ben, path, room, "m.read", "$unknown")
    p.post("no event id", ben, path, room, "m.read", "nonsense")
    p.post("unknown room", ben, path, "!unknown:halfdoor.test", "m.read", one)
    root = p.send("root", ann, room, "root")
    reply = p.send("reply", ann, room, threaded(root, "reply"))
    # Who is taken to be away by now is Synapse's clock's to say.
    everything = {"room": {"timeline": {"unread_thread_notifications": True}}, "presence": {"types": []}}
    p.sync(
        "threads unread",
        ben,
        first,
        filter=everything,
        until=lambda answer: "unread_thread_notifications" in answer["rooms"]["join"][room],
    )
    p.post("threaded receipt", ben, path, room, "m.read", reply, body={"thread_id": root})
    p.post("receipt for main", ben, path, room, "m.read", root, body={"thread_id": "main"})
    p.sync("after threaded receipts", ben, first, filter=everything)
    p.post("thread that is not the event's", ben, path, room, "m.read", one, body={"thread_id": root})
    p.post("thread id that is no text", ben, path, room, "m.read", reply, body={"thread_id": 1})
    p.post("empty thread id", ben, path, room, "m.read", reply, body={"thread_id": ""})


def mentions(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    first = p.sync("ben begins", ben)["next_batch"]

    def highlights(count: int) -> Any:
        return lambda answer: answer["rooms"]["join"][room]["unread_notifications"].get("highlight_count") == count

    p.send("mention", ann, room, {"msgtype": "m.text", "body": "hey", "m.mentions": {"user_ids": [ben.user_id]}})
    p.sync("highlighted", ben, first, until=highlights(1))
    p.send("whole room", ann, room, {"msgtype": "m.text", "body": "@room", "m.mentions": {"room": True}})
    p.sync("highlighted by room", ben, first, until=highlights(2))
    p.send("notice", ann, room, {"msgtype": "m.notice", "body": "quiet"})
    p.sync("not counted", ben, first, until=highlights(2))
    p.send("ben answers", ben, room, "here")
    p.sync("read by answering", ben, first, until=highlights(0))
    p.get("notifications", ben, "/notifications")
    p.get("highlights only", ben, "/notifications", query={"only": "highlight"})


def typing(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    p.post("join", ben, "/join/{}", room)
    begun = p.sync("begin", ben)["next_batch"]
    path = "/rooms/{}/typing/{}"
    p.put("type", ann, path, room, ann.user_id, body={"typing": True, "timeout": 30000})

    def seen(answer: dict[str, Any]) -> bool:
        return bool(answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events"))

    typed = p.sync("seen", ben, begun, until=seen)["next_batch"]
    p.put("stop", ann, path, room, ann.user_id, body={"typing": False})
    p.sync("stop seen", ben, typed, until=seen)
    p.put("for somebody else", ann, path, room, ben.user_id, body={"typing": True, "timeout": 1000})
    p.put("without typing", ann, path, room, ann.user_id, body={})
    p.put("wrong timeout", ann, path, room, ann.user_id, body={"typing": True, "timeout": "x"})
    cid = p.account("cid")
    p.put("outsider", cid, path, room, cid.user_id, body={"typing": True, "timeout": 1000})


def reporting(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room("create", ann, preset="public_chat")
    event = p.send("message", ann, room, "bad words")
    p.post("by an outsider", ben, "/rooms/{}/report/{}", room, event, body={"reason": "bad"})
    p.post("join", ben, "/join/{}", room)
    p.post("event", ben, "/rooms/{}/report/{}", room, event, body={"reason": "bad", "score": -100})
    p.post("event without a reason", ben, "/rooms/{}/report/{}", room, event, body={})
    p.post("unknown event", ben, "/rooms/{}/report/{}", room, "$unknown", body={"reason": "bad"})
    p.post("reason that is no text", ben, "/rooms/{}/report/{}", room, event, body={"reason": 1})
    p.post("room", ben, "/rooms/{}/report", room, body={"reason": "bad"})
    p.post("unknown room", ben, "/rooms/{}/report", "!unknown:halfdoor.test", body={"reason": "bad"})
    p.post("user", ben, "/users/{}/report", ann.user_id, body={"reason": "bad"})
    p.post("unknown user", ben, "/users/{}/report", "@nobody-at-all:halfdoor.test", body={"reason": "bad"})


CONVERSATIONS = {
    "sending": sending,
    "relations": relations,
    "threads": threads,
    "redactions": redactions,
    "pagination": pagination,
    "contexts": contexts,
    "visibility": visibility,
    "search": search,
    "receipts": receipts,
    "mentions": mentions,
    "typing": typing,
    "reporting": reporting,
}
