"""Hostile files over HTTP: none of them is shown as a program, none takes the server with it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.media.file_names import INLINE_TYPES
from tests.client_api.hostile_media import ACTIVE_TYPES, HTML, INLINE_BUT_HARMLESS, bombs, gif_of, polyglots
from tests.client_api.test_media import V1, V3, Site, open_site, picture, refused


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = open_site(tmp_path)
    yield opened
    await opened.server.close()


def check_is_tame(headers: dict[str, str]) -> None:
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'; script-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["cache-control"].startswith("private")
    shown = headers["content-disposition"].partition(";")[0]
    assert shown == "attachment" or headers["content-type"].partition(";")[0].strip().lower() in INLINE_TYPES


async def test_E02_what_a_browser_may_run_is_never_inline(site: Site) -> None:
    alice = await site.server.register()
    assert len(ACTIVE_TYPES) >= 60
    for content_type in ACTIVE_TYPES:
        media = await site.upload(alice, HTML, content_type, "x.html")
        answer = await site.get(alice, media)
        assert answer.headers["content-disposition"] == 'attachment; filename="x.html"', content_type
        check_is_tame(dict(answer.headers))
        part = await site.get(alice, media, {"range": "bytes=0-3"})
        check_is_tame(dict(part.headers))


@pytest.mark.parametrize("kind", sorted(polyglots()))
async def test_E02_polyglots_are_what_their_type_says_and_in_a_sandbox(site: Site, kind: str) -> None:
    alice = await site.server.register()
    content = polyglots()[kind]
    for content_type in (*INLINE_BUT_HARMLESS, "text/html", "image/svg+xml"):
        media = await site.upload(alice, content, content_type)
        answer = await site.get(alice, media)
        assert (answer.body, answer.headers["content-type"]) == (content, content_type)
        check_is_tame(dict(answer.headers))
    small = await site.thumbnail(alice, media)
    if small.status == 200:
        assert small.headers["content-type"] in ("image/png", "image/jpeg", "image/gif", "image/webp")
        check_is_tame(dict(small.headers))


async def test_E05_image_bombs_are_refused_or_tamed(site: Site) -> None:
    alice = await site.server.register()
    images = dict(bombs())
    assert len(images) == 20
    assert max(len(content) for content in images.values()) < 4 * 1024 * 1024
    uploads = {name: await site.upload(alice, content, "image/png") for name, content in images.items()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asked = [(name, animated) for name in images for animated in ("false", "true")[: 1 + ("gif" in name)]]
    answers = await asyncio.gather(
        *(site.thumbnail(alice, uploads[name], animated=animated) for name, animated in asked)
    )
    for (name, animated), answer in zip(asked, answers, strict=True):
        assert answer.status in (200, 400, 413), (name, animated, answer.body)
        assert len(answer.body) < 100_000, name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    assert (await site.thumbnail(alice, await site.upload(alice, picture(), "image/png"))).status == 200


async def test_E05_an_animation_of_many_frames_is_shown_still(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, gif_of(200, 200, 5000), "image/gif")
    answer = await site.thumbnail(alice, media, animated="true")
    assert (answer.status, answer.headers["content-type"]) in ((200, "image/jpeg"), (200, "image/png"))


async def test_E09_addresses_of_files_take_no_token(site: Site) -> None:
    """A client that puts the token into an address gives it away with the address; so it does not work at all."""
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    query = {"access_token": alice.token, "width": 10, "height": 10, "url": "https://example.org/"}
    for path in (f"download/{media}", f"download/{media}/x.png", f"thumbnail/{media}", "preview_url", "config"):
        answer = await site.request("GET", f"{V1}/{path}", query=query)
        assert refused(answer) == (401, "M_MISSING_TOKEN"), path
        assert alice.token not in str(answer.headers)
    assert (await site.request("GET", f"{V1}/download/{media}", alice, query={"access_token": "other"})).status == 200
    assert (await site.request("POST", f"{V3}/upload", body=b"x", query={"access_token": alice.token})).status == 200


async def test_E09_files_are_never_redirected_to_where_a_token_could_follow(site: Site) -> None:
    alice = await site.server.register()
    media = await site.upload(alice, picture(), "image/png")
    for asked in ("", "?allow_redirect=true"):
        answer = await site.request("GET", f"{V1}/download/{media}{asked}", alice)
        assert (answer.status, "location" in answer.headers) == (200, False)
