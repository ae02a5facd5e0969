"""What a link leads to, for the little picture below a message.

The page and its picture are asked through `Outbound`, hop by hop, each hop against the operator's lists of hosts; the
page is read in a process of its own; the picture is made smaller, which also says that it is one, and kept as a file of
this server. Rows C01, C02, C03 and C07 of the known attacks. Whoever asks learns of all that failed the same: nothing.
Spec: Client-Server API, "GET /_matrix/client/v1/media/preview_url".
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import msgspec

from homeserver.clock import Clock
from homeserver.media.page_reader import PageReader
from homeserver.media.thumbnail_maker import Made, ThumbnailMaker, Wanted
from homeserver.media.uploads import Upload, Uploads
from homeserver.outbound.client import Outbound, OutboundAnswer, OutboundFailed
from homeserver.outbound.targets import Target, parse_target
from homeserver.protocol.errors import LimitExceeded, MatrixError, NotFound
from homeserver.storage.database import Database
from homeserver.storage.media import Media
from homeserver.storage.url_previews import StoredPreview, UrlPreviewStore

_log = logging.getLogger("homeserver.media")

FETCH_SECONDS: Final = 15.0
"""For a page with its redirects, and again for its picture."""
PAGE_BYTES: Final = 2 * 1024 * 1024
"""As much of a page is read; what it says of itself stands at its beginning."""
EMBEDDED_BYTES: Final = 64 * 1024
TEXT_MAX: Final = 300
REDIRECTS: Final = 4
FAILED_MS: Final = 5 * 60 * 1000
"""How long a page that told nothing is not asked again."""
PICTURE: Final = Wanted(800, 600, "scale", False)
RUNNING_MAX: Final = 8
WAITING_MAX: Final = 100
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """`allowed_hosts` (empty: all) and `denied_hosts` name hosts with all that is below them; `lifetime_ms` is a
    preview's; `languages` is the Accept-Language header."""

    enabled: bool = False
    allowed_hosts: Sequence[str] = ()
    denied_hosts: Sequence[str] = ()
    lifetime_ms: int = 3600 * 1000
    picture_bytes: int = 10 * 1024 * 1024
    languages: str = "en,zh;q=0.9,*;q=0.5"


class _Embedded(msgspec.Struct, frozen=True):
    type: str = ""
    title: str | None = None
    provider_name: str | None = None
    thumbnail_url: str | None = None
    url: str | None = None


class UrlPreviews:
    """Finds or makes previews."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        outbound: Outbound,
        uploads: Uploads,
        maker: ThumbnailMaker,
        reader: PageReader,
        settings: PreviewSettings,
    ) -> None:
        self._db = db
        self._store = UrlPreviewStore(db)
        self._clock = clock
        self._outbound = outbound
        self._uploads = uploads
        self._maker = maker
        self._reader = reader
        self._settings = settings
        self._running: dict[str, asyncio.Task[Mapping[str, Any]]] = {}
        self._places = asyncio.Semaphore(RUNNING_MAX)

    async def preview(self, url: str) -> Mapping[str, Any]:
        """OpenGraph properties, with the picture's mxc:// address. Raises NotFound: previews are off, the address is
        none that is asked, or nothing came from there; LimitExceeded."""
        if not self._settings.enabled:
            raise NotFound("This server makes no previews.")
        try:
            target = parse_target(url)
            self._check_host(target)
        except OutboundFailed:
            raise NotFound("There is no preview of this address.") from None
        stored = await self._store.find_preview(target.url, self._clock.now_ms())
        if stored is not None:
            return _told(stored.body)
        task = self._running.get(target.url)
        if task is None:
            if len(self._running) >= WAITING_MAX:
                raise LimitExceeded("Too many previews are being made; try again soon.", retry_after_ms=2000)
            task = asyncio.ensure_future(self._make(target))
            self._running[target.url] = task
            task.add_done_callback(lambda done: self._done(target.url, done))
        return await asyncio.shield(task)  # others may wait for the same one

    def _done(self, url: str, task: asyncio.Task[Mapping[str, Any]]) -> None:
        self._running.pop(url, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone, and then nobody looks at it

    async def close(self) -> None:
        """End what is being made."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _make(self, target: Target) -> Mapping[str, Any]:
        now_ms = self._clock.now_ms()
        body, media = None, None
        async with self._places:
            try:
                made, media = await self._ask(target)
                body = msgspec.json.encode(made).decode()
            except OutboundFailed as failure:
                _log.info("No preview of %s: %s", target.host, failure.reason)
        expires_ms = now_ms + (self._settings.lifetime_ms if body is not None else FAILED_MS)
        stored = StoredPreview(target.url, now_ms, expires_ms, body, None if media is None else media.media_id)
        await self._db.write(lambda txn: self._store.set_preview(txn, stored))
        return _told(body)

    async def _ask(self, target: Target) -> tuple[dict[str, Any], Media | None]:
        """Raises OutboundFailed when the page cannot be had."""
        with tempfile.TemporaryFile() as file:
            answer, target = await self._fetch(target, file)
            bare, charset = _content_type(answer)
            if bare in _PICTURES:
                picture = await self._keep_picture(file)
                name = unquote(target.path.partition("?")[0].rpartition("/")[2])
                told: dict[str, Any] = {"og:title": name} if name and picture is not None else {}
                return _with_picture(told, picture)
            if bare not in _HTML:
                return {}, None
            file.seek(0)
            facts = await self._reader.read(file.read(PAGE_BYTES), charset)
        told = dict(facts.properties)
        base = _base(target, facts.base)
        image = facts.image
        if image is None and facts.oembed is not None:
            embedded = await self._embedded(base, facts.oembed)
            image = embedded.thumbnail_url or (embedded.url if embedded.type == "photo" else None)
            for name, value in (("og:title", embedded.title), ("og:site_name", embedded.provider_name)):
                if value:
                    told.setdefault(name, value[:TEXT_MAX])
        return _with_picture(told, None if image is None else await self._picture_at(base, image))

    async def _embedded(self, base: Target, address: str) -> _Embedded:
        """What the page's oEmbed document says, whose HTML is left out (row C02). Spec: oembed.com."""
        try:
            with tempfile.TemporaryFile() as file:
                await self._fetch(base.follow(address), file)
                file.seek(0)
                return msgspec.json.decode(file.read(EMBEDDED_BYTES), type=_Embedded)
        except (OutboundFailed, msgspec.DecodeError):
            return _Embedded()

    async def _picture_at(self, base: Target, address: str) -> tuple[Media, Made] | None:
        """A page's picture; None when it cannot be had."""
        try:
            target = base.follow(address)
            with tempfile.TemporaryFile() as file:
                answer, _ = await self._fetch(target, file)
                return await self._keep_picture(file) if _content_type(answer)[0] in _PICTURES else None
        except OutboundFailed as failure:
            _log.debug("No picture for a preview of %s: %s", base.host, failure.reason)
            return None

    async def _fetch(self, target: Target, file: BinaryIO) -> tuple[OutboundAnswer, Target]:
        """The answer's head and where it came from; its body is in `file`. Raises OutboundFailed."""
        until = asyncio.get_running_loop().time() + FETCH_SECONDS
        for _ in range(REDIRECTS + 1):
            self._check_host(target)
            file.seek(0)
            file.truncate()
            answer = await self._outbound.stream(
                "GET",
                target.url,
                _into(file),
                headers={"Accept-Language": self._settings.languages},
                timeout=max(0.1, until - asyncio.get_running_loop().time()),
                max_bytes=self._settings.picture_bytes,
            )
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTING or location is None:
                if answer.status != 200:
                    raise OutboundFailed("not reached", f"{target.host} answered with status {answer.status}.")
                return answer, target
            target = target.follow(location)
        raise OutboundFailed("redirected too often", f"{target.host} redirects more than {REDIRECTS} times.")

    async def _keep_picture(self, file: BinaryIO) -> tuple[Media, Made] | None:
        """Our own smaller copy; None when it is no picture."""
        file.seek(0)
        with tempfile.TemporaryFile() as output:
            try:
                made = await self._maker.make(file, output, PICTURE)
                size = output.seek(0, 2)
                output.seek(0)
                return await self._uploads.add_own(Upload(output, size, made.content_type, None)), made
            except MatrixError:
                return None

    def _check_host(self, target: Target) -> None:
        """Raises OutboundFailed for a host that the operator does not want asked."""
        settings = self._settings
        is_allowed = not settings.allowed_hosts or _is_below(target.host, settings.allowed_hosts)
        if not is_allowed or _is_below(target.host, settings.denied_hosts):
            raise OutboundFailed("refused", f"{target.host} is not asked (media.previews).")


def _is_below(host: str, names: Sequence[str]) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in names)


def _base(page: Target, said: str | None) -> Target:
    """What addresses in a page are relative to."""
    try:
        return page if said is None else page.follow(said)
    except OutboundFailed:
        return page


def _into(file: BinaryIO) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        file.write(data)

    return write


def _content_type(answer: OutboundAnswer) -> tuple[str, str]:
    """(the bare type, the charset or "")"""
    bare, _, parameters = answer.headers.get("content-type", "").partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return bare.strip().lower(), value.strip().strip("\"'")[:40]
    return bare.strip().lower(), ""


def _with_picture(told: dict[str, Any], picture: tuple[Media, Made] | None) -> tuple[dict[str, Any], Media | None]:
    if picture is None:
        return told, None
    media, made = picture
    told["og:image"] = f"mxc://{media.server_name}/{media.media_id}"
    told["og:image:type"] = made.content_type
    told["og:image:width"] = made.width
    told["og:image:height"] = made.height
    told["matrix:image:size"] = media.size
    return told, media


def _told(body: str | None) -> Mapping[str, Any]:
    if body is None:
        raise NotFound("There is no preview of this address.")
    told: Mapping[str, Any] = msgspec.json.decode(body)
    return told
