"""Node.js and matrix-js-sdk for the tests, installed when they are not there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("js")
NODE_MAJOR = 20
FLOW_SECONDS = 200


def checked_node() -> str:
    """The path of Node.js, which is new enough and has npm beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node is not None, f"Node.js {NODE_MAJOR} or newer is needed: install nodejs and npm"
    assert npm is not None, f"Node.js {NODE_MAJOR} or newer is needed: install nodejs and npm"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert int(version[1:].partition(".")[0]) >= NODE_MAJOR, f"Node.js {NODE_MAJOR} or newer is needed, not {version}"
    return node


def node_with_library(folder: Path = FOLDER) -> str:
    """The path of Node.js, once the libraries of a folder are installed beside its scripts."""
    node, npm = checked_node(), shutil.which("npm")
    assert npm is not None
    done = folder / "node_modules" / ".installed"
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        if not done.exists() or done.read_text() != wanted:
            command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
            assert result.returncode == 0, f"npm could not install what {folder.name} needs:\n{result.stderr[-2000:]}"
            done.write_text(wanted)
    return node


async def play_flow(
    node: str, name: str, given: Mapping[str, Any], obey: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Play one flow of `js/flows.mjs`; its facts. `obey` does what the flow asks for. Raises AssertionError."""
    process = await asyncio.create_subprocess_exec(
        node,
        "flows.mjs",
        name,
        json.dumps(given),
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(FLOW_SECONDS):
            return await _facts(process, obey)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def _facts(process: asyncio.subprocess.Process, obey: Callable[[str], None] | None) -> dict[str, Any]:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    async for line in process.stdout:
        if not line.startswith(b"{"):
            continue  # the library prints now and then
        said = json.loads(line)
        assert "failure" not in said, said["failure"]
        if "facts" in said:
            facts: dict[str, Any] = said["facts"]
            return facts
        assert obey is not None
        obey(said["ask"])
        process.stdin.write(b"done\n")
        await process.stdin.drain()
    raise AssertionError(f"the flow ended without a word: {(await process.stderr.read()).decode()[-2000:]}")
