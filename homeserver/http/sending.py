"""Bodies of answers that are not in memory: read piece by piece, closed in every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from homeserver.http.request import FileBody, StreamBody

_FILE_CHUNK: Final = 256 * 1024


async def chunks_of(body: FileBody | StreamBody) -> AsyncGenerator[bytes, None]:
    """The pieces of a body; files are read in a thread."""
    if isinstance(body, StreamBody):
        async for chunk in body.chunks:
            yield chunk
        return
    left = body.length
    while left > 0:
        chunk = await asyncio.to_thread(body.file.read, min(left, _FILE_CHUNK))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


async def dispose(body: FileBody | StreamBody) -> None:
    """Close what the handler opened, whatever became of the answer."""
    if isinstance(body, FileBody):
        body.file.close()
        return
    close = getattr(body.chunks, "aclose", None)
    if close is not None:
        await close()
