"""A server that is stopped under load, whose disk fills up, or whose clock jumps."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.crash.checks import check_log, check_sqlite
from tests.end_to_end.crash.run import Options, run
from tests.end_to_end.crash.webchat import run_webchat
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

CLIENT = "/_matrix/client/v3"
DISK_BYTES = 16 * 1024**2
DAY_SECONDS = 24 * 3600
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


async def test_stopped_server_answers_what_is_under_way_and_loses_nothing(tmp_path: Path) -> None:
    report = await run(Options(cycles=3, seed=int(time.time()), gently=True), tmp_path, print)
    print(report.text())  # noqa: T201 - pytest shows it when something is wrong, and with -s
    assert not report.problems, report.text()
    assert len(report.stops) == 3


async def test_stopped_server_takes_in_what_visitors_wrote(tmp_path: Path) -> None:
    problems, exchanged = await run_webchat(tmp_path, cycles=2, seed=int(time.time()), gently=True)
    assert not problems, "\n".join(problems)
    assert exchanged > 6


class Writer:
    """One account that writes into one room and remembers what was acknowledged."""

    def __init__(self, server: ServerProcess, account: Account, room_id: str) -> None:
        self.server = server
        self.account = account
        self.room_id = room_id
        self.acknowledged: list[str] = []
        self.tried = 0

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.server.call(method, CLIENT + path, body, token=self.account.access_token)

    def say(self, length: int = 10) -> tuple[int, Any]:
        self.tried += 1
        path = f"/rooms/{quote(self.room_id)}/send/m.room.message/t{self.tried}"
        status, answer = self.call("PUT", path, {"msgtype": "m.text", "body": "x" * length})
        if status == 200:
            self.acknowledged.append(answer["event_id"])
        return status, answer

    def messages(self) -> list[str]:
        """All messages in the room, through /messages, the oldest first."""
        found: list[str] = []
        place = ""
        while True:
            path = f"/rooms/{quote(self.room_id)}/messages?dir=f&limit=1000{place}"
            status, page = self.call("GET", path)
            assert status == 200, page
            found += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
            if "end" not in page:
                return found
            place = f"&from={page['end']}"

    def sync(self, since: str = "", timeout_ms: int = 0) -> dict[str, Any]:
        path = f"/sync?timeout={timeout_ms}" + (f"&since={since}" if since else "")
        status, answer = self.call("GET", path)
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found


def writer_on(server: ServerProcess, name: str = "alice") -> Writer:
    account = server.register(name)
    status, answer = server.call("POST", f"{CLIENT}/createRoom", {"preset": "private_chat"}, token=account.access_token)
    assert status == 200, answer
    return Writer(server, account, answer["room_id"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "halfdoor-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_refuses_writes_and_lets_people_read_until_there_is_space_again(small_disk: Path) -> None:
    server = halfdoor(small_disk)
    with server:
        alice = writer_on(server)
        for _ in range(5):
            assert alice.say()[0] == 200
        token = alice.sync()["next_batch"]
        assert alice.say()[0] == 200
        fill = small_disk / "fill"
        fill_up(fill)
        refused = write_until_refused(alice)
        assert refused[0] == 503
        assert refused[1]["errcode"].startswith("M_")
        assert "disk" in refused[1]["error"]
        check_every_other_write_is_refused(alice)
        answer = alice.sync(token)
        news = answer["rooms"]["join"][alice.room_id]["timeline"]["events"]
        assert news[-1]["event_id"] == alice.acknowledged[-1]
        assert alice.messages() == alice.acknowledged
        assert alice.call("GET", "/account/whoami")[0] == 200
        fill.unlink()
        position = len(alice.acknowledged)
        for _ in range(20):
            assert alice.say()[0] == 200
        assert alice.messages() == alice.acknowledged
        later = alice.sync(answer["next_batch"])["rooms"]["join"][alice.room_id]["timeline"]
        seen = [event["event_id"] for event in later["events"] if event["type"] == "m.room.message"]
        assert seen == alice.acknowledged[position:][-len(seen) :]
        server.kill()
        server.start()
        assert alice.messages() == alice.acknowledged
        assert not check_sqlite(small_disk / "halfdoor.db", thorough=True)
        assert server.call("GET", f"{CLIENT}/account/whoami", token=alice.account.access_token)[0] == 200
    assert not check_log(server.log_file.read_text(errors="replace"))


def fill_up(file: Path) -> None:
    """Leave no byte."""
    with closing(file.open("ab", buffering=0)) as stream:
        for size in (65536, 4096, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue


def write_until_refused(writer: Writer) -> tuple[int, Any]:
    """The log of the database has room for some more; then the refusal comes."""
    for _ in range(2000):
        status, answer = writer.say(4000)
        if status != 200:
            return status, answer
    raise AssertionError("2,000 messages of 4 KB found room on a full disk")


def check_every_other_write_is_refused(writer: Writer) -> None:
    """Not only messages: whatever must be stored is refused with the same sentence, and nothing becomes a 500."""
    room, me = quote(writer.room_id), quote(writer.account.user_id)
    big = "y" * 5000
    name = writer.account.user_id.partition(":")[0].removeprefix("@")
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": writer.account.password,
    }
    writes: list[tuple[str, str, Any]] = [
        ("PUT", f"/rooms/{room}/state/m.room.topic", {"topic": big}),
        ("PUT", f"/user/{me}/account_data/test.data", {"big": big}),
        ("POST", f"/rooms/{room}/receipt/m.read/{quote(writer.acknowledged[-1])}", {}),
        ("PUT", "/sendToDevice/test.note/n1", {"messages": {writer.account.user_id: {"*": {"big": big}}}}),
        ("POST", "/createRoom", {"name": big[:200]}),
        ("PUT", f"/profile/{me}/displayname", {"displayname": "Alice"}),
        ("POST", "/login", login),
        ("POST", f"/rooms/{room}/leave", {}),
    ]
    for method, path, body in writes:
        status, answer = writer.call(method, path, body)
        assert status == 503, (path, status, answer)
        assert "disk" in answer["error"], (path, answer)


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install faketime)")
def test_clock_that_jumps_a_day_breaks_no_token_and_no_order(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    server = halfdoor(tmp_path)
    server.environment = {
        **server.environment,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    clock.write_text("+0")
    with server:
        alice = writer_on(server)
        tokens = [alice.sync()["next_batch"]]
        stamps: list[int] = []
        for offset in (0, DAY_SECONDS, -DAY_SECONDS, 0):
            clock.write_text(f"{offset:+d}")
            stamps.append(talk(alice, tokens))
        for offset in (-DAY_SECONDS, DAY_SECONDS):
            clock.write_text(f"{offset:+d}")
            server.kill()
            server.start()
            stamps.append(talk(alice, tokens))
        days = [round((stamp - stamps[0]) / 1000 / DAY_SECONDS) for stamp in stamps]
        assert days == [0, 1, -1, 0, -1, 1], "the clock did not jump"
        assert alice.messages() == alice.acknowledged
        for token in tokens:
            check_old_token(alice, token)
        assert not check_sqlite(tmp_path / "halfdoor.db", thorough=True)
    assert not check_log(server.log_file.read_text(errors="replace"))


def talk(alice: Writer, tokens: list[str]) -> int:
    """Some messages, each of which the next sync brings, and a wait for news that lasts as long as it should.
    The last message's time."""
    for _ in range(5):
        assert alice.say()[0] == 200
        events = alice.sync(tokens[-1])["rooms"]["join"][alice.room_id]["timeline"]["events"]
        assert events[-1]["event_id"] == alice.acknowledged[-1]
    answer = alice.sync(tokens[-1])
    tokens.append(answer["next_batch"])
    while "rooms" in answer or "presence" in answer:
        answer = alice.sync(tokens[-1])
        tokens[-1] = answer["next_batch"]
    began = time.monotonic()
    alice.sync(tokens[-1], timeout_ms=400)
    assert 0.35 < time.monotonic() - began < 10
    stamp: int = events[-1]["origin_server_ts"]
    return stamp


def check_old_token(alice: Writer, token: str) -> None:
    """What came since an old token is the end of the room, in order."""
    joined = alice.sync(token).get("rooms", {}).get("join", {})
    timeline = joined.get(alice.room_id, {}).get("timeline", {"events": []})["events"]
    ids = [event["event_id"] for event in timeline if event["type"] == "m.room.message"]
    assert ids == alice.acknowledged[len(alice.acknowledged) - len(ids) :]
