"""The two servers of the comparison, configured alike."""

from __future__ import annotations

from pathlib import Path

from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProcess
from tests.support.synapse import synapse

SECOND_KINDS = ("halfdoor", "synapse")


def comparison_server(kind: str, directory: Path) -> ServerProcess:
    """A server of this kind, not yet started. Synapse keeps no sync answers, so that a repeated sync is a new one."""
    if kind == "halfdoor":
        return halfdoor(directory)
    # What Synapse keeps behind switches and Halfdoor has for everybody: polls and followed threads.
    proposals = {"msc4222_enabled": True, "msc3381_polls_enabled": True, "msc4306_enabled": True}
    settings = {"caches": {"sync_response_cache_duration": 0}, "experimental_features": proposals}
    return synapse(directory, settings=settings)
