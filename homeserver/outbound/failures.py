"""Why a request of this server came to nothing."""

from __future__ import annotations

from typing import Literal

FailureKind = Literal["refused", "not reached", "redirected too often", "too large", "timed out"]


class OutboundFailed(Exception):
    """`reason` is a sentence for a log or an operator. Do not show it to whoever named the address: what cannot be
    reached, and why, tells strangers about the network that this server stands in."""

    def __init__(self, kind: FailureKind, reason: str = "") -> None:
        self.kind = kind
        self.reason = reason or f"The other side was {kind}."
        super().__init__(self.reason)
