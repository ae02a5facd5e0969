"""Files in an object store that speaks Amazon's S3. Imported where one is configured: its client is large."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO, Final, cast

import obstore
import obstore.exceptions
from obstore.store import S3Store

_CHUNK: Final = 256 * 1024
_PART: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class S3Settings:
    """`endpoint` None: Amazon's. `prefix` is empty or ends with a slash. Without a key the environment's is used."""

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    prefix: str = ""
    access_key_id: str | None = None
    secret_access_key: str | None = None
    timeout: float = 60.0


class S3Files:
    """`FileStore` in a bucket. A file is there when `add` returns: the store answers after it has written."""

    def __init__(self, settings: S3Settings) -> None:
        config: dict[str, Any] = {"region": settings.region}
        if settings.endpoint is not None:
            config |= {"endpoint": settings.endpoint, "virtual_hosted_style_request": False}
        if settings.access_key_id is not None:
            config["access_key_id"] = settings.access_key_id
            config["secret_access_key"] = settings.secret_access_key or ""
        is_plain = settings.endpoint is not None and settings.endpoint.startswith("http://")
        self._prefix = settings.prefix
        self._store: Any = S3Store(
            settings.bucket,
            config=cast(Any, config),
            client_options={"allow_http": is_plain, "timeout": timedelta(seconds=settings.timeout)},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=settings.timeout)},
        )

    def add(self, key: str, source: BinaryIO) -> str:
        digest = hashlib.sha256()
        with _as_os_errors():
            obstore.put(self._store, self._name(key), _hashed(source, digest), chunk_size=_PART, max_concurrency=2)
        return digest.hexdigest()

    def open(self, key: str) -> BinaryIO:
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - it is the answer
        try:
            with _as_os_errors():
                for chunk in self._get(key, {}).stream(_CHUNK):
                    file.write(bytes(chunk))
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        if length == 0:
            return io.BytesIO()
        got = self._get(key, {"range": (start, start + length)})
        return cast(BinaryIO, io.BufferedReader(_Pieces(got.stream(_CHUNK)), _CHUNK))

    def remove(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), _as_os_errors():
            obstore.delete(self._store, self._name(key))

    def list_old(self, before: float) -> Iterator[str]:
        with _as_os_errors():
            for page in obstore.list(self._store, prefix=self._prefix or None):
                for item in page:
                    name = item["path"].rpartition("/")[2]
                    if item["last_modified"].timestamp() < before and item["path"] == self._name(name):
                        yield name

    def _get(self, key: str, options: Any) -> Any:
        with _as_os_errors():
            return obstore.get(self._store, self._name(key), options=options)

    def _name(self, key: str) -> str:
        return f"{self._prefix}{key[:2]}/{key[2:4]}/{key}"


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """What the store does not do is an error of input and output, like a disk's."""
    try:
        yield
    except obstore.exceptions.BaseError as error:
        raise OSError(f"The object store did not do it: {type(error).__name__}") from None


def _hashed(source: BinaryIO, digest: Any) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        yield chunk


class _Pieces(io.RawIOBase):
    """Bytes as they come over the network, as a file to read from once."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            with _as_os_errors():
                self._left = bytes(next(self._pieces, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
