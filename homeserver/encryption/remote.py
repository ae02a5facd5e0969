"""What encryption needs of other servers, as one small protocol; federation implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class RemoteKeys(Protocol):
    """Keys of users of other servers. Both answer (body as of the Client-Server API, failures by server name)."""

    async def query_keys(
        self, wanted: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """`wanted`: {user id: [device id, …] or [] for all}. The body has device_keys, master_keys and
        self_signing_keys."""
        ...

    async def claim_keys(
        self, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """`wanted`: {user id: {device id: algorithm}}. The body has one_time_keys."""
        ...


class NoRemoteKeys:
    """A server without federation."""

    async def query_keys(
        self, wanted: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, _unreachable(wanted)

    async def claim_keys(
        self, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, _unreachable(wanted)


def _unreachable(wanted: Mapping[str, Any]) -> dict[str, Any]:
    failure = {"errcode": "M_UNKNOWN", "error": "This server does not talk to other servers."}
    return dict.fromkeys((user_id.partition(":")[2] for user_id in wanted), failure)
