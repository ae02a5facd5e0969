"""The operators' commands on a database whose server does not run: everything that they do to a server that does."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homeserver.command_line.parser import main
from tests.command_line.test_command_line import init, unused_port

pytestmark = pytest.mark.end_to_end  # each command builds a server of its own

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the configuration of a server that does not run; status, output, errors."""
    init(tmp_path / "data", "--port", str(unused_port()))

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*arguments, "--config", str(tmp_path / "data" / "halfdoor.yaml")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def add(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, *options: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long pass phrase\n"))
    assert run("user", "add", name, "--password-stdin", *options)[0] == 0


def shown(run: Run, *arguments: str) -> Any:
    status, output, errors = run(*arguments, "--json")
    assert status == 0, errors
    return json.loads(output)


def test_accounts_are_listed_changed_and_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, monkeypatch, "alice", "--admin")
    add(run, monkeypatch, "bob")
    listed = run("user", "list")[1]
    assert "@alice:example.org" in listed
    assert "2 of 2 accounts" in listed
    assert run("user", "modify", "bob", "--display-name", "Bob", "--type", "bot")[:2] == (
        0,
        "Changed @bob:example.org.\n",
    )
    assert run("user", "lock", "bob")[1] == "Set locked: @bob:example.org.\n"
    details = shown(run, "user", "show", "bob")
    assert (details["displayname"], details["user_type"], details["locked"]) == ("Bob", "bot", True)
    status, _, errors = run("user", "deactivate", "bob")
    assert (status, "Say --yes" in errors, "Nothing was changed" in errors) == (1, True, True)
    assert run("user", "deactivate", "bob", "--yes")[0] == 0
    assert "bob" not in run("user", "list")[1]
    assert shown(run, "user", "list", "--deactivated")["total"] == 2


def test_what_does_not_exist_is_said_and_nothing_is_made(run: Run) -> None:
    for arguments, sentence in (
        (("user", "show", "nobody"), "User not found"),
        (("user", "modify", "nobody", "--admin"), "User not found"),
        (("user", "modify", "nobody"), "nothing to change"),
        (("room", "delete", "!none:example.org", "--yes"), "does not know the room"),
        (("media", "show", "nonsense"), "expected an address"),
        (("media", "quarantine"), "say which"),
        (("report", "show", "1"), "there is no report 1"),
        (("notice", "nobody", "hello"), "no such account"),
    ):
        status, output, errors = run(*arguments)
        assert (status, output) == (1, ""), arguments
        assert sentence in errors, (arguments, errors)
    assert shown(run, "user", "list")["total"] == 0


def test_a_notice_makes_a_room_that_is_shown_purged_and_deleted(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(run, monkeypatch, "alice")
    assert run("notice", "alice", "Down on Sunday")[1] == "Told @alice:example.org.\n"
    (room,) = shown(run, "room", "list")["rooms"]
    room_id = room["room_id"]
    assert "Server notices" in run("room", "show", room_id)[1]
    assert run("room", "block", room_id)[1] == "Blocked.\n"
    assert shown(run, "room", "show", room_id)["blocked"] is True
    assert run("room", "purge", room_id, "--older-than-days", "1", "--all", "--yes")[1] == "Deleted.\n"
    status, output, errors = run("room", "delete", room_id, "--yes")
    assert (status, output, errors) == (0, "2 users left; it is deleted.\n", "")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "halfdoor.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM events").fetchone() == (0,)


def test_an_export_is_for_its_owner_alone(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(run, monkeypatch, "alice")
    target = tmp_path / "alice.zip"
    status, output, errors = run("export-user", "alice", "--output", str(target))
    assert (status, output.startswith(f"Wrote {target}"), errors) == (0, True, "")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as archive:
        assert json.loads(archive.read("account.json"))["user_id"] == "@alice:example.org"
    assert run("export-user", "alice", "--output", str(target))[0] == 1
    assert run("export-user", "nobody", "--output", str(tmp_path / "no.zip"))[0] == 1
    assert not (tmp_path / "no.zip").exists()


def test_tokens_are_listed_as_json(run: Run) -> None:
    run("token", "add", "--uses", "3")
    (token,) = shown(run, "token", "list")
    assert (token["uses_allowed"], token["completed"]) == (3, 0)


def test_rate_limits_of_single_users(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, monkeypatch, "bot")
    assert run("user", "rate-limit", "bot")[1] == "The configured limit holds.\n"
    limited = run("user", "rate-limit", "bot", "--per-second", "20", "--burst", "100")[1]
    assert limited == "20 events a second, 100 at once.\n"
    assert run("user", "rate-limit", "bot", "--none")[1] == "No limit holds.\n"
    assert run("user", "rate-limit", "bot", "--default")[1] == "The configured limit holds.\n"


def test_other_servers_are_listed(run: Run, tmp_path: Path) -> None:
    assert run("federation", "list")[1].endswith("0 of 0 servers\n")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "halfdoor.db")) as database, database:
        database.execute(
            "INSERT INTO destinations (server_name, failures, retry_at_ts, sent_position, txn_number, is_behind,"
            " failing_since_ts, tried_at_ts) VALUES ('dead.test', 3, 1800000060000, 0, 0, 1, 1799000000000,"
            " 1800000000000), ('well.test', 0, 0, 7, 0, 0, 0, 0)"
        )
    listed = run("federation", "list")[1]
    assert "well.test" in listed
    failing = run("federation", "list", "--failing")[1].splitlines()
    assert failing[1].split() == ["dead.test", "2027-01-03", "18:13", "2027-01-15", "08:01"]
    assert failing[-1] == "1 of 2 servers"
    status, _, errors = run("federation", "retry", "dead.test")
    assert (status, "does not federate, or does not run" in errors) == (1, True)
    assert "Unknown destination" in run("federation", "retry", "other.test")[2]
