"""Play conversations on two servers and print where they differ:

    python -m tests.end_to_end.comparison [--second synapse|halfdoor] [--all] [--violations] [CONVERSATION …]

Without names every conversation is played. `--all` prints the known differences as well; `--violations` prints the
answers of both servers that break the specification's schemas.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.end_to_end.comparison.comparing import differences, read_known
from tests.end_to_end.comparison.conversations import CONVERSATIONS
from tests.end_to_end.comparison.player import Player
from tests.end_to_end.comparison.servers import SECOND_KINDS, comparison_server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--second", choices=SECOND_KINDS, default="halfdoor")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--violations", action="store_true")
    parser.add_argument("conversation", nargs="*", choices=[*CONVERSATIONS, []])
    arguments = parser.parse_args()
    known = [] if arguments.all or arguments.second == "synapse" else read_known()
    total = 0
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        first = stack.enter_context(comparison_server("synapse", folders[0]))
        second = stack.enter_context(comparison_server(arguments.second, folders[1]))
        for name in arguments.conversation or CONVERSATIONS:
            one = Player(first, name).play(CONVERSATIONS[name])
            other = Player(second, name).play(CONVERSATIONS[name])
            found = [one for one in differences(name, one, other) if not any(each.covers(one) for each in known)]
            total += len(found)
            for line in found:
                sys.stdout.write(f"{line}\n")
            for transcript in (one, other) if arguments.violations else ():
                if transcript.aborted:
                    sys.stdout.write(f"{name} ABORTED on {transcript.kind}: {transcript.aborted}\n")
                for step in transcript.steps:
                    if step.violation:
                        sys.stdout.write(f"{name} / {step.name} [{transcript.kind}]: {step.violation}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total} differences\n")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
