"""Files over HTTP: uploaded, downloaded, promised, made smaller; each answer held against the specification."""

from __future__ import annotations

import asyncio
import io
import os
import random
import resource
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from homeserver.http.application import HttpApplication, HttpSettings
from homeserver.http.routing import Router
from homeserver.http.twisted_server import HttpServer
from homeserver.media.services import MediaSettings
from homeserver.media.thumbnail_maker import ThumbnailLimits
from homeserver.media.uploads import UploadLimits
from homeserver.storage.database import Database
from tests.support.clock import settle
from tests.support.http import Answer, HttpClient, SocketClient
from tests.support.openapi import validate_answer
from tests.support.server import SERVER_NAME, Server, User, open_server, server_settings

V1, V3 = "/_matrix/client/v1/media", "/_matrix/media/v3"


@dataclass
class Site:
    """A server that keeps its files in `folder`."""

    server: Server
    folder: Path
    client: HttpClient

    async def request(self, method: str, path: str, user: User | None = None, **more: Any) -> Answer:
        """Validated, but for the statuses of ranges and conditions, which the specification leaves to HTTP."""
        answer = await self.client.request(method, path, token=None if user is None else user.token, **more)
        if answer.status not in (206, 304, 416) and method != "HEAD":
            is_json = answer.headers["content-type"] == "application/json"
            validate_answer(method, path, answer.status, answer.json if is_json else answer.body)
        return answer

    async def upload(self, user: User, content: bytes, content_type: str = "text/plain", name: str = "") -> str:
        """The "server/id" of the new file."""
        query = {"filename": name} if name else None
        answer = await self.request(
            "POST", f"{V3}/upload", user, body=content, headers={"content-type": content_type}, query=query
        )
        assert answer.status == 200, answer.body
        uri: str = answer.json["content_uri"]
        return uri.removeprefix("mxc://")

    async def create(self, user: User) -> str:
        answer = await self.request("POST", "/_matrix/media/v1/create", user)
        assert answer.status == 200, answer.body
        uri: str = answer.json["content_uri"]
        return uri.removeprefix("mxc://")

    async def put(self, user: User, media: str, content: bytes) -> Answer:
        return await self.request("PUT", f"{V3}/upload/{media}", user, body=content)

    async def get(self, user: User, media: str, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        return await self.request("GET", f"{V1}/download/{media}", user, headers=headers, query=query or None)

    async def thumbnail(self, user: User, media: str, width: int = 32, height: int = 32, **query: Any) -> Answer:
        wanted = {"width": width, "height": height, **query}
        return await self.request("GET", f"{V1}/thumbnail/{media}", user, query=wanted)

    def files(self) -> list[Path]:
        return [each for each in self.folder.rglob("*") if each.is_file()]


def open_site(folder: Path, db: Database | None = None, **changes: Any) -> Site:
    settings = MediaSettings(folder / "media", **changes)
    server = open_server(db, server_settings(media=settings))
    return Site(server, folder, server.client)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = open_site(tmp_path)
    yield opened
    await opened.server.close()


def picture(width: int = 200, height: int = 100, kind: str = "PNG", mode: str = "RGB", frames: int = 1) -> bytes:
    images = [Image.new(mode, (width, height), (index * 20 % 255, 90, 90)[: len(mode)]) for index in range(frames)]
    output = io.BytesIO()
    more: dict[str, Any] = {"save_all": True, "append_images": images[1:], "duration": 100} if frames > 1 else {}
    images[0].save(output, kind, **more)
    return output.getvalue()


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["errcode"]


async def test_a_file_comes_back_as_it_went_in(site: Site) -> None:
    alice, bob = await site.server.register("alice"), await site.server.register("bob")
    media = await site.upload(alice, b"words", "text/plain; charset=utf-8", "notes.txt")
    assert media.startswith(f"{SERVER_NAME}/")
    answer = await site.get(bob, media)
    assert (answer.status, answer.body) == (200, b"words")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'inline; filename="notes.txt"'
    named = await site.request("GET", f"{V1}/download/{media}/other%20name.txt", bob)
    assert (named.body, named.headers["content-disposition"]) == (b"words", 'inline; filename="other name.txt"')


async def test_an_empty_file_is_a_file(site: Site) -> None:
    alice = await site.server.register()
    answer = await site.get(alice, await site.upload(alice, b""))
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("path", [f"{V1}/config", f"{V3}/config", "/_matrix/media/r0/config"])
async def test_the_largest_size_is_told(site: Site, path: str) -> None:
    alice = await site.server.register()
    assert (await site.request("GET", path, alice)).json == {"m.upload.size": 50 * 1024 * 1024}
    assert refused(await site.request("GET", path)) == (401, "M_MISSING_TOKEN")


async def test_files_are_kept_on_both_engines(database: Database, tmp_path: Path) -> None:
    site = open_site(tmp_path, database)
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    promised = await site.create(alice)
    assert (await site.put(alice, promised, b"later")).status == 200
    assert [(await site.get(alice, each)).status for each in (media, promised)] == [200, 200]
    assert [(await site.thumbnail(alice, media)).status for _ in range(2)] == [200, 200]
    await site.server.homeserver.close()


@pytest.mark.parametrize(
    "path",
    [
        "..%2F..%2Fetc/passwd",
        f"{SERVER_NAME}/..%2F..%2F..%2Fetc%2Fpasswd",
        f"{SERVER_NAME}/%2Fetc%2Fpasswd",
        f"{SERVER_NAME}/..%5C..%5Cx",
        f"{SERVER_NAME}/a.b",
        f"{SERVER_NAME}/%C3%BC",
        "..%2F/x",
        f"{SERVER_NAME}%2F../x",
        f"{SERVER_NAME}/" + "a" * 300,
    ],
)
async def test_E01_addresses_that_are_paths_are_not_found(site: Site, path: str) -> None:
    alice = await site.server.register()
    for kind in ("download", "thumbnail"):
        size = "?width=1&height=1" if kind == "thumbnail" else ""
        assert refused(await site.request("GET", f"{V1}/{kind}/{path}{size}", alice)) == (404, "M_NOT_FOUND")
    assert refused(await site.put(alice, path, b"x")) == (404, "M_NOT_FOUND")
    assert site.files() == []


async def test_E01_random_addresses_and_names_never_leave_the_folder(site: Site) -> None:
    alice, chance = await site.server.register(), random.Random(1)
    pieces = ["..", "%2F", "%5C", "etc", "passwd", "%00", "~", "%2e", ":", "[::1]", "a", ".", "%0A"]
    for _ in range(200):
        made = "/".join("".join(chance.choices(pieces, k=chance.randint(1, 5))) for _ in range(2))
        assert (await site.get(alice, made)).status in (400, 404)
        assert (await site.put(alice, made, b"x")).status in (400, 404)
    await site.upload(alice, b"x", name="../../../escaped")
    (file,) = site.files()
    assert file.is_relative_to(site.folder / "media")
    assert len(file.name) == 64


@pytest.mark.parametrize(
    "content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "application/pdf", "text/xml", "nonsense"]
)
async def test_E02_programs_are_attachments_in_a_sandbox(site: Site, content_type: str) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, b"<script>alert(1)</script>", content_type, "x")
    answer = await site.get(alice, media)
    assert answer.headers["content-disposition"] == 'attachment; filename="x"'
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'; script-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_E03_paths_without_a_token_serve_nothing(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    for prefix in (V3, "/_matrix/media/r0", "/_matrix/media/v1"):
        for path in (f"download/{media}", f"download/{media}/x.png", f"thumbnail/{media}?width=1&height=1"):
            for user in (None, alice):
                assert refused(await site.request("GET", f"{prefix}/{path}", user)) == (404, "M_NOT_FOUND")
    for path in (f"download/{media}", f"download/{media}/x.png", f"thumbnail/{media}?width=1&height=1"):
        assert refused(await site.request("GET", f"{V1}/{path}")) == (401, "M_MISSING_TOKEN")
    assert refused(await site.request("POST", f"{V3}/upload", body=b"x")) == (401, "M_MISSING_TOKEN")
    assert len(site.files()) == 1


async def test_E03_media_of_other_servers_are_not_fetched(site: Site) -> None:
    alice = await site.server.register()
    assert refused(await site.get(alice, "elsewhere.test/abc")) == (404, "M_NOT_FOUND")
    assert site.files() == []


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "EPS", "PCX", "ICO"])
async def test_E04_decoders_that_nobody_needs_are_not_there(site: Site, kind: str) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(kind=kind), "image/png")
    assert refused(await site.thumbnail(alice, media)) == (400, "M_UNKNOWN")


async def test_E04_a_crash_of_the_decoder_does_not_hurt_the_server(site: Site, tmp_path: Path) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    crashing = tmp_path / "crash.py"
    crashing.write_text("import os\nos.abort()\n")
    maker: Any = site.server.homeserver.media.thumbnails._maker
    maker._processes.program, program = crashing, maker._processes.program
    assert refused(await site.thumbnail(alice, media)) == (400, "M_UNKNOWN")
    maker._processes.program = program
    assert (await site.thumbnail(alice, media)).status == 200


async def test_E04_a_decoder_that_hangs_is_killed(tmp_path: Path) -> None:
    site = open_site(tmp_path, thumbnails=ThumbnailLimits(timeout=0.5))
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    hanging, note = tmp_path / "hang.py", tmp_path / "pid"
    hanging.write_text(f"import os, signal\nopen({str(note)!r}, 'w').write(str(os.getpid()))\nsignal.pause()\n")
    maker: Any = site.server.homeserver.media.thumbnails._maker
    maker._processes.program = hanging
    assert refused(await site.thumbnail(alice, media)) == (413, "M_TOO_LARGE")
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    await site.server.close()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel whose pixels are a few hundred bytes when packed."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(min((1 + (width + 7) // 8) * height, 32 * 1024 * 1024)))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2_000_000_000, 2_000_000_000), (6000, 5400), (1, 40_000_000)])
async def test_E05_images_with_too_many_pixels_are_refused_before_they_are_decoded(
    site: Site, size: tuple[int, int]
) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, png_bomb(*size), "image/png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await site.thumbnail(alice, media)
    assert answer.status in (400, 413), answer.body
    assert answer.json["errcode"] in ("M_UNKNOWN", "M_TOO_LARGE")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


async def test_E05_memory_and_frames_are_bounded(tmp_path: Path) -> None:
    site = open_site(tmp_path, thumbnails=ThumbnailLimits(memory_bytes=120 * 1024 * 1024))
    alice = await site.server.register()
    large = await site.upload(alice, picture(5600, 5600), "image/png")
    assert refused(await site.thumbnail(alice, large)) == (413, "M_TOO_LARGE")
    await site.server.close()
    site = open_site(tmp_path)
    alice = await site.server.register()
    long = await site.upload(alice, picture(64, 64, "GIF", frames=400), "image/gif")
    answer = await site.thumbnail(alice, long, animated="true")
    assert answer.status == 200
    assert not getattr(Image.open(io.BytesIO(answer.body)), "is_animated", False)
    await site.server.close()


async def test_E06_quarantined_media_are_served_to_nobody_in_no_way(site: Site) -> None:
    alice, admin = await site.server.register("alice"), await site.server.register("root", admin=True)
    media = await site.upload(alice, picture(), "image/png")
    assert (await site.thumbnail(alice, media)).status == 200  # kept from now on
    homeserver = site.server.homeserver
    store = homeserver.media.store
    media_id = media.partition("/")[2]
    await homeserver.db.write(lambda txn: store.set_quarantined(txn, SERVER_NAME, media_id, True))
    for user in (alice, admin):
        for path in (f"download/{media}", f"download/{media}/x.png", f"thumbnail/{media}?width=32&height=32"):
            assert refused(await site.request("GET", f"{V1}/{path}", user)) == (404, "M_NOT_FOUND")
    assert (await site.get(alice, media, {"if-none-match": "*"})).status == 404
    await homeserver.db.write(lambda txn: store.set_quarantined(txn, SERVER_NAME, media_id, False))
    assert (await site.get(alice, media)).status == 200


async def test_E07_file_names_cannot_inject_headers(site: Site) -> None:
    alice = await site.server.register()
    for name in ('a"\r\nSet-Cookie: x=1\r\n\r\n', "\u202egnp.exe", "ü" * 400, "\u2028", "a/b", '";x="', "\ud7ff"):
        answer = await site.get(alice, await site.upload(alice, b"x", "text/html", name))
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith("attachment")
        assert disposition.isascii()
        assert disposition.isprintable()
        assert "set-cookie" not in answer.headers
    unicode = await site.get(alice, await site.upload(alice, b"x", "text/plain", "Grüße.txt"))
    assert unicode.headers["content-disposition"] == "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"


async def test_E08_a_promised_file_is_written_once_by_its_maker(site: Site) -> None:
    alice, bob = await site.server.register("alice"), await site.server.register("bob")
    media = await site.create(alice)
    assert refused(await site.put(bob, media, b"mine")) == (403, "M_FORBIDDEN")
    assert refused(await site.get(bob, media, timeout_ms=0)) == (504, "M_NOT_YET_UPLOADED")
    assert (await site.put(alice, media, b"first")).json == {}
    assert refused(await site.put(alice, media, b"second")) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert refused(await site.put(alice, f"{SERVER_NAME}/unknown", b"x")) == (404, "M_NOT_FOUND")
    assert (await site.get(bob, media)).body == b"first"
    finished = await site.upload(alice, b"whole")
    assert refused(await site.put(alice, finished, b"x")) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert len(site.files()) == 2


async def test_E08_of_uploads_that_race_one_wins_and_the_others_leave_nothing(
    database: Database, tmp_path: Path
) -> None:
    site = open_site(tmp_path, database)
    alice = await site.server.register()
    for _ in range(5):
        media = await site.create(alice)
        before = len(site.files())
        bodies = [b"%d" % index * 100 for index in range(10)]
        answers = await asyncio.gather(*(site.put(alice, media, body) for body in bodies))
        statuses = [answer.status for answer in answers]
        assert sorted(statuses) == [200, *[409] * 9]
        assert (await site.get(alice, media)).body == bodies[statuses.index(200)]
        assert len(site.files()) == before + 1
    await site.server.homeserver.close()


async def test_E08_promises_are_few_and_expire(tmp_path: Path) -> None:
    site = open_site(tmp_path, uploads=UploadLimits(pending=3, pending_lifetime_ms=60_000))
    alice, bob = await site.server.register("alice"), await site.server.register("bob")
    made = [await site.create(alice) for _ in range(3)]
    answer = await site.request("POST", "/_matrix/media/v1/create", alice)
    assert refused(answer) == (429, "M_LIMIT_EXCEEDED")
    assert int(answer.headers["retry-after"]) > 0
    await site.create(bob)
    assert (await site.put(alice, made[0], b"x")).status == 200
    await site.create(alice)
    await site.server.clock.advance(60)
    assert refused(await site.put(alice, made[1], b"x")) == (404, "M_NOT_FOUND")
    assert refused(await site.get(bob, made[1])) == (404, "M_NOT_FOUND")
    assert (await site.get(bob, made[0])).status == 200
    for _ in range(3):
        await site.create(alice)
    await site.server.close()


async def test_E08_many_who_promise_at_once_stay_below_the_cap(tmp_path: Path) -> None:
    site = open_site(tmp_path, uploads=UploadLimits(pending=3))
    alice = await site.server.register()
    path = "/_matrix/media/v1/create"
    answers = await asyncio.gather(*(site.request("POST", path, alice) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 9
    await site.server.close()


async def test_a_download_waits_for_what_was_promised(site: Site) -> None:
    alice, bob = await site.server.register("alice"), await site.server.register("bob")
    media, other = await site.create(alice), await site.create(alice)
    waiting = asyncio.ensure_future(site.get(bob, media))
    late = asyncio.ensure_future(site.get(bob, other, timeout_ms=5000))
    await settle()
    assert not waiting.done()
    await site.put(alice, media, b"at last")
    assert (await waiting).body == b"at last"
    await site.server.clock.advance(4.9)
    assert not late.done()
    await site.server.clock.advance(0.2)
    assert refused(await late) == (504, "M_NOT_YET_UPLOADED")
    access: Any = site.server.homeserver.media.access
    assert access._waiting == {}


async def test_files_of_one_user_have_a_quota(tmp_path: Path) -> None:
    site = open_site(tmp_path, uploads=UploadLimits(upload_bytes=600, quota_bytes=1000))
    alice, bob = await site.server.register("alice"), await site.server.register("bob")
    assert refused(await site.request("POST", f"{V3}/upload", alice, body=bytes(601))) == (413, "M_TOO_LARGE")
    await site.upload(alice, bytes(600))
    promised = await site.create(alice)
    assert refused(await site.request("POST", f"{V3}/upload", alice, body=bytes(401))) == (403, "M_FORBIDDEN")
    assert refused(await site.put(alice, promised, bytes(401))) == (403, "M_FORBIDDEN")
    assert (await site.put(alice, promised, bytes(400))).status == 200
    answers = await asyncio.gather(*(site.request("POST", f"{V3}/upload", bob, body=bytes(400)) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200, 200, 403, 403, 403, 403]
    assert len(site.files()) == 4
    await site.server.close()


async def test_E10_ranges_are_exact(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, b"0123456789")
    for asked, status, body, told in (
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-5", 206, b"2345", "bytes 2-5/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ):
        answer = await site.get(alice, media, {"range": asked})
        assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, told), asked
    for asked in ("bytes=10-", "bytes=-0", "bytes=99-100"):
        answer = await site.get(alice, media, {"range": asked})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10"), asked


async def test_E10_nothing_shared_may_keep_a_file(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    for answer in (await site.get(alice, media), await site.thumbnail(alice, media)):
        assert answer.headers["cache-control"].split(",")[0] == "private"
    tag = (await site.get(alice, media)).headers["etag"]
    known = await site.get(alice, media, {"if-none-match": tag})
    assert (known.status, known.body) == (304, b"")
    assert (await site.get(alice, media, {"range": "bytes=0-3", "if-range": tag})).status == 206
    assert (await site.get(alice, media, {"range": "bytes=0-3", "if-range": '"other"'})).status == 200
    assert (await site.request("GET", f"{V1}/download/{media}", headers={"if-none-match": tag})).status == 401


@pytest.mark.parametrize(
    ("method", "wanted", "size"),
    [
        ("scale", (100, 100), (100, 50)),
        ("scale", (40, 10), (20, 10)),
        ("crop", (40, 40), (40, 40)),
        ("crop", (50, 150), (50, 100)),
    ],
)
async def test_thumbnails_have_the_size_that_was_asked_for(
    site: Site, method: str, wanted: tuple[int, int], size: tuple[int, int]
) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(200, 100), "image/png")
    answer = await site.thumbnail(alice, media, *wanted, method=method)
    assert Image.open(io.BytesIO(answer.body)).size == size
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_small_pictures_are_not_made_larger(site: Site, kind: str) -> None:
    alice = await site.server.register()
    content = picture(20, 10, kind)
    answer = await site.thumbnail(alice, await site.upload(alice, content, "text/plain"), 800, 600)
    assert (answer.body, answer.headers["content-type"]) == (content, f"image/{kind.lower()}")


@pytest.mark.parametrize("size", [(400, 300), (20, 10)])
async def test_pictures_move_only_when_that_was_asked_for(site: Site, size: tuple[int, int]) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(*size, "GIF", frames=4), "image/gif")
    for asked, moves in (({}, False), ({"animated": "false"}, False), ({"animated": "true"}, True)):
        answer = await site.thumbnail(alice, media, 64, 64, **asked)
        assert getattr(Image.open(io.BytesIO(answer.body)), "is_animated", False) is moves, asked


async def test_a_thumbnail_is_made_once_and_again_when_it_was_lost(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    first = await site.thumbnail(alice, media)
    maker: Any = site.server.homeserver.media.thumbnails._maker
    maker._processes.program, program = Path("/nonexistent"), maker._processes.program
    assert (await site.thumbnail(alice, media)).body == first.body
    maker._processes.program = program
    row = await site.server.homeserver.db.fetch_value("SELECT thumbnail_key FROM media_thumbnails")
    site.server.homeserver.media.files.remove(row)
    assert (await site.thumbnail(alice, media)).body == first.body


@pytest.mark.parametrize(
    "query", [{"width": "x"}, {"width": -1}, {"width": 0}, {"method": "stretch"}, {"animated": "perhaps"}]
)
async def test_thumbnails_of_nonsense_are_refused(site: Site, query: Mapping[str, Any]) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    path = f"{V1}/thumbnail/{media}"
    assert refused(await site.request("GET", path, alice, query={"width": 1, "height": 1, **query}))[0] == 400
    assert refused(await site.request("GET", path, alice)) == (400, "M_MISSING_PARAM")


async def test_large_files_go_over_sockets_whole_and_in_parts(reactor: Any, tmp_path: Path) -> None:
    site = open_site(tmp_path)
    homeserver, alice = site.server.homeserver, await site.server.register()
    settings = HttpSettings(upload_body_limit=40 * 1024 * 1024)
    application = HttpApplication(
        Router(homeserver.client_routes), homeserver.authenticator, clock=site.server.clock, settings=settings
    )
    http = HttpServer(reactor, site.server.clock)
    listening = http.listen_tcp(application, "127.0.0.1", 0)
    content = random.Random(2).randbytes(8 * 1024 * 1024)
    async with SocketClient(listening.port) as client:
        over_sockets = replace(site, client=client)
        media = await over_sockets.upload(alice, content, "application/octet-stream")
        assert (await over_sockets.get(alice, media)).body == content
        part = await over_sockets.get(alice, media, {"range": "bytes=5000000-"})
        assert (part.status, part.body) == (206, content[5000000:])
        head = await over_sockets.request("HEAD", f"{V1}/download/{media}", alice)
        assert (head.status, head.headers["content-length"]) == (200, str(len(content)))
        form = {"content-type": "Multipart/Form-Data; boundary=x"}
        assert (
            await client.request("POST", f"{V3}/upload", body=b"--x", headers=form, token=alice.token)
        ).status == 415
        assert (await over_sockets.get(alice, media, {"range": "bytes=0-9"})).body == content[:10]
    await http.shut_down(1)
    await site.server.close()
