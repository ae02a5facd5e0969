"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path

import uvloop

from benchmarks import machine
from benchmarks.generator_check import requests_a_second
from benchmarks.play import ALL, Plan, play, say
from benchmarks.results import Results
from benchmarks.servers import LOAD_CORE
from benchmarks.work import CASES
from tests.support.synapse import SYNAPSE_VERSION

DESCRIPTION = """\
Plays the same work against Halfdoor and Synapse, first both on SQLite, then both on PostgreSQL, and prints the ratios.
Each server has one core (with its PostgreSQL), the load generator the other; a server that waits for its turn is
stopped, so it takes nothing from the other one. Synapse is installed from PyPI the first time, beside Halfdoor in an
environment of its own.

    benchmarks/run                                      all work of a server alone, about 15 minutes
    benchmarks/run --only halfdoor --database sqlite --case sends16 --rounds 1
    benchmarks/run --only halfdoor --case waiting --profile /tmp/profiles
    benchmarks/run --between-servers --rounds 2 --database sqlite       the work between servers, 6 minutes
"""
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"
RESULTS, BETWEEN_SERVERS = "results", "results between servers"


def main() -> int:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(
        prog="benchmarks/run", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["halfdoor", "synapse"], help="one server alone")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="one database alone")
    parser.add_argument("--case", action="append", choices=names, help="this case (again for more)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is played (default: 3)")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="where results are written")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="sample the servers with py-spy, results in DIR")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--between-servers", action="store_true", help="the work between servers, and no other")
    chosen = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        parser.error("needs two cores: one for a server, one for the load")

    plan = Plan(
        kinds=[chosen.only] if chosen.only else ["halfdoor", "synapse"],
        databases=[chosen.database] if chosen.database else ["sqlite", "postgresql"],
        cases=chosen.case or [case.name for case in CASES if case.federated == chosen.between_servers],
        rounds=chosen.rounds,
        profile=chosen.profile,
    )
    os.sched_setaffinity(0, {LOAD_CORE})
    speed = uvloop.run(requests_a_second())
    say(f"the load generator makes {speed:.0f} sends a second of a server that does nothing")
    results = Results(
        {
            **machine.describe(),
            "Halfdoor": metadata.version("halfdoor"),
            "Synapse": SYNAPSE_VERSION,
            "load generator's limit": f"{speed:.0f} sends/s",
            "rounds": str(plan.rounds),
        }
    )
    try:
        uvloop.run(play(plan, results))
    finally:
        write(results, chosen.output)
    print(results.as_text(ALL))
    if chosen.write_docs:
        abroad = all(case.federated for case in CASES if case.name in plan.cases)
        write_document(results.as_markdown(ALL), BETWEEN_SERVERS if abroad else RESULTS)
    return 0


def write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(results.as_json())
    (folder / "results.md").write_text(results.as_markdown(ALL))
    say(f"results are in {folder}/results.json and results.md")


def write_document(tables: str, name: str) -> None:
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = DOCUMENT.read_text().partition(begin)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(f"{before}{begin}\n\n{tables}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
