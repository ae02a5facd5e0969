"""A profile of a server while a case runs: py-spy samples it from outside, so the server is as it is in production."""

from __future__ import annotations

import collections
import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

SAMPLES_PER_SECOND = 500
SHOWN = 40
# Threads that wait for work look busy to py-spy when they hold a lock; they are none of the cost.
WAITING = ("_connection_worker_thread", "_worker (concurrent")


@contextlib.contextmanager
def profiled(pid: int, folder: Path, name: str) -> Iterator[None]:
    """Write `<name>.stacks` (collapsed stacks, for flame graphs) and `<name>.txt` (the most expensive functions)."""
    if shutil.which("py-spy") is None:
        raise SystemExit("--profile needs py-spy: pip install py-spy")
    folder.mkdir(parents=True, exist_ok=True)
    stacks = folder / f"{name}.stacks"
    command = ["py-spy", "record", "-p", str(pid), "-r", str(SAMPLES_PER_SECOND), "-f", "raw", "-d", "3600"]
    recorder = subprocess.Popen([*command, "-o", str(stacks)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
        if stacks.exists():
            (folder / f"{name}.txt").write_text(summary(stacks.read_text()))


def summary(stacks: str) -> str:
    """The functions with most samples: in themselves, and with what they call."""
    own: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    for line in stacks.splitlines():
        path, _, count = line.rpartition(" ")
        frames = path.split(";")
        if frames[-1].startswith(WAITING):
            continue
        own[frames[-1]] += int(count)
        whole.update(dict.fromkeys(frames, int(count)))
    total = sum(own.values()) or 1
    parts = []
    for title, counter in (("in themselves", own), ("with what they call", whole)):
        parts.append(f"{total} samples, {title}:")
        parts += [f"{count * 100 / total:6.1f}%  {frame}" for frame, count in counter.most_common(SHOWN)]
    return "\n".join(parts) + "\n"
