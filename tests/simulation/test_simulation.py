"""Rooms of several servers are the same on all of them once quiet has come, whatever went wrong before.

The seeds run in a process of their own, where they run the same way every time (`__main__.py`).
`python -m tests.simulation --seeds 17 --trace --log info` shows what happens in one that fails here.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.found import FOUND, FOUND_LONG


def simulate(seeds: str, *options: str) -> str:
    """What a run of seeds prints; it fails with that when one of them does."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", seeds, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(600)
def test_rooms_are_the_same_everywhere_after_any_weather() -> None:
    simulate("0:30", "--twice", "2")


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
def test_rooms_are_the_same_everywhere_after_much_weather() -> None:
    simulate("30:300")


@pytest.mark.end_to_end
def test_what_failed_once_does_not_fail_again() -> None:
    simulate(",".join(str(seed) for seed in FOUND))
    simulate(",".join(str(seed) for seed in FOUND_LONG), "--long")


@pytest.mark.end_to_end
def test_a_seed_runs_the_same_way_in_another_process() -> None:
    told = [[line for line in simulate("3:6", "--digests").splitlines() if line.startswith("digest")] for _ in range(2)]
    assert told[0] == told[1]
    assert len(told[0]) == 3
