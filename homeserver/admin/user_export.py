"""Everything that the server holds of a user, for the user: what a person may ask for by law (GDPR, articles 15, 20).

A ZIP archive of JSON: the account, profile, devices, settings, files, and the events of every room as far as the user
may see them. No secrets are in it: neither password hashes nor tokens, and nothing that only others may know.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import tempfile
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, Final

from homeserver.clock import Clock
from homeserver.http.parsing import query_bool
from homeserver.http.request import FileBody, Request, Response
from homeserver.media.services import MediaServices
from homeserver.protocol.errors import NotFound
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.rooms.client_events import Reader
from homeserver.rooms.inspection import BEFORE_EVERYTHING
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.account_data import GLOBAL, AccountDataStore
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database
from homeserver.storage.media_statistics import MediaStatisticsStore
from homeserver.storage.pushers import PusherStore
from homeserver.storage.threepids import ThreepidStore
from homeserver.users.services import UserServices

if TYPE_CHECKING:
    import zipfile

PAGE: Final = 500

_log = logging.getLogger("homeserver.admin")

README: Final = """\
This archive holds what the homeserver keeps of one account.

account.json       the account itself, and its e-mail addresses and phone numbers
profile.json       what others see of it
devices.json       where it was logged in
account_data.json  settings that clients keep, everywhere and per room, and the push rules
pushers.json       where notifications are sent, without the keys that allow sending them
media.json         files that were uploaded; their contents are in the folder media, if they were asked for
rooms.json         rooms that the user is or was in
rooms/             the events of each room that the user may see, one JSON object a line, oldest first

Encrypted messages are encrypted here too: only the user's own devices have their keys.
"""


class UserExport:
    """Writes archives."""

    def __init__(
        self,
        db: Database,
        users: UserServices,
        rooms: RoomServices,
        media: MediaServices,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._db = db
        self._users = users
        self._rooms = rooms
        self._media = media
        self._clock = clock
        self._server_name = server_name
        self._account_data = AccountDataStore(db)
        self._pushers = PusherStore(db)
        self._threepids = ThreepidStore(db)
        self._files = MediaStatisticsStore(db)

    async def write(self, user_id: str, target: IO[bytes], *, with_files: bool = False) -> None:
        """The archive of a user of this server. Raises InvalidParam, NotFound."""
        parse_user_id(user_id)
        account = await self._users.accounts.find_account(user_id)
        if account is None or domain_of(user_id) != self._server_name:
            raise NotFound("User not found")
        import zipfile  # costs memory that servers where nobody asks for this keep

        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            await self._add(archive, "README.txt", README.encode())
            for name, content in (
                ("account.json", await self._account(account)),
                ("profile.json", await self._users.profiles.find_profile(user_id)),
                ("devices.json", [asdict(device) for device in await self._users.devices.list_devices(user_id)]),
                ("account_data.json", await self._settings(user_id)),
                ("pushers.json", await self._notifications(user_id)),
                ("media.json", [each.members() for each in await self._files.list_of_user(user_id)]),
            ):
                await self._add(archive, name, _pretty(content))
            if with_files:
                await self._add_files(archive, user_id)
            await self._add_rooms(archive, user_id)

    async def _add(self, archive: zipfile.ZipFile, name: str, content: bytes) -> None:
        await self._media.run_in_thread(lambda: archive.writestr(name, content))

    async def _account(self, account: Account) -> dict[str, Any]:
        known = {name: value for name, value in asdict(account).items() if name != "password_hash"}
        threepids = await self._threepids.list_threepids(account.user_id)
        return {
            **known,
            "exported_ts": self._clock.now_ms(),
            "threepids": [
                {"medium": each.medium, "address": each.address, "added_ts": each.added_ts} for each in threepids
            ],
        }

    async def _settings(self, user_id: str) -> dict[str, Any]:
        everywhere: dict[str, Any] = {}
        rooms: dict[str, dict[str, Any]] = {}
        for entry in await self._account_data.list_changes(user_id, -1, self._db.position):
            scope = everywhere if entry.room_id == GLOBAL else rooms.setdefault(entry.room_id, {})
            scope[entry.type] = json.loads(entry.content)
        everywhere["m.push_rules"] = {"global": await self._users.push_rules.ruleset(user_id)}
        return {"global": everywhere, "rooms": rooms}

    async def _notifications(self, user_id: str) -> list[dict[str, Any]]:
        return [
            {
                "app_id": pusher.app_id,
                "kind": pusher.kind,
                "app_display_name": pusher.app_display_name,
                "device_display_name": pusher.device_display_name,
                "lang": pusher.lang,
            }
            for pusher in await self._pushers.list_pushers(user_id)
        ]

    async def _add_files(self, archive: zipfile.ZipFile, user_id: str) -> None:
        for media in await self._files.list_of_user(user_id):
            key = media.file_key

            def copy(key: str = key, name: str = f"media/{media.media_id}") -> None:
                with self._media.files.open(key) as source, archive.open(name, "w") as target:
                    shutil.copyfileobj(source, target, 256 * 1024)

            try:
                await self._media.run_in_thread(copy)
            except OSError:
                _log.warning("the file of %s is missing in the export", media.media_id)

    async def _add_rooms(self, archive: zipfile.ZipFile, user_id: str) -> None:
        listed: list[dict[str, Any]] = []
        for number, row in enumerate(await self._rooms.memberships.memberships(user_id)):
            room = await self._rooms.live.find(row.room_id)
            file_name = f"rooms/{number:05}.jsonl"
            listed.append({"room_id": row.room_id, "membership": row.membership, "file": file_name})
            if room is not None:
                await self._add_room(archive, file_name, room, user_id)
        await self._add(archive, "rooms.json", _pretty(listed))

    async def _add_room(self, archive: zipfile.ZipFile, file_name: str, room: LiveRoom, user_id: str) -> None:
        place, reader, lines = BEFORE_EVERYTHING, Reader(user_id), io.BytesIO()
        while part := await self._rooms.events.list_timeline(
            room.room_id, room.version, after=place, limit=PAGE, newest_first=False
        ):
            place = part[-1].position
            shown = await self._rooms.visibility.filter(room, user_id, part)
            for event in await self._rooms.timeline.serialize(room, shown, reader):
                lines.write(bytes(event) + b"\n")
        await self._add(archive, file_name, lines.getvalue())


class UserExportApi:
    """/_halfdoor/admin/v1/users/{userId}/export."""

    def __init__(self, export: UserExport) -> None:
        self._export = export

    async def get_export(self, request: Request) -> Response:
        """The archive as a download; `media=true` puts the files in, too."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it was sent)
        try:
            with_files = query_bool(request, "media", False)
            await self._export.write(request.path_params["user_id"], file, with_files=with_files)
        except BaseException:
            file.close()
            raise
        length = file.tell()
        file.seek(0)
        headers = {"Content-Disposition": 'attachment; filename="export.zip"', "Cache-Control": "no-store"}
        return Response(FileBody(file, length), headers=headers, content_type="application/zip")


def _pretty(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass")
