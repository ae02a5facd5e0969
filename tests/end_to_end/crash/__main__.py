"""`python -m tests.end_to_end.crash`: the crash test by hand, as long as one likes.

nice python -m tests.end_to_end.crash --cycles 200
python -m tests.end_to_end.crash --cycles 30 --database postgresql
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.end_to_end.crash.run import Options, run


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command


def main() -> int:
    """The exit status: 0 when every promise was kept."""
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.crash", description=__doc__.split("\n")[0])
    parser.add_argument("--cycles", type=int, default=defaults.cycles, help="how many kills (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the moments and of the load (%(default)s)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default=defaults.database)
    parser.add_argument(
        "--kill-database-every",
        type=int,
        default=defaults.kill_database_every,
        metavar="N",
        help="every Nth cycle also kills PostgreSQL; 0 for never (%(default)s)",
    )
    parser.add_argument(
        "--longest",
        type=float,
        default=defaults.longest,
        metavar="SECONDS",
        help="of load before a kill (%(default)s)",
    )
    parser.add_argument("--directory", type=Path, help="where the server lives and stays; else a temporary one")
    arguments = parser.parse_args()
    options = Options(
        cycles=arguments.cycles,
        seed=arguments.seed,
        database=arguments.database,
        kill_database_every=arguments.kill_database_every,
        longest=arguments.longest,
    )
    with tempfile.TemporaryDirectory(prefix="halfdoor-crash-") as temporary:
        directory = arguments.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        report = uvloop.run(run(options, directory, say))
    say(report.text())
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
