"""EDUs of every kind, most of them malformed."""

from __future__ import annotations

import copy
import random
from typing import Any, Final

from tests.end_to_end.fuzz import nasty
from tests.federation.lies import Scene


def edus_of(user: str, room_id: str, event_id: str, local: str) -> list[dict[str, Any]]:
    """A good EDU of each kind that the specification has. `local`: a user of the server that gets them."""
    keys = {"ed25519:x": "x" * 43}
    return [
        {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": user, "typing": True}},
        {
            "edu_type": "m.receipt",
            "content": {room_id: {"m.read": {user: {"event_ids": [event_id], "data": {"ts": 1, "thread_id": "main"}}}}},
        },
        {
            "edu_type": "m.presence",
            "content": {
                "push": [
                    {"user_id": user, "presence": "online", "status_msg": "x", "last_active_ago": 1},
                    {"user_id": user, "presence": "offline", "currently_active": False},
                ]
            },
        },
        {
            "edu_type": "m.direct_to_device",
            "content": {
                "sender": user,
                "type": "m.dummy",
                "message_id": "x",
                "messages": {local: {"*": {"a": 1}, "DEVICE": {}}},
            },
        },
        {
            "edu_type": "m.device_list_update",
            "content": {
                "user_id": user,
                "device_id": "D",
                "stream_id": 5,
                "prev_id": [4],
                "deleted": False,
                "device_display_name": "x",
                "keys": {"user_id": user, "device_id": "D", "algorithms": ["x"], "keys": keys, "signatures": {}},
            },
        },
        {
            "edu_type": "m.signing_key_update",
            "content": {
                "user_id": user,
                "master_key": {"user_id": user, "usage": ["master"], "keys": keys},
                "self_signing_key": {"user_id": user, "usage": ["self_signing"], "keys": keys},
            },
        },
    ]


OTHERS: Final[list[Any]] = [
    None, 7, "x", [], {}, {"edu_type": None}, {"edu_type": "x"}, {"edu_type": ["m.typing"]}, {"edu_type": "m.typing"},
    {"edu_type": "m.receipt", "content": []}, {"edu_type": "m.presence", "content": {"push": [[]] * 50}},
]  # fmt: skip


def malformed_edu(chance: random.Random, scene: Scene) -> Any:
    """One EDU; one in six is as it should be."""
    if chance.random() < 0.1:
        return copy.deepcopy(chance.choice(OTHERS))
    made = chance.choice(edus_of(scene.liar.user, scene.room_id, scene.room.last.event_id, scene.alice.user_id))
    return made if chance.random() < 0.17 else nasty.spoil(made, chance)
