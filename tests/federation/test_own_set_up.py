"""`halfdoor federation check` without a network: what is wrong is said, and what to do."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from signedjson.key import generate_signing_key, get_verify_key
from unpaddedbase64 import encode_base64

from federation import own_set_up
from federation.own_set_up import Finding, Got, SetUpCheck
from federation.server_discovery import ServiceRecord
from homeserver.command_line.parser import main
from homeserver.protocol.signatures import key_id_of, sign

KEY = generate_signing_key("a")
NOW = 1_800_000_000.0
DAY = 86_400


def keys(name: str = "example.org", key: Any = KEY) -> bytes:
    said = {"server_name": name, "verify_keys": {key_id_of(key): {"key": encode_base64(key.verify_key.encode())}}}
    return json.dumps(sign(said, name, key)).encode()


@dataclass
class FakeWire:
    """A set-up in which all is well, unless a test changes it."""

    addresses: list[str] = field(default_factory=lambda: ["8.8.8.8"])
    records: dict[str, list[ServiceRecord]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    days: float = 60
    asked: list[tuple[str, int, str, str]] = field(default_factory=list)

    async def resolve(self, host: str) -> list[str]:
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses

    async def services(self, name: str) -> list[ServiceRecord]:
        return self.records.get(name, [])

    async def get(self, address: str, port: int, authority: str, path: str) -> Got:
        self.asked.append((address, port, authority, path))
        usual = {
            "/.well-known/matrix/server": (404, b""),
            "/_matrix/key/v2/server": (200, keys()),
            "/_matrix/federation/v1/version": (200, b'{"server": {"name": "Halfdoor"}}'),
        }
        answer = self.answers.get(path, usual[path])
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return Got(status, body, NOW + self.days * DAY)


async def findings(wire: FakeWire, name: str = "example.org", advertised: str | None = None) -> list[Finding]:
    return [one async for one in SetUpCheck(wire, name, get_verify_key(KEY), advertised, NOW).run()]


async def test_good_set_up_has_nothing_wrong() -> None:
    wire = FakeWire()
    assert [one.text for one in await findings(wire) if not one.is_good] == []
    assert ("8.8.8.8", 8448, "example.org", "/_matrix/key/v2/server") in wire.asked


async def test_delegation_and_service_records_are_followed() -> None:
    well_known = {"/.well-known/matrix/server": (200, b'{"m.server": "matrix.example.org:443"}')}
    wire = FakeWire(answers=well_known)
    assert all(one.is_good for one in await findings(wire, advertised="matrix.example.org:443"))
    assert ("8.8.8.8", 443, "matrix.example.org:443", "/_matrix/key/v2/server") in wire.asked
    wire = FakeWire(records={"_matrix-fed._tcp.example.org": [ServiceRecord("host.example.net", 8449)]})
    assert all(one.is_good for one in await findings(wire))
    assert ("8.8.8.8", 8449, "example.org", "/_matrix/key/v2/server") in wire.asked


@pytest.mark.parametrize(
    ("wire", "advertised", "wrong"),
    [
        (FakeWire(), "matrix.example.org", "though federation.advertised_address is set"),
        (FakeWire(answers={"/.well-known/matrix/server": (301, b"")}), None, "redirects"),
        (FakeWire(answers={"/.well-known/matrix/server": (200, b"<html>")}), None, "names no server"),
        (
            FakeWire(answers={"/.well-known/matrix/server": (200, b'{"m.server": "a.example:1"}')}),
            "b.example:1",
            "says a.example:1, and the configuration b.example:1",
        ),
        (FakeWire(addresses=[]), None, "has no address"),
        (FakeWire(addresses=["192.168.1.2"]), None, "private addresses 192.168.1.2"),
        (FakeWire(answers={"/_matrix/key/v2/server": ConnectionRefusedError("refused")}), None, "is not reached"),
        (FakeWire(answers={"/_matrix/key/v2/server": ssl.SSLCertVerificationError()}), None, "is not accepted"),
        (FakeWire(days=3), None, "expires in 3 days"),
        (FakeWire(answers={"/_matrix/key/v2/server": (404, b"")}), None, "with 404"),
        (FakeWire(answers={"/_matrix/key/v2/server": (200, b"<html>")}), None, "publishes no keys"),
        (FakeWire(answers={"/_matrix/key/v2/server": (200, keys("else.org"))}), None, "keys of another server"),
        (
            FakeWire(answers={"/_matrix/key/v2/server": (200, keys(key=generate_signing_key("a")))}),
            None,
            "other keys than that of signing_key_file",
        ),
        (FakeWire(answers={"/_matrix/federation/v1/version": (502, b"")}), None, "with 502"),
    ],
)
async def test_what_is_wrong_is_said_with_what_to_do(wire: FakeWire, advertised: str | None, wrong: str) -> None:
    if wire.answers.get("/_matrix/key/v2/server").__class__ is ssl.SSLCertVerificationError:
        wire.answers["/_matrix/key/v2/server"].verify_message = "hostname mismatch"
    bad = [one for one in await findings(wire, advertised=advertised) if not one.is_good]
    assert len(bad) == 1
    assert wrong in bad[0].text
    assert bad[0].advice


def test_command_prints_each_step_and_ends_with_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--server-name", "example.org", "--data-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    monkeypatch.setattr(own_set_up, "RealWire", FakeWire)
    assert main(["federation", "check", "--config", str(tmp_path / "halfdoor.yaml")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "WRONG  federation is switched off"
    assert "OK     example.org is a server name" in lines
    assert any(line.startswith("WRONG  8.8.8.8:8448 publishes other keys") for line in lines)
