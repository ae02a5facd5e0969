"""docs/admin_api.md says what is there, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "admin_api.md"


async def test_the_page_lists_every_path_and_no_other(server: Server) -> None:
    listed = set(re.findall(r"^\| (\w+) \| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE))
    there = {
        (route.method, path.removeprefix("/_synapse/admin"))
        for route in server.homeserver.admin_routes
        for path in (route.path, *route.aliases)
    }
    assert listed == there
