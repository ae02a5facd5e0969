"""Everything of media/, built in order from the parts below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from homeserver.clock import Clock
from homeserver.media.access import MediaAccess
from homeserver.media.file_store import FileStore, LocalFiles
from homeserver.media.page_reader import PageReader
from homeserver.media.remote import NoRemoteMedia, RemoteMedia
from homeserver.media.remote_files import RemoteFiles, RemoteLimits
from homeserver.media.thumbnail_maker import ThumbnailLimits, ThumbnailMaker
from homeserver.media.thumbnails import Thumbnails
from homeserver.media.upkeep import MediaUpkeep, Retention
from homeserver.media.uploads import UploadLimits, Uploads
from homeserver.media.url_previews import PreviewSettings, UrlPreviews
from homeserver.outbound.client import Outbound
from homeserver.storage.database import Database
from homeserver.storage.media import MediaStore
from homeserver.users.passwords import RunInThread


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """`folder` is made with the first file. `open_store` makes another store than this folder."""

    folder: Path = Path("media")
    uploads: UploadLimits = field(default_factory=UploadLimits)
    thumbnails: ThumbnailLimits = field(default_factory=ThumbnailLimits)
    previews: PreviewSettings = field(default_factory=PreviewSettings)
    retention: Retention = field(default_factory=Retention)
    remote: RemoteLimits = field(default_factory=RemoteLimits)
    open_store: Callable[[], FileStore] | None = None


@dataclass(frozen=True, slots=True)
class MediaServices:
    """The services of media/, one a noun."""

    access: MediaAccess
    uploads: Uploads
    thumbnails: Thumbnails
    previews: UrlPreviews
    upkeep: MediaUpkeep
    remote: RemoteFiles
    files: FileStore
    store: MediaStore
    run_in_thread: RunInThread

    def start(self) -> None:
        """Begin what runs beside the requests."""
        self.upkeep.start()

    async def close(self) -> None:
        """End what runs, and write what is only in memory."""
        await self.previews.close()
        await self.remote.close()
        await self.upkeep.stop()


def build_media_services(
    db: Database,
    clock: Clock,
    server_name: str,
    settings: MediaSettings,
    run_in_thread: RunInThread,
    outbound: Outbound,
    remote: RemoteMedia | None = None,
) -> MediaServices:
    """Everything that keeps files."""
    store = MediaStore(db)
    files = LocalFiles(settings.folder) if settings.open_store is None else settings.open_store()
    access = MediaAccess(store, clock, server_name)
    uploads = Uploads(db, store, files, access, clock, run_in_thread, server_name, settings.uploads)
    maker = ThumbnailMaker(settings.thumbnails)
    upkeep = MediaUpkeep(db, store, files, clock, run_in_thread, server_name, settings.retention)
    access.on_read = upkeep.touched
    access.remote = RemoteFiles(store, uploads, remote or NoRemoteMedia(), clock, settings.remote)
    return MediaServices(
        access=access,
        uploads=uploads,
        thumbnails=Thumbnails(db, store, files, maker, run_in_thread),
        previews=UrlPreviews(db, clock, outbound, uploads, maker, PageReader(), settings.previews),
        upkeep=upkeep,
        remote=access.remote,
        files=files,
        store=store,
        run_in_thread=run_in_thread,
    )
