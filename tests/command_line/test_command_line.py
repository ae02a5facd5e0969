"""The command line as somebody at a terminal meets it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import io
import json
import os
import re
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from signedjson.key import read_signing_keys
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

import config
from homeserver.command_line.parser import build_parser, main

SECRET_FILE = "secrets/registration_shared_secret"


def init(folder: Path, *options: str) -> int:
    return main(["init", "--server-name", "example.org", "--data-dir", str(folder), *options])


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "init",
        "demo",
        "user",
        "user add",
        "mail test",
        "token add",
        "token list",
        "token remove",
        "user list",
        "user show",
        "user modify",
        "user password",
        "user deactivate",
        "user activate",
        "user lock",
        "user unlock",
        "user suspend",
        "user unsuspend",
        "user logout",
        "user redact",
        "user rate-limit",
        "federation check",
        "federation new-key",
        "federation list",
        "federation retry",
        "room list",
        "room show",
        "room delete",
        "room purge",
        "room block",
        "room unblock",
        "room join",
        "room make-admin",
        "media list",
        "media show",
        "media quarantine",
        "media release",
        "media protect",
        "media unprotect",
        "media delete",
        "media delete-old",
        "media purge-remote",
        "report list",
        "report show",
        "report remove",
        "notice",
        "export-user",
        "config check",
        "config sample",
    ],
)
def test_every_command_teaches_its_use(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert command == "user" or f"    halfdoor {command}" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = build_parser().format_help()
    for name in (
        "serve",
        "init",
        "demo",
        "user",
        "room",
        "media",
        "token",
        "report",
        "notice",
        "export-user",
        "config",
        "version",
    ):
        assert re.search(rf"^    {name}\s", text, re.MULTILINE), name


def test_version_names_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert "halfdoor 0." in capsys.readouterr().out


def test_init_makes_a_server_that_loads_and_a_key_that_signedjson_reads(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert init(folder) == 0
    settings = config.load(folder / "halfdoor.yaml", {})
    assert settings.server_name == "example.org"
    assert settings.registration.shared_secret is not None
    assert len(settings.registration.shared_secret.reveal()) == 64
    with settings.signing_key_file.open() as stream:
        (key,) = read_signing_keys(stream)
    assert key.alg == "ed25519"


def test_init_keeps_keys_and_secrets_to_the_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        init(tmp_path / "data")
    finally:
        os.umask(before)
    for name in ("signing.key", SECRET_FILE, "halfdoor.yaml"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_F01_two_servers_share_no_secret(tmp_path: Path) -> None:
    init(tmp_path / "a")
    init(tmp_path / "b")
    for name in ("signing.key", SECRET_FILE):
        assert (tmp_path / "a" / name).read_text() != (tmp_path / "b" / name).read_text()


@pytest.mark.parametrize("name", ["signing.key", "halfdoor.yaml", SECRET_FILE])
def test_init_overwrites_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    assert init(tmp_path) == 1
    assert "exists already. Nothing was changed" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "precious"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]


def test_init_with_a_wrong_name_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    assert main(["init", "--server-name", "https://a.b", "--data-dir", str(folder)]) == 2
    assert "server_name: expected a host name" in capsys.readouterr().err
    assert not folder.exists()


def test_config_check_says_that_a_file_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path / "data")
    assert main(["config", "check", "--config", str(tmp_path / "data" / "halfdoor.yaml")]) == 0
    assert "is good: example.org at https://example.org" in capsys.readouterr().out


def test_config_check_lists_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "halfdoor.yaml"
    file.write_text("{server_nam: a, metrics: {port: 0}}")
    assert main(["config", "check", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert "server_nam: is no setting; did you mean server_name?" in error
    assert "metrics.port: expected an integer from 1 to 65535, got 0" in error


def test_config_check_misses_files_and_sees_an_open_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path / "data")
    file = tmp_path / "data" / "halfdoor.yaml"
    file.write_text(file.read_text() + "appservices: {registration_files: [none.yaml]}\n")
    (tmp_path / "data" / "signing.key").chmod(0o644)
    assert main(["config", "check", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert "appservices.registration_files[0]: " in error
    assert "signing_key_file: everybody can read it: chmod 600" in error


class Operators(http.server.BaseHTTPRequestHandler):
    """Stands for a running server's registration endpoint; checks the MAC by its published form."""

    secret = ""
    made: list[dict[str, Any]] = []  # noqa: RUF012 (one per fixture)

    def do_GET(self) -> None:
        self._answer(200, {"nonce": "n0nce"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        role = "admin" if body["admin"] else "notadmin"
        message = "\0".join(("n0nce", body["username"], body["password"], role)).encode()
        if body["mac"] != hmac.new(self.secret.encode(), message, hashlib.sha1).hexdigest():
            self._answer(403, {"errcode": "M_FORBIDDEN", "error": "HMAC incorrect"})
        elif body["username"] == "taken":
            self._answer(400, {"errcode": "M_USER_IN_USE", "error": "taken"})
        else:
            self.made.append(body)
            self._answer(200, {"user_id": f"@{body['username']}:example.org"})

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is not for this."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a server that answers `user add`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Operators)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    init(tmp_path / "data", "--port", str(server.server_address[1]))
    Operators.secret = (tmp_path / "data" / SECRET_FILE).read_text().strip()
    Operators.made = []
    yield tmp_path / "data" / "halfdoor.yaml"
    server.shutdown()
    server.server_close()


def test_user_add_makes_an_administrator(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "add", "alice", "--admin", "--generate-password", "--config", str(running)]) == 0
    output = capsys.readouterr().out
    assert "Made @alice:example.org (administrator)." in output
    (made,) = Operators.made
    assert made["admin"] is True
    assert f"Password: {made['password']}" in output
    assert len(made["password"]) >= 20


def test_user_add_reads_a_password_from_a_pipe(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long pass phrase\n"))
    assert main(["user", "add", "bob", "--password-stdin", "--config", str(running)]) == 0
    assert Operators.made[0]["password"] == "a long pass phrase"
    assert Operators.made[0]["admin"] is False


def test_user_add_refuses_an_empty_password(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["user", "add", "bob", "--password-stdin", "--config", str(running)]) == 1
    assert "the password is empty" in capsys.readouterr().err
    assert Operators.made == []


def test_user_add_says_what_the_server_said(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "add", "taken", "--generate-password", "--config", str(running)]) == 1
    assert "there is an account taken already" in capsys.readouterr().err
    Operators.secret = "another"
    assert main(["user", "add", "dora", "--generate-password", "--config", str(running)]) == 1
    assert "the server made no account: HMAC incorrect" in capsys.readouterr().err


def test_user_add_writes_into_the_database_when_no_server_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(tmp_path / "data", "--port", str(unused_port()))
    file = tmp_path / "data" / "halfdoor.yaml"
    assert main(["user", "add", "alice", "--admin", "--generate-password", "--config", str(file)]) == 0
    assert "Made @alice:example.org (administrator)." in capsys.readouterr().out
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "halfdoor.db")) as database:
        assert database.execute("SELECT user_id, is_admin FROM accounts").fetchall() == [("@alice:example.org", 1)]
    assert main(["user", "add", "alice", "--generate-password", "--config", str(file)]) == 1
    assert "taken" in capsys.readouterr().err


def test_tokens_are_made_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path / "data")
    option = ["--config", str(tmp_path / "data" / "halfdoor.yaml")]
    capsys.readouterr()
    assert main(["token", "add", "--uses", "2", "--days", "7", *option]) == 0
    limited = capsys.readouterr().out.strip()
    assert main(["token", "add", *option]) == 0
    unlimited = capsys.readouterr().out.strip()
    assert len({limited, unlimited}) == 2
    assert min(len(limited), len(unlimited)) == 16
    main(["token", "list", *option])
    output = capsys.readouterr().out
    assert f"{limited}  used 0 (of 2), until 20" in output
    assert f"{unlimited}  used 0 (no limit), for ever" in output
    assert main(["token", "remove", limited, *option]) == 0
    assert main(["token", "remove", limited, *option]) == 1
    assert "there is no such token" in capsys.readouterr().err
    main(["token", "list", *option])
    assert limited not in capsys.readouterr().out


def test_token_add_takes_no_senseless_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["token", "add", "--uses", "0"])
    assert "expected a number of at least 1, got '0'" in capsys.readouterr().err


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_serve_without_configuration_says_what_makes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "`halfdoor init` makes one" in capsys.readouterr().err


def test_mail_test_says_what_is_missing_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "halfdoor.yaml"
    file.write_text("server_name: example.org")
    assert main(["mail", "test", "you@example.org", "--config", str(file)]) == 1
    assert "mail.smtp_host" in capsys.readouterr().err
    file.write_text("{server_name: example.org, mail: {smtp_host: 127.0.0.1, smtp_port: 1}}")
    assert main(["mail", "test", "you@example.org", "--config", str(file)]) == 1
    assert "127.0.0.1 did not take an e-mail" in capsys.readouterr().err


def _key_in(file: Path) -> SigningKey:
    with file.open() as stream:
        return read_signing_keys(stream)[0]


def test_new_key_signs_and_the_old_one_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path)
    file, configuration = tmp_path / "signing.key", tmp_path / "halfdoor.yaml"
    old = _key_in(file)
    capsys.readouterr()
    assert main(["federation", "new-key", "--config", str(configuration)]) == 0
    new = _key_in(file)
    assert new.version != old.version
    assert new.encode() != old.encode()
    kept = tmp_path / f"signing.key.{old.version}"
    assert _key_in(kept).encode() == old.encode()
    assert [stat.S_IMODE(one.stat().st_mode) for one in (file, kept)] == [0o600, 0o600]
    told = capsys.readouterr().out
    with configuration.open("a") as stream:
        stream.write(told[told.index("federation:") :])
    (listed,) = config.load(str(configuration)).federation.old_signing_keys
    assert listed.key_id == f"ed25519:{old.version}"
    assert listed.public_key == encode_base64(old.verify_key.encode())
    assert listed.expired_ts <= time.time() * 1000
    assert str(old.encode()) not in told


def test_key_is_not_replaced_where_the_old_one_could_not_be_kept(tmp_path: Path) -> None:
    init(tmp_path)
    file = tmp_path / "signing.key"
    before = file.read_text()
    (tmp_path / f"signing.key.{_key_in(file).version}").touch()
    assert main(["federation", "new-key", "--config", str(tmp_path / "halfdoor.yaml")]) != 0
    assert file.read_text() == before
