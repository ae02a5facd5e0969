"""Runs a small program of ours on what strangers sent: few at a time, for a bounded time, killed when it is late.

The program bounds its own memory and processor time before it looks at anything. A decoder that crashes takes down that
process alone (rows C07, E04 and E05 of the known attacks).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from homeserver.protocol.errors import LimitExceeded, TooLarge

_WAITING_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended; a negative status is the number of a signal. `output` is empty where it went to a file."""

    status: int
    output: bytes
    told: bytes


class LimitedProcesses:
    """`processes` at a time, `timeout` in seconds of real time each. The program is run by Python without anything of
    the environment."""

    def __init__(self, program: Path, processes: int, timeout: float) -> None:
        self.program = program
        self._timeout = timeout
        self._places = asyncio.Semaphore(processes)
        self._waiting = 0

    async def run(self, *arguments: str, source: BinaryIO | bytes, output: BinaryIO | None = None) -> Ended:
        """Raises TooLarge when it took too long, LimitExceeded when too many wait."""
        if self._waiting >= _WAITING_MAX:
            raise LimitExceeded("Too many of these are being made; try again soon.", retry_after_ms=2000)
        self._waiting += 1
        try:
            async with self._places:
                return await self._run(arguments, source, output)
        finally:
            self._waiting -= 1

    async def _run(self, arguments: tuple[str, ...], source: BinaryIO | bytes, output: BinaryIO | None) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(self.program),
            *arguments,
            stdin=asyncio.subprocess.PIPE if isinstance(source, bytes) else source,
            stdout=asyncio.subprocess.PIPE if output is None else output,
            stderr=asyncio.subprocess.PIPE,
            env={},
            start_new_session=True,
        )
        try:
            given = source if isinstance(source, bytes) else None
            said, told = await asyncio.wait_for(process.communicate(given), self._timeout)
        except TimeoutError:
            raise TooLarge("Reading this took too long.") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Ended(process.returncode or 0, said or b"", told)
