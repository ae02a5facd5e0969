"""The deployment files name what exists, and do not open what must stay closed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from homeserver.command_line.parser import build_parser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "config" / "deploy"


def test_the_units_commands_are_ours() -> None:
    unit = (DEPLOY / "halfdoor.service").read_text()
    commands = re.findall(r"^ExecStart(?:Pre)?=\S+/halfdoor (.*)$", unit, flags=re.MULTILINE)
    assert [build_parser().parse_args(shlex.split(command)).config for command in commands] == [
        "/var/lib/halfdoor/halfdoor.yaml",
        "/var/lib/halfdoor/halfdoor.yaml",
    ]


def test_F17_the_proxies_do_not_pass_on_the_operators_api() -> None:
    for name in ("nginx.conf", "Caddyfile"):
        lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.strip().startswith("#")]
        text = "\n".join(lines)
        assert "_synapse" not in text, name
        assert "_matrix" in text, name
        assert "webchat" in text, name
    (passed,) = re.findall(r"location ~ (\S+) {", (DEPLOY / "nginx.conf").read_text())
    for path in ("/_matrix/client/versions", "/_halfdoor/account/login", "/_halfdoor/oauth2/token"):
        assert re.search(passed, path), path
    for path in ("/_halfdoor/admin/v1/reports", "/_halfdoor/admin", "/_synapse/admin/v1/x", "/other/_matrix/"):
        assert not re.search(passed, path), path
    assert "not path /_halfdoor/admin /_halfdoor/admin/*" in (DEPLOY / "Caddyfile").read_text()


def test_nginx_overwrites_what_a_client_says_of_its_address() -> None:
    """nginx takes a server's headers over into a location only when that sets none of its own."""
    for server in (DEPLOY / "nginx.conf").read_text().split("server {")[1:]:
        head, *locations = server.split("location ")
        for location in locations:
            inherits = "proxy_set_header" not in location
            assert "X-Forwarded-For $remote_addr;" in (head if inherits else location), location


def test_nginx_passes_paths_on_unchanged() -> None:
    for target in re.findall(r"proxy_pass (\S+);", (DEPLOY / "nginx.conf").read_text()):
        assert re.fullmatch(r"http://[\d.]+:\d+", target), f"{target} would make nginx decode the path"


def test_the_container_copies_every_package_and_starts_our_command() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    for package in ("homeserver", "bridges", "config"):
        assert f"COPY {package} /source/{package}" in text
    assert 'ENTRYPOINT ["halfdoor"]' in text
    assert build_parser().parse_args(["serve"]).config


def test_the_documents_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "changelog.d" / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"
