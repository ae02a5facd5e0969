"""The public kit: write one class with three methods (`Network`), and get a bridge.

Everything that a bridge author needs is named here; docs/bridges.md is the tutorial.
"""

from __future__ import annotations

from bridges.kit.bridge import Bridge
from bridges.kit.clock import Clock, SystemClock
from bridges.kit.messages import (
    MatrixMedia,
    MatrixMessage,
    MatrixUser,
    Person,
    RemoteDeletion,
    RemoteEdit,
    RemoteEvent,
    RemoteMedia,
    RemoteMessage,
    RemoteReaction,
)
from bridges.kit.network import (
    ChatDescription,
    DescribesChats,
    Edits,
    FindsSent,
    HearsDelivery,
    Media,
    Members,
    Network,
    OpensChats,
    Reactions,
    Receipts,
    Redactions,
    Typing,
    Undeliverable,
)
from bridges.kit.registration import new_token, registration, registration_file
from bridges.kit.settings import BridgeSettings, load_settings
from bridges.kit.store import Store, Transaction

__all__ = [
    "Bridge",
    "BridgeSettings",
    "ChatDescription",
    "Clock",
    "DescribesChats",
    "Edits",
    "FindsSent",
    "HearsDelivery",
    "MatrixMedia",
    "MatrixMessage",
    "MatrixUser",
    "Media",
    "Members",
    "Network",
    "OpensChats",
    "Person",
    "Reactions",
    "Receipts",
    "Redactions",
    "RemoteDeletion",
    "RemoteEdit",
    "RemoteEvent",
    "RemoteMedia",
    "RemoteMessage",
    "RemoteReaction",
    "Store",
    "SystemClock",
    "Transaction",
    "Typing",
    "Undeliverable",
    "load_settings",
    "new_token",
    "registration",
    "registration_file",
]
