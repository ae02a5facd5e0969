"""`halfdoor demo`, up to the point where the server starts (tests/end_to_end starts it)."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from homeserver.command_line.demo import check_free, overview, prepare
from homeserver.command_line.failure import CommandFailed


def test_a_demo_is_made_once_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "halfdoor-data"
    first = prepare(folder, None)
    again = prepare(folder, None)
    assert first == again
    assert first.settings.server_name == "localhost"
    assert first.settings.webchat.sites[0].staff == ["@staff:localhost"]
    assert stat.S_IMODE((folder / "demo.json").stat().st_mode) == 0o600
    assert json.loads((folder / "demo.json").read_text())["password"] == first.password


def test_F01_each_demo_has_a_password_of_its_own(tmp_path: Path) -> None:
    assert prepare(tmp_path / "a", None).password != prepare(tmp_path / "b", None).password


def test_a_demo_keeps_the_port_it_was_made_with(tmp_path: Path) -> None:
    demo = prepare(tmp_path, 9000)
    assert demo.settings.listeners[0].port == 9000
    assert demo.settings.webchat.sites[0].origins == ["http://localhost:9001", "http://127.0.0.1:9001"]
    assert prepare(tmp_path, 9000) == demo
    with pytest.raises(CommandFailed, match="says port 9000: leave out --port"):
        prepare(tmp_path, 9001)


def test_a_demo_listens_to_this_machine_only(tmp_path: Path) -> None:
    assert [listener.host for listener in prepare(tmp_path, None).settings.listeners] == ["127.0.0.1"]


def test_a_taken_port_is_said_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"port {port} of 127.0.0.1 cannot be used .* halfdoor demo --data-dir"):
            check_free("127.0.0.1", port)


def test_the_overview_says_where_everything_is(tmp_path: Path) -> None:
    demo = prepare(tmp_path, 9000)
    text = overview(demo)
    for part in ("http://localhost:9000 ", "@staff:localhost", demo.password, "http://localhost:9001/webchat/demo"):
        assert part in text
