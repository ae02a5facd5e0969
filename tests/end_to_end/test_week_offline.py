"""A device that was off for a week reads what was said meanwhile: matrix-js-sdk (Rust crypto) and matrix-nio.

The week passes on the server's clock alone (libfaketime); the server is started anew in the middle of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nio
import pytest

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.end_to_end.javascript import play_flow
from tests.end_to_end.test_matrix_nio_encryption import checked, turn
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProcess

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY_SECONDS = 24 * 3600
PASSWORD = "a long enough Passw0rd!"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(240),
    pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install faketime)"),
]


@dataclass
class Calendar:
    """The server's date, in days from today."""

    server: ServerProcess
    file: Path
    day: int = 0

    def turn(self) -> None:
        """The next day begins; on the fourth the server is started anew."""
        self.day += 1
        self.file.write_text(f"+{self.day * DAY_SECONDS}")
        if self.day == 4:
            self.server.restart()


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    server = halfdoor(tmp_path)
    server.environment = {
        **server.environment,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with server:
        yield Calendar(server, clock)


async def test_a_phone_of_matrix_js_sdk_reads_a_week_of_secrets(calendar: Calendar, node: str) -> None:
    server = calendar.server
    people = [server.register(name, PASSWORD) for name in ("ann", "ben")]
    tokens = [{"userId": one.user_id, "accessToken": one.access_token, "deviceId": one.device_id} for one in people]
    given = {"baseUrl": server.base_url, "serverName": server.server_name, "people": tokens, "password": PASSWORD}
    async with CuttingProxy(server.port) as proxy:

        def obey(what: str) -> None:
            if what == "day":
                calendar.turn()
            elif what == "cut":
                proxy.cut(hold=True)
            else:
                proxy.resume()

        facts = await play_flow(node, "week_offline", {**given, "proxyUrl": proxy.base_url}, obey)
    assert not facts["before"], "the phone was not off"
    assert facts["read"] == [f"day {day}" for day in range(1, 8)]
    assert facts["days"] == list(range(7)), "the server's clock did not move"


async def test_a_phone_of_matrix_nio_reads_a_week_of_secrets(calendar: Calendar, tmp_path: Path) -> None:
    server = calendar.server
    ann_account, ben_account = (server.register(name, PASSWORD) for name in ("ann", "ben"))
    config = nio.AsyncClientConfig(encryption_enabled=True, max_timeouts=0)
    ann, ben, phone = (
        nio.AsyncClient(server.base_url, account.user_id, store_path=str(tmp_path), config=config)
        for account in (ann_account, ben_account, ben_account)
    )
    try:
        for client, account in ((ann, ann_account), (ben, ben_account)):
            client.restore_login(account.user_id, account.device_id, account.access_token)
        checked(await phone.login(PASSWORD))
        for client in (ann, ben, phone):
            await turn(client)
        encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        created = await ann.room_create(initial_state=[encryption], invite=[ben_account.user_id])
        room_id = str(checked(created).room_id)
        checked(await ben.join(room_id))
        for client in (ann, ben, phone, ann):
            await turn(client)
        for day in range(1, 8):
            calendar.turn()
            ann.invalidate_outbound_session(room_id)
            content = {"msgtype": "m.text", "body": f"day {day}"}
            checked(await ann.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True))
            await turn(ann)
        read: list[str] = []
        for _ in range(3):
            joined = (await turn(phone)).rooms.join
            events = joined[room_id].timeline.events if room_id in joined else []
            read += [event.body for event in events if isinstance(event, nio.RoomMessageText)]
    finally:
        for client in (ann, ben, phone):
            await client.close()
    assert read == [f"day {day}" for day in range(1, 8)]
