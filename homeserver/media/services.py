"""Everything of media/, built in order from the parts below."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from homeserver.clock import Clock
from homeserver.media.access import MediaAccess
from homeserver.media.file_store import FileStore, LocalFiles
from homeserver.media.thumbnail_maker import ThumbnailLimits, ThumbnailMaker
from homeserver.media.thumbnails import Thumbnails
from homeserver.media.uploads import UploadLimits, Uploads
from homeserver.storage.database import Database
from homeserver.storage.media import MediaStore
from homeserver.users.passwords import RunInThread


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """`folder` is made with the first file."""

    folder: Path = Path("media")
    uploads: UploadLimits = field(default_factory=UploadLimits)
    thumbnails: ThumbnailLimits = field(default_factory=ThumbnailLimits)


@dataclass(frozen=True, slots=True)
class MediaServices:
    """The services of media/, one a noun."""

    access: MediaAccess
    uploads: Uploads
    thumbnails: Thumbnails
    files: FileStore
    store: MediaStore
    run_in_thread: RunInThread


def build_media_services(
    db: Database, clock: Clock, server_name: str, settings: MediaSettings, run_in_thread: RunInThread
) -> MediaServices:
    """Everything that keeps files."""
    store, files = MediaStore(db), LocalFiles(settings.folder)
    access = MediaAccess(store, clock, server_name)
    return MediaServices(
        access=access,
        uploads=Uploads(db, store, files, access, clock, run_in_thread, server_name, settings.uploads),
        thumbnails=Thumbnails(db, store, files, ThumbnailMaker(settings.thumbnails), run_in_thread),
        files=files,
        store=store,
        run_in_thread=run_in_thread,
    )
