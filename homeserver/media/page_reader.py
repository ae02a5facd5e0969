"""Runs the process that reads pages (`page_process.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from homeserver.media.limited_process import LimitedProcesses
from homeserver.protocol.errors import TooLarge

_PROGRAM: Final = Path(__file__).with_name("page_process.py")
_MEMORY_BYTES: Final = 256 * 1024 * 1024
_SECONDS: Final = 5.0
_PROCESSES: Final = 2


class PageFacts(msgspec.Struct, frozen=True):
    """What a page says of itself. `image`, `base` and `oembed` are addresses as they stand in the page."""

    properties: Mapping[str, str] = {}
    image: str | None = None
    base: str | None = None
    oembed: str | None = None


@dataclass(frozen=True, slots=True)
class PageLimits:
    """What one page may cost; `seconds` of real time and of processor time."""

    memory_bytes: int = _MEMORY_BYTES
    seconds: float = _SECONDS
    processes: int = _PROCESSES


class PageReader:
    """Reads HTML."""

    def __init__(self, limits: PageLimits | None = None) -> None:
        self._limits = limits or PageLimits()
        self._processes = LimitedProcesses(_PROGRAM, self._limits.processes, self._limits.seconds)

    async def read(self, page: bytes, charset: str) -> PageFacts:
        """`charset` is what the server said, or "". Of a page that cannot be read in time and memory: nothing. Raises
        LimitExceeded."""
        limits = self._limits
        try:
            ended = await self._processes.run(
                charset, str(limits.memory_bytes), str(max(1, int(limits.seconds))), source=page
            )
            return msgspec.json.decode(ended.output, type=PageFacts) if ended.status == 0 else PageFacts()
        except (TooLarge, msgspec.DecodeError):
            return PageFacts()
