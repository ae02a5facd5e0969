"""Runs the thumbnail process: bounded in number, in time and in memory, and killed when it is late.

An image that crashes its decoder crashes that process alone (rows E04 and E05 of the known attacks).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from homeserver.media.thumbnail_process import TOO_LARGE
from homeserver.protocol.errors import LimitExceeded, TooLarge, Unknown

_log = logging.getLogger("homeserver.media")
_PROGRAM: Final = Path(__file__).with_name("thumbnail_process.py")
_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_WAITING_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class ThumbnailLimits:
    """`pixels` of the source; `timeout` in seconds of real time."""

    pixels: int = 32_000_000
    timeout: float = 20.0
    memory_bytes: int = 768 * 1024 * 1024
    processes: int = 2


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


class ThumbnailMaker:
    """Makes thumbnails in processes."""

    def __init__(self, limits: ThumbnailLimits, program: Path = _PROGRAM) -> None:
        self._limits = limits
        self._program = program
        self._places = asyncio.Semaphore(limits.processes)
        self._waiting = 0

    async def make(self, source: BinaryIO, output: BinaryIO, wanted: Wanted) -> str:
        """Write the thumbnail of an image, both open files of the operating system; its content type.

        Raises TooLarge (too many pixels, too much memory or time), Unknown (not an image that we take), LimitExceeded.
        """
        if self._waiting >= _WAITING_MAX:
            raise LimitExceeded("Too many thumbnails are being made; try again soon.", retry_after_ms=2000)
        self._waiting += 1
        try:
            async with self._places:
                return await self._run(source, output, wanted)
        finally:
            self._waiting -= 1

    async def _run(self, source: BinaryIO, output: BinaryIO, wanted: Wanted) -> str:
        limits = self._limits
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(self._program),
            str(wanted.width),
            str(wanted.height),
            wanted.method,
            "animated" if wanted.is_animated else "still",
            str(limits.pixels),
            str(limits.memory_bytes),
            str(max(1, int(limits.timeout))),
            stdin=source,
            stdout=output,
            stderr=asyncio.subprocess.PIPE,
            env={},
            start_new_session=True,
        )
        try:
            _, told = await asyncio.wait_for(process.communicate(), limits.timeout)
        except TimeoutError:
            raise TooLarge("Making a thumbnail of this took too long.") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == TOO_LARGE:
            raise TooLarge("The image is too large to make a thumbnail of it.")
        content_type = _TYPES.get(told.decode("ascii", "replace").strip())
        if process.returncode != 0 or content_type is None:
            if (process.returncode or 0) < 0:
                _log.warning("The thumbnail process ended with signal %d", -(process.returncode or 0))
            raise Unknown("No thumbnail can be made of this content.")
        return content_type
