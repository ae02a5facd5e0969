"""Runs the thumbnail process: bounded in number, in time and in memory, and killed when it is late.

An image that crashes its decoder crashes that process alone (rows E04 and E05 of the known attacks).
"""

from __future__ import annotations

import enum
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from homeserver.media.limited_process import LimitedProcesses
from homeserver.media.thumbnail_process import TOO_LARGE
from homeserver.protocol.errors import TooLarge, Unknown

_log = logging.getLogger("homeserver.media")
_PROGRAM: Final = Path(__file__).with_name("thumbnail_process.py")
_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_TOLD = re.compile(r"([A-Z]+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class ThumbnailLimits:
    """`pixels` of the source; `timeout` in seconds of real time."""

    pixels: int = 32_000_000
    timeout: float = 20.0
    memory_bytes: int = 768 * 1024 * 1024
    processes: int = 2


class Method(enum.Enum):
    """How a picture is made to fit."""

    CROP = "crop"
    SCALE = "scale"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thumbnail that somebody asked for."""

    width: int
    height: int
    method: str
    is_animated: bool

    @property
    def variant(self) -> str:
        return f"{self.width}x{self.height}-{self.method}-{'animated' if self.is_animated else 'still'}"


@dataclass(frozen=True, slots=True)
class Made:
    """A thumbnail: its content type and its size in pixels."""

    content_type: str
    width: int
    height: int


class ThumbnailMaker:
    """Makes thumbnails in processes."""

    def __init__(self, limits: ThumbnailLimits, program: Path = _PROGRAM) -> None:
        self._limits = limits
        self._processes = LimitedProcesses(program, limits.processes, limits.timeout)

    async def make(self, source: BinaryIO, output: BinaryIO, wanted: Wanted) -> Made:
        """Write the thumbnail of an image, both open files of the operating system.

        Raises TooLarge (too many pixels, too much memory or time), Unknown (not an image that we take), LimitExceeded.
        """
        limits = self._limits
        ended = await self._processes.run(
            str(wanted.width),
            str(wanted.height),
            wanted.method,
            "animated" if wanted.is_animated else "still",
            str(limits.pixels),
            str(limits.memory_bytes),
            str(max(1, int(limits.timeout))),
            source=source,
            output=output,
        )
        if ended.status == TOO_LARGE:
            raise TooLarge("The image is too large to make a thumbnail of it.")
        if ended.status < 0:
            _log.warning("The thumbnail process ended with signal %d", -ended.status)
        told = _TOLD.fullmatch(ended.told.decode("ascii", "replace").strip())
        if ended.status != 0 or told is None or told[1] not in _TYPES:
            raise Unknown("No thumbnail can be made of this content.")
        return Made(_TYPES[told[1]], int(told[2]), int(told[3]))
