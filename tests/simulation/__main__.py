# ruff: noqa: T201
"""`python -m tests.simulation --seeds A:B` runs seeds by hand; with `--trace` it tells what happens in one."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from tests.simulation.world import Failed, World, run
from tests.support.virtual_loop import current_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:300", help="A:B is A to B-1; several such, or single ones, with commas")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--long", action="store_true", help="runs in which users do more")
    parser.add_argument("--twice", type=int, default=0, help="run so many of them twice, which must go the same way")
    parser.add_argument("--digests", action="store_true", help="print of each seed what its trace comes to")
    parser.add_argument("--log", metavar="LEVEL", help="print what the servers log, from this level on")
    options = parser.parse_args()
    if options.log:
        _print_logs(options.log)
    seeds = list(seeds_of(options.seeds))
    failed: list[int] = []
    totals: Counter[str] = Counter()
    began, began_work = time.perf_counter(), time.process_time()

    def see(world: World) -> None:
        totals.update(world.counts)
        totals["acknowledged"] += len(world.acknowledged)
        if options.digests:
            print("digest", world.seed, world.digest)

    for number, seed in enumerate(seeds):
        try:
            world = run(seed, see, is_loud=options.trace, is_long=options.long)
            if number < options.twice and run(seed, is_long=options.long).digest != world.digest:
                raise Failed(f"seed {seed} goes another way when it is run again")
        except Failed as error:
            failed.append(seed)
            print(error, flush=True)
        except Exception:
            failed.append(seed)
            print(f"seed {seed}:", traceback.format_exc(), flush=True)
        if seed % 100 == 99:
            print(f"... {seed + 1}: {len(failed)} failed, {time.perf_counter() - began:.0f} s", flush=True)
    seconds = time.perf_counter() - began
    work = (time.process_time() - began_work) / len(seeds)
    print(f"{len(seeds)} seeds, {len(failed)} failed, {seconds:.1f} s, of work {work:.3f} s each")
    print(", ".join(f"{what} {count}" for what, count in sorted(totals.items())))
    if failed:
        print("failed:", *failed)
    return 1 if failed else 0


def seeds_of(text: str) -> Iterator[int]:
    """The seeds that are named."""
    for part in text.split(","):
        first, colon, last = part.partition(":")
        yield from range(int(first), int(last) if colon else int(first) + 1)


def _print_logs(level: str) -> None:
    """With the name of the server, in the simulation's own time."""

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            process = current_process()
            if process is not None:
                now = asyncio.get_running_loop().time()
                print(f"{now:10.3f} {process.name}: {self.format(record)}")

    logging.getLogger().addHandler(Printer())
    for name in ("federation", "homeserver"):
        logging.getLogger(name).setLevel(level.upper())


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets must be the same in every run
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    os.nice(10)
    sys.exit(main())
