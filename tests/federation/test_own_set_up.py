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
from federation.own_set_up import ENCODED, LARGE, Finding, SetUpCheck
from federation.server_discovery import ServiceRecord
from federation.set_up_wire import Got
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

    async def ask(
        self, address: str, port: int, authority: str, path: str, method: str = "GET", body: bytes | None = None
    ) -> Got:
        self.asked.append((address, port, authority, path))
        usual = {
            "/.well-known/matrix/server": (404, b""),
            "/_matrix/key/v2/server": (200, keys()),
            "/_matrix/federation/v1/version": (200, b'{"server": {"name": "Halfdoor"}}'),
            ENCODED: (401, b""),
            LARGE: (401, b""),
        }
        answer = self.answers[path] if path in self.answers else usual[path]
        if isinstance(answer, Exception):
            raise answer
        status, content, *location = answer
        return Got(status, content, NOW + self.days * DAY, *location)


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
        (
            FakeWire(
                answers={"/.well-known/matrix/server": (301, b"", "https://example.org/.well-known/matrix/server")}
            ),
            None,
            "redirects without end",
        ),
        (
            FakeWire(answers={"/.well-known/matrix/server": (301, b"", "/login"), "/login": (200, b"<html>")}),
            None,
            "(a redirect to https://example.org/login) names no server",
        ),
        (
            FakeWire(answers={"/.well-known/matrix/server": (301, b"", "http://example.org/")}),
            "matrix.example.org",
            "which is not https",
        ),
        (
            FakeWire(answers={"/.well-known/matrix/server": (200, b'{"m.server": "https://a.example"}')}),
            None,
            "names no server",
        ),
        (FakeWire(answers={"/.well-known/matrix/server": (200, b"<html>")}), None, "names no server"),
        (
            FakeWire(answers={"/.well-known/matrix/server": (200, b'{"m.server": "a.example:1"}')}),
            "b.example:1",
            "says a.example:1, and the configuration b.example:1",
        ),
        (FakeWire(addresses=[]), None, "has no address"),
        (FakeWire(addresses=["192.168.1.2"]), None, "private addresses 192.168.1.2"),
        (FakeWire(answers={"/_matrix/key/v2/server": ConnectionRefusedError("refused")}), None, "refuses connections"),
        (FakeWire(answers={"/_matrix/key/v2/server": TimeoutError()}), None, "does not answer"),
        (
            FakeWire(answers={"/_matrix/key/v2/server": ssl.SSLError("wrong version")}),
            None,
            "does not speak TLS",
        ),
        (FakeWire(answers={"/_matrix/key/v2/server": OSError("no route")}), None, "is not reached over TLS"),
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
        (FakeWire(answers={ENCODED: (404, b"")}), None, "decodes paths"),
        (FakeWire(answers={LARGE: (413, b"")}), None, "takes no body of 4 MiB"),
    ],
)
async def test_what_is_wrong_is_said_with_what_to_do(wire: FakeWire, advertised: str | None, wrong: str) -> None:
    if wire.answers.get("/_matrix/key/v2/server").__class__ is ssl.SSLCertVerificationError:
        wire.answers["/_matrix/key/v2/server"].verify_message = "something else"
        wire.answers["/_matrix/key/v2/server"].verify_code = 1
    bad = [one for one in await findings(wire, advertised=advertised) if not one.is_good]
    assert len(bad) == 1
    assert wrong in bad[0].text
    assert bad[0].advice


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (10, "has expired"),
        (9, "is not valid yet"),
        (62, "is not for example.org"),
        (18, "is signed by itself"),
        (20, "nobody known vouches"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said(code: int, wrong: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, ""
    bad = [one for one in await findings(FakeWire(answers={"/_matrix/key/v2/server": error})) if not one.is_good]
    assert len(bad) == 1
    assert wrong in bad[0].text
    assert bad[0].advice


async def test_a_redirect_is_followed_and_private_networks_may_be_meant() -> None:
    well_known = {
        "/.well-known/matrix/server": (301, b"", "/matrix.json"),
        "/matrix.json": (200, b'{"m.server": "matrix.example.org:443"}'),
    }
    wire = FakeWire(answers=well_known, addresses=["10.1.2.3"])
    check = SetUpCheck(wire, "example.org", get_verify_key(KEY), "matrix.example.org:443", NOW, ["10.0.0.0/8"])
    assert [one.text for one in [one async for one in check.run()] if not one.is_good] == []
    assert ("10.1.2.3", 443, "matrix.example.org:443", "/_matrix/key/v2/server") in wire.asked


async def test_an_address_of_a_kind_that_this_machine_has_not_is_left_to_others() -> None:
    wire = FakeWire(addresses=["2a00::1"], answers={"/_matrix/key/v2/server": OSError(101, "Network is unreachable")})
    assert [one.text for one in await findings(wire)][-1].startswith("[2a00::1]:8448 is not tried")


async def test_a_name_with_a_port_needs_no_delegation() -> None:
    bad = [one for one in await findings(FakeWire(), "example.org:8448", "matrix.example.org") if not one.is_good]
    assert "says itself where it is" in bad[0].text


def test_command_prints_each_step_and_ends_with_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--server-name", "example.org", "--data-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    monkeypatch.setattr(own_set_up, "RealWire", FakeWire)
    assert main(["federation", "check", "--config", str(tmp_path / "halfdoor.yaml")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "OK     example.org is a server name"
    assert any(line.startswith("WRONG  8.8.8.8:8448 publishes other keys") for line in lines)
    with (tmp_path / "halfdoor.yaml").open("a") as file:
        file.write("federation: {enabled: false}\n")
    assert main(["federation", "check", "--config", str(tmp_path / "halfdoor.yaml")]) == 1
    assert capsys.readouterr().out.startswith("WRONG  federation is switched off\n")
