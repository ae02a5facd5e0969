"""Files in an object store, against an S3 server of Python (moto)."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from homeserver.media.s3_files import S3Files, S3Settings
from homeserver.media.services import MediaSettings
from tests.support.server import V1, open_server, server_settings

pytestmark = [pytest.mark.end_to_end, pytest.mark.filterwarnings("default")]  # moto's own

BUCKET = "halfdoor-media"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).close()
    yield url
    server.stop()


@pytest.fixture
def files(endpoint: str) -> S3Files:
    return S3Files(
        S3Settings(BUCKET, endpoint, prefix="media/", access_key_id="someone", secret_access_key="something")
    )


@pytest.mark.parametrize("size", [0, 1, 1000, 20 * 1024 * 1024])
def test_a_file_is_kept_whole_and_read_in_parts(files: S3Files, size: int) -> None:
    content = hashlib.shake_256(b"seed").digest(size)
    key = hashlib.sha256(b"%d" % size).hexdigest()
    assert files.add(key, io.BytesIO(content)) == hashlib.sha256(content).hexdigest()
    with files.open(key) as file:
        assert file.read() == content
        assert file.fileno() > 0, "the thumbnail process needs a real one"
    for start, length in ((0, size), (size // 2, size - size // 2), (max(0, size - 1), min(1, size))):
        with files.open_part(key, start, length) as part:
            assert part.read() == content[start : start + length]
    files.remove(key)
    files.remove(key)
    for missing in (files.open, lambda key: files.open_part(key, 0, 5)):
        with pytest.raises(FileNotFoundError):
            missing(key)


def test_old_files_are_listed(files: S3Files) -> None:
    keys = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(60)]
    for key in keys:
        files.add(key, io.BytesIO(b"x"))
    assert sorted(files.list_old(2**40)) == sorted(keys)
    assert list(files.list_old(0)) == []


@pytest.mark.parametrize("is_away", [True, False])
def test_a_store_that_is_away_or_refuses_is_an_error_like_a_disks(endpoint: str, is_away: bool) -> None:
    bucket, address = (BUCKET, "http://127.0.0.1:1") if is_away else ("no-such-bucket", endpoint)
    files = S3Files(S3Settings(bucket, address, access_key_id="a", secret_access_key="b", timeout=1))
    with pytest.raises(OSError, match=r"."):
        files.add("0" * 64, io.BytesIO(b"x"))
    with pytest.raises(OSError, match=r"."):
        files.open("0" * 64)


async def test_a_server_serves_from_the_store(files: S3Files, tmp_path: Path) -> None:
    media: Any = MediaSettings(tmp_path / "unused", open_store=lambda: files)
    server = open_server(settings=server_settings(media=media))
    alice = await server.register()
    output = io.BytesIO()
    Image.new("RGB", (300, 200), (9, 99, 9)).save(output, "PNG")
    answer = await server.client.request(
        "POST",
        "/_matrix/media/v3/upload",
        body=output.getvalue(),
        token=alice.token,
        headers={"content-type": "image/png"},
    )
    path = answer.json["content_uri"].removeprefix("mxc://")
    whole = await server.client.request("GET", f"{V1}/media/download/{path}", token=alice.token)
    assert whole.body == output.getvalue()
    part = await server.client.request(
        "GET", f"{V1}/media/download/{path}", token=alice.token, headers={"range": "bytes=10-19"}
    )
    assert (part.status, part.body) == (206, output.getvalue()[10:20])
    small = await server.client.request(
        "GET", f"{V1}/media/thumbnail/{path}", token=alice.token, query={"width": 30, "height": 30}
    )
    assert Image.open(io.BytesIO(small.body)).size == (30, 20)
    assert not (tmp_path / "unused").exists()
    await server.close()
