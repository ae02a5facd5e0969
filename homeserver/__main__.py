"""The command line: `halfdoor` and `python -m homeserver` are the same."""

from __future__ import annotations

import sys

from homeserver.command_line.parser import main

if __name__ == "__main__":
    sys.exit(main())
