"""Node.js and matrix-js-sdk for the tests, installed when they are not there."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).with_name("js")
NODE_MAJOR = 20


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
