"""State resolution by itself: the two branches of a forked room, resolved; how the time grows with the conflict.

python -m benchmarks.resolution 250 500 1000 2000
"""

from __future__ import annotations

import statistics
import sys
import time

from signedjson.key import generate_signing_key

from benchmarks.abroad import make_branch
from benchmarks.far_rooms import FarRoom
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION
from homeserver.protocol.state_resolution import resolve

TURNS = 7


def milliseconds(conflicted: int, version: str = DEFAULT_ROOM_VERSION) -> float:
    """The median of the CPU time of several resolutions of a room with so many events in conflict."""
    room = FarRoom("far.test", {"far.test": generate_signing_key("far")}, version)
    for number in range(conflicted // 4):
        room.join(f"@member{number}:far.test")
    start = room.fork()
    make_branch(room, conflicted // 2, "ours")
    left = room.fork()
    room.go_to(start)
    make_branch(room, conflicted // 2, "theirs")
    right = room.fork()
    states = [{key: event.event_id for key, event in side.state.items()} for side in (left, right)]
    times = []
    for _ in range(TURNS):
        begun = time.process_time()
        resolve(room.version, states, room.events)  # type: ignore[arg-type]
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


def main(sizes: list[int]) -> None:
    before: tuple[int, float] | None = None
    for size in sizes or [250, 500, 1000, 2000, 4000]:
        taken = milliseconds(size)
        growth = "" if before is None else f", {taken / before[1]:.1f} times what {before[0]} took"
        print(f"{size} events in conflict: {taken:.1f} ms{growth}")
        before = (size, taken)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
