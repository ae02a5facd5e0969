"""Where the bytes are kept: one small protocol, and the local disk.

A key is a hash, so that no part of a path comes from a client or another server (row E01 of the known attacks).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from homeserver.protocol.errors import NotFound, Unavailable

_log = logging.getLogger("homeserver.media")
_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 256 * 1024
_UNFINISHED: Final = "new-"


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """Say what a `FileStore` raises in the specification's terms: NotFound, Unavailable."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("The file of this media is missing.") from None
    except OSError as error:
        _log.error("Files cannot be kept or read: %s", error)
        raise Unavailable("Files cannot be kept or read at this moment.") from None


class FileStore(Protocol):
    """Files by key (64 hexadecimal digits). Everything here blocks: call it in a thread, within `file_errors`. What
    goes wrong is an OSError."""

    def add(self, key: str, source: BinaryIO) -> str:
        """Keep what is left of `source`; the SHA-256 of it. It is on the disk when this returns."""
        ...

    def open(self, key: str) -> BinaryIO:
        """A file of the operating system. Raises FileNotFoundError."""
        ...

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Something to read `length` bytes from, the first of which is number `start`. Raises FileNotFoundError."""
        ...

    def remove(self, key: str) -> None:
        """It may be gone already."""
        ...

    def list_old(self, before: float) -> Iterator[str]:
        """The keys of all files that came before, in seconds since 1970."""
        ...


class LocalFiles:
    """`FileStore` in a folder, which is made with the first file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, key: str, source: BinaryIO) -> str:
        place = self._place(key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=_UNFINISHED, delete=False) as file:
            try:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, place)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file.name)
                raise
        for folder in (place.parent, place.parent.parent, self._folder):
            _sync_folder(folder)
        return digest.hexdigest()

    def open(self, key: str) -> BinaryIO:
        return self._place(key).open("rb")

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        file = self.open(key)
        file.seek(start)
        return file

    def remove(self, key: str) -> None:
        self._place(key).unlink(missing_ok=True)

    def list_old(self, before: float) -> Iterator[str]:
        for folder, _, names in os.walk(self._folder):
            for name in names:
                place = Path(folder, name)
                if place.stat().st_mtime >= before:
                    continue
                if _KEY.fullmatch(name):
                    yield name
                elif name.startswith(_UNFINISHED):
                    place.unlink(missing_ok=True)  # of an upload that a crash ended

    def _place(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("A key of a file is 64 hexadecimal digits.")
        return self._folder / key[:2] / key[2:4] / key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
