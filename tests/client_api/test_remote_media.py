"""Files of other servers over HTTP, as far as the Client-Server API goes: who fetches them is made up here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.protocol.errors import LimitExceeded, MatrixError, NotFound, NotYetUploaded, RemoteTooLarge
from tests.client_api.test_media import V1, V3, Site, open_site, picture, refused
from tests.media.test_upkeep import Elsewhere


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def site(tmp_path: Path, elsewhere: Elsewhere) -> AsyncIterator[Site]:
    opened = open_site(tmp_path)
    opened.server.homeserver.media.remote.remote = elsewhere
    yield opened
    await opened.server.close()


async def test_a_file_of_another_server_is_shown_like_our_own(site: Site, elsewhere: Elsewhere) -> None:
    alice = await site.server.register()
    elsewhere.files["abc"] = picture(200, 100)
    answer = await site.get(alice, "far.example/abc")
    assert (answer.body, answer.headers["content-type"]) == (picture(200, 100), "application/octet-stream")
    assert answer.headers["content-disposition"] == 'attachment; filename=".._ab.svg"'
    assert answer.headers["content-security-policy"].startswith("sandbox")
    small = await site.thumbnail(alice, "far.example/abc", 40, 40)
    assert small.headers["content-type"] == "image/jpeg"
    part = await site.get(alice, "far.example/abc", {"range": "bytes=1-3"})
    assert (part.status, part.body) == (206, b"PNG")
    assert elsewhere.asked == [("far.example", "abc")], "it was fetched once"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (NotFound("The server far.example cannot be reached."), 404, "M_NOT_FOUND"),
        (NotYetUploaded("It has not been uploaded yet."), 504, "M_NOT_YET_UPLOADED"),
        (RemoteTooLarge("It is too large."), 502, "M_TOO_LARGE"),
        (LimitExceeded("Too many.", retry_after_ms=1000), 429, "M_LIMIT_EXCEEDED"),
    ],
)
async def test_what_cannot_be_had_is_said_in_the_specifications_terms(
    site: Site, elsewhere: Elsewhere, failure: MatrixError, status: int, code: str
) -> None:
    alice = await site.server.register()
    elsewhere.files["abc"] = failure
    for path in (
        "download/far.example/abc",
        "download/far.example/abc/x.png",
        "thumbnail/far.example/abc?width=9&height=9",
    ):
        assert refused(await site.request("GET", f"{V1}/{path}", alice)) == (status, code)
    assert site.files() == []


async def test_E03_nobody_without_a_token_makes_the_server_fetch(site: Site, elsewhere: Elsewhere) -> None:
    alice = await site.server.register()
    elsewhere.files["abc"] = b"x"
    for path in (
        "download/far.example/abc",
        "download/far.example/abc/x.png",
        "thumbnail/far.example/abc?width=9&height=9",
    ):
        assert (await site.request("GET", f"{V1}/{path}")).status == 401
        for user in (None, alice):
            for allowed in ("true", "false"):
                sign = "&" if "?" in path else "?"
                old = await site.request("GET", f"{V3}/{path}{sign}allow_remote={allowed}", user)
                assert old.status == 404
    assert (elsewhere.asked, site.files()) == ([], [])


async def test_E01_names_of_other_servers_are_no_paths(site: Site, elsewhere: Elsewhere) -> None:
    alice = await site.server.register()
    for media in ("..%2F..%2Fetc/passwd", "far.example/..%2Fabc", "far.example:99999999/abc", "%00/abc", "a_b/abc"):
        assert (await site.get(alice, media)).status in (400, 404)
    assert elsewhere.asked == []
