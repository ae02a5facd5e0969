"""Files on the local disk."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from homeserver.media.file_store import LocalFiles

KEY = "ab" * 32


def test_a_file_is_kept_and_removed(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "media")
    digest = files.add(KEY, io.BytesIO(b"words"))
    assert digest == "dba36bffa5cab0f922d087a3aeb179f9d4e745df40b323e1b1471402848c8a3e"
    with files.open(KEY) as file:
        assert file.read() == b"words"
    files.remove(KEY)
    files.remove(KEY)
    with pytest.raises(FileNotFoundError):
        files.open(KEY)


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("gone")

    with pytest.raises(OSError):
        LocalFiles(tmp_path).add(KEY, Broken())
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


@pytest.mark.parametrize("key", ["", "../" * 20 + "etc/passwd", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", "/etc/passwd"])
def test_E01_only_a_hash_is_a_key(tmp_path: Path, key: str) -> None:
    files = LocalFiles(tmp_path)
    for call in (files.open, files.remove, lambda wrong: files.add(wrong, io.BytesIO(b""))):
        with pytest.raises(ValueError):
            call(key)
    assert list(tmp_path.iterdir()) == []
