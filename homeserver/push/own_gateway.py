"""What the sender of notifications asks of a push gateway in the same server: `push/gateway/`, where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class OwnGatewayFailed(Exception):
    """A provider did not take a notification now. `retry_after` in seconds, where it said when to come back."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class OwnGateway(Protocol):
    """The push gateway of this server."""

    def serves(self, app_id: str) -> bool:
        """Whether the app is one of those that the operator has configured."""
        ...

    async def notify(self, notification: Mapping[str, Any]) -> list[str]:
        """Tell every device of a notification; the pushkeys that are rejected. Raises OwnGatewayFailed."""
        ...
