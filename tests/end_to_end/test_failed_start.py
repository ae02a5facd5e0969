"""A server that cannot start says why and ends, so that whoever started it notices."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.halfdoor_process import halfdoor

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("reason", ["a port that is taken", "a key that is none"])
def test_server_that_cannot_start_ends(tmp_path: Path, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings: dict[str, Any] = {}
        if reason == "a port that is taken":
            port, said = taken.getsockname()[1], "Address already in use"
        else:
            app = {"app_id": "x", "kind": "webpush", "key": "no key", "contact": "mailto:admin@example.org"}
            settings, port, said = {"push": {"gateway": {"apps": [app]}}}, 0, "push.gateway.apps, x: "
        server = halfdoor(tmp_path, port=port, settings=settings)
        environment = {**os.environ, **server.environment}
        done = subprocess.run(
            server.command, env=environment, capture_output=True, timeout=120, cwd=tmp_path, check=False
        )
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert "never awaited" not in done.stderr.decode()
    assert "was destroyed" not in done.stderr.decode()
