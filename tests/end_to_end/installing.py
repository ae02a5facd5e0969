"""Everything that the end-to-end tests install for themselves, at once: `python -m tests.end_to_end.installing`.

The tests would do the same one after the other, each when it first needs something.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.end_to_end.element import build_element
from tests.end_to_end.javascript import node_with_library
from tests.support.synapse import install_synapse

HERE = Path(__file__).parent
WANTED: dict[str, Callable[[], object]] = {
    "matrix-js-sdk": node_with_library,
    "oidc-provider": lambda: node_with_library(HERE / "js" / "oidc"),
    "matrix-bot-sdk": lambda: node_with_library(HERE / "js_operating"),
    "Element": build_element,
    "Synapse": install_synapse,
}


def main() -> int:
    """The exit status: 0 when all is there."""
    began = time.monotonic()
    status = 0
    with ThreadPoolExecutor(len(WANTED)) as pool:
        jobs = {pool.submit(install): name for name, install in WANTED.items()}
        for job in as_completed(jobs):
            problem = job.exception()
            said = f"{jobs[job]} is there" if problem is None else f"{jobs[job]} is not there: {problem}"
            print(f"{time.monotonic() - began:6.1f} s: {said}", flush=True)  # noqa: T201 - this is a command
            status |= problem is not None
    return status


if __name__ == "__main__":
    sys.exit(main())
