"""kill -9 at random moments under load: nothing that was acknowledged is lost, doubled or reordered.

The same by hand and for longer: `python -m tests.end_to_end.crash --cycles 200` (docs/durability.md has the numbers).
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.crash.checks import check_log, check_sqlite
from tests.end_to_end.crash.run import Options, Report, run
from tests.end_to_end.crash.webchat import ORIGIN, SITE, run_webchat
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProblem, free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

RESTART_SECONDS = 10.0
"""Of a start among others' work."""
RESTART_CPU_SECONDS = 2.0
"""What a start takes of a processor: the work that it is."""


def check(report: Report) -> None:
    print(report.text())  # noqa: T201 - pytest shows it when something is wrong, and with -s
    assert not report.problems, report.text()
    assert max(report.restarts) < RESTART_SECONDS * max(1.0, report.load)
    assert max(report.start_cpu) < RESTART_CPU_SECONDS


async def test_killed_server_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    report = await run(Options(cycles=25, seed=int(time.time()), longest=1.5), tmp_path, print)
    check(report)
    assert report.kills_of_server == 25


async def test_killed_server_and_killed_postgresql_keep_what_was_acknowledged(tmp_path: Path) -> None:
    options = Options(cycles=6, seed=int(time.time()), database="postgresql", kill_database_every=2, longest=1.0)
    report = await run(options, tmp_path, print)
    check(report)
    assert report.kills_of_database == 3


async def test_killed_server_keeps_what_web_visitors_were_told_is_stored(tmp_path: Path) -> None:
    problems, exchanged = await run_webchat(tmp_path, cycles=5, seed=int(time.time()))
    assert not problems, "\n".join(problems)
    assert exchanged > 20


def remove_databases(directory: Path) -> None:
    for file in directory.glob("*.db*"):
        file.unlink()


async def test_server_killed_again_and_again_during_its_first_start_starts_in_the_end(tmp_path: Path) -> None:
    site = {"key": SITE, "origins": [ORIGIN], "staff": ["@mei:halfdoor.test"], "title": "Shop"}
    webchat = {"enabled": True, "port": free_port(), "sites": [site]}
    server = halfdoor(tmp_path, settings={"webchat": webchat})
    await asyncio.to_thread(server.start)
    usual = server.start_seconds
    server.kill()
    remove_databases(tmp_path)
    killed = 0
    for _ in range(8):
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        await asyncio.sleep(random.uniform(0.3, 1.0) * usual)
        process = server.process
        if isinstance(process, subprocess.Popen):
            process.kill()
        try:
            await starting
        except ServerProblem:
            killed += 1
        server.kill()
        if killed % 2:
            remove_databases(tmp_path)  # the next time from the very beginning
    assert killed, "it was never killed before it answered"
    await asyncio.to_thread(server.start)
    try:
        await asyncio.to_thread(server.register, "mei")
        problems = check_sqlite(tmp_path / "halfdoor.db", thorough=True)
        problems += check_sqlite(tmp_path / "webchat.db", thorough=True, has_stream=False)
    finally:
        await asyncio.to_thread(server.stop)
    assert not problems + check_log(server.log_file.read_text(errors="replace"))
