"""`halfdoor federation check` against real set-ups: the examples of docs/federation.md for nginx and Caddy, before a
real Halfdoor and with certificates of an authority of the test; and each fault, made on purpose.

Ports below 1024 and names of the Internet are not to be had in a test: `NearWire` leads both to this machine. All else
is real.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from signedjson.key import generate_signing_key, get_verify_key, read_signing_keys
from signedjson.types import VerifyKey

from federation.own_set_up import Finding, SetUpCheck
from federation.server_discovery import ServiceRecord
from federation.set_up_wire import Got, RealWire
from tests.support.authority import Authority
from tests.support.halfdoor_process import REPOSITORY, halfdoor
from tests.support.server_process import ServerProcess, free_port

NAME, HOST = "example.org", "matrix.example.org"
ADVERTISED = "matrix.example.org:443"
LOCAL = ["127.0.0.0/8"]
NGINX, CADDY = shutil.which("nginx") or "/usr/sbin/nginx", shutil.which("caddy")

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(
        not Path(NGINX).exists() or CADDY is None, reason="needs nginx and Caddy (apt-get install nginx-light caddy)"
    ),
]


class NearWire(RealWire):
    """The real network, with `ports` in place of those that a test cannot have. A port that is not in it is closed."""

    def __init__(self, ports: Mapping[int, int], records: Mapping[str, list[ServiceRecord]] | None = None) -> None:
        self._ports = ports
        self._records = records or {}

    async def resolve(self, host: str) -> list[str]:
        return ["127.0.0.1"]

    async def services(self, name: str) -> list[ServiceRecord]:
        return self._records.get(name, [])

    async def ask(
        self, address: str, port: int, authority: str, path: str, method: str = "GET", body: bytes | None = None
    ) -> Got:
        return await super().ask("127.0.0.1", self._ports.get(port, 1), authority, path, method, body)


@dataclass
class Place:
    """A Halfdoor behind no proxy yet, its key, and the authority that all trust."""

    server: ServerProcess
    authority: Authority
    key: VerifyKey
    folder: Path
    certificates: dict[str, tuple[Path, Path]] = field(default_factory=dict)

    async def wrong(
        self,
        ports: Mapping[int, int],
        *,
        advertised: str | None = ADVERTISED,
        records: Mapping[str, list[ServiceRecord]] | None = None,
    ) -> list[Finding]:
        check = SetUpCheck(NearWire(ports, records), NAME, self.key, advertised, time.time(), LOCAL)
        return [one async for one in check.run() if not one.is_good]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("set-up")
    authority = Authority(folder)
    settings = {
        "federation": {"enabled": True, "advertised_address": ADVERTISED},
        "listeners": [
            {
                "host": "127.0.0.1",
                "port": (port := free_port()),
                "apis": ["client", "admin", "federation"],
                "trusted_proxies": ["127.0.0.1"],
            }
        ],
    }
    server = halfdoor(folder, server_name=NAME, port=port, settings=settings)
    with server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        with (folder / "signing.key").open() as stream:
            key = get_verify_key(read_signing_keys(stream)[0])
        certificates = {name: authority.certificate(name) for name in (NAME, HOST)}
        yield Place(server, authority, key, folder, certificates)


def example(language: str, source: str) -> str:
    """The example for a proxy of the documentation, or that of config/deploy."""
    if source == "deploy":
        return (REPOSITORY / "config" / "deploy" / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[language]).read_text()
    page = (REPOSITORY / "docs" / "federation.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def running(command: list[str], folder: Path, *ports: int) -> Iterator[None]:
    log = (folder / "proxy.log").open("ab")
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        end = time.monotonic() + 60
        for port in ports:
            while True:
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, (folder / "proxy.log").read_text()
                assert time.monotonic() < end, "the proxy does not listen"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


@contextmanager
def nginx(place: Place, servers: str, *ports: int) -> Iterator[None]:
    folder = place.folder / f"nginx-{ports[0]}"
    folder.mkdir()
    paths = "".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; master_process off; pid {folder / 'pid'}; error_log stderr; events {{}}"
    configuration = folder / "nginx.conf"
    configuration.write_text(f"{main}\nhttp {{ access_log off; {paths}\n{servers}\n}}\n")
    with running([NGINX, "-p", str(folder), "-c", str(configuration)], folder, *ports):
        yield


def of_nginx(place: Place, source: str, https: int, federation: int) -> str:
    """An example, with ports and files that a test can have."""
    text = example("nginx", source).replace("listen 443", f"listen 127.0.0.1:{https}")
    text = re.sub(r"listen \[::\].*;", "", text)
    text = text.replace("listen 8448", f"listen 127.0.0.1:{federation}").replace(":8008", f":{place.server.port}")
    for name in (HOST, NAME):
        certificate, key = place.certificates[name]
        text = text.replace(f"/etc/letsencrypt/live/{name}/fullchain.pem", str(certificate))
        text = text.replace(f"/etc/letsencrypt/live/{name}/privkey.pem", str(key))
    assert "letsencrypt" not in text
    return text


@pytest.mark.parametrize("source", ["docs", "deploy"])
async def test_the_example_for_nginx_is_right(place: Place, source: str) -> None:
    https, federation = free_port(), free_port()
    with nginx(place, of_nginx(place, source, https, federation), https):
        assert await place.wrong({443: https}) == []


@pytest.mark.parametrize("source", ["docs", "deploy"])
async def test_the_example_for_caddy_is_right(place: Place, source: str) -> None:
    https, federation = free_port(), free_port()
    folder = place.folder / f"caddy-{source}"
    folder.mkdir()
    text = example("caddy", source).replace(":8448", f":{federation}").replace(":8008", f":{place.server.port}")
    for name in (HOST, NAME):
        certificate, key = place.certificates[name]
        text = re.sub(rf"^({name}[ ,].*){{$", rf"\1{{\n    tls {certificate} {key}", text, flags=re.MULTILINE)
    assert text.count("tls ") == 2
    options = f"{{\n admin off\n auto_https disable_redirects\n https_port {https}\n http_port {free_port()}\n}}\n"
    (folder / "Caddyfile").write_text(options + text)
    command = [str(CADDY), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with running(command, folder, https):
        assert await place.wrong({443: https}) == []


def server_block(name: str, port: int, certificate: tuple[Path, Path], inside: str) -> str:
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {name}; ssl_certificate {certificate[0]};"
        f" ssl_certificate_key {certificate[1]}; {inside} }}\n"
    )


async def test_each_fault_is_named(place: Place) -> None:
    """One nginx with a port for each fault."""
    behind = f"http://127.0.0.1:{place.server.port}"
    passed = f"client_max_body_size 100m; location /_matrix {{ proxy_pass {behind}; }}"
    good = place.certificates[HOST]
    ends: dict[str, tuple[tuple[Path, Path], str]] = {
        "is signed by itself": (place.authority.certificate(HOST, self_signed=True), passed),
        "is not for matrix.example.org": (place.authority.certificate("other.example.org"), passed),
        "has expired": (place.authority.certificate(HOST, days=-3), passed),
        "expires in": (place.authority.certificate(HOST, days=5.5), passed),
        "decodes paths": (good, passed.replace(behind, f"{behind}/_matrix")),
        "takes no body of 4 MiB": (good, passed.replace("100m", "1m")),
        "answers /_matrix/key/v2/server with 404": (
            good,
            f"location /_matrix/federation {{ proxy_pass {behind}; }} client_max_body_size 100m;",
        ),
        "publishes no keys": (
            good,
            passed + ' location /_matrix/key { default_type text/html; return 200 "<html>"; }',
        ),
        "publishes the keys of another server": (
            good,
            passed + ' location /_matrix/key { return 200 "{\\"server_name\\": \\"other.org\\"}"; }',
        ),
        "with 502": (good, passed + " location = /_matrix/federation/v1/version { proxy_pass http://127.0.0.1:1; }"),
    }
    told = f'\'{{"m.server": "{ADVERTISED}"}}\''
    delegations: dict[str, str] = {
        "names no server": "return 200 '<html>';",
        "says elsewhere.example.org:443": 'return 200 \'{"m.server": "elsewhere.example.org:443"}\';',
        "redirects without end": "return 301 https://example.org$request_uri;",
        "which is not https": "return 301 http://example.org/;",
        "is answered with status 404": "return 404;",
    }
    ports = {text: free_port() for text in (*ends, *delegations)}
    well_known = free_port()
    blocks = server_block(NAME, well_known, place.certificates[NAME], f"return 200 {told};")
    for text, (certificate, inside) in ends.items():
        blocks += server_block(HOST, ports[text], certificate, inside)
    for text, inside in delegations.items():
        blocks += server_block(NAME, ports[text], place.certificates[NAME], inside)
        blocks += server_block(HOST, ports[text], good, passed)
    blocks += f"server {{ listen 127.0.0.1:{(plain := free_port())}; return 200; }}\n"
    with nginx(place, blocks, well_known, plain):

        async def only(wire: NearWire, text: str, advertised: str | None = ADVERTISED) -> None:
            check = SetUpCheck(wire, NAME, place.key, advertised, time.time(), LOCAL)
            found = [one for one in [each async for each in check.run()] if not one.is_good]
            assert found, text
            assert text in found[0].text, (text, found)
            assert found[0].advice

        for text in ends:
            await only(_Split(well_known, ports[text]), text)
        for text in delegations:
            await only(NearWire({443: ports[text]}), text)
        await only(_Split(well_known, plain), "does not speak TLS as it should")
        await only(_Split(well_known, 1), "refuses connections")
        other = get_verify_key(generate_signing_key("a_test"))
        right = _Split(well_known, ports["expires in"])
        check = SetUpCheck(right, NAME, other, ADVERTISED, time.time(), LOCAL)
        texts = [one.text async for one in check.run() if not one.is_good]
        assert any("publishes other keys than that of signing_key_file" in text for text in texts)


class _Split(NearWire):
    """Delegation at one port of this machine, the server at another."""

    def __init__(self, delegation: int, server: int) -> None:
        super().__init__({})
        self._delegation, self._server = delegation, server

    async def ask(
        self, address: str, port: int, authority: str, path: str, method: str = "GET", body: bytes | None = None
    ) -> Got:
        at = self._delegation if authority == NAME else self._server
        return await RealWire.ask(self, "127.0.0.1", at, authority, path, method, body)


async def test_where_srv_records_lead_the_certificate_is_for_the_server_name(place: Place) -> None:
    port = free_port()
    behind = f"http://127.0.0.1:{place.server.port}"
    inside = f"client_max_body_size 100m; location /_matrix {{ proxy_pass {behind}; }}"
    records = {f"_matrix-fed._tcp.{NAME}": [ServiceRecord("host.example.net", 8449)]}
    with nginx(place, server_block(NAME, port, place.certificates[NAME], inside), port):
        assert await place.wrong({8449: port}, advertised=None, records=records) == []
    port = free_port()
    with nginx(place, server_block(HOST, port, place.certificates[HOST], inside), port):
        (found,) = await place.wrong({8449: port}, advertised=None, records=records)
        assert "is not for example.org" in found.text


def test_the_command_checks_a_server_that_has_its_own_certificate(place: Place, tmp_path: Path) -> None:
    port, client_port = free_port(), free_port()
    certificate, key = place.authority.certificate("localhost")
    listeners = [
        {"host": "127.0.0.1", "port": client_port, "apis": ["client", "admin"]},
        {
            "host": "127.0.0.1",
            "port": port,
            "apis": ["federation"],
            "tls_certificate_file": str(certificate),
            "tls_key_file": str(key),
        },
    ]
    settings = {
        "listeners": listeners,
        "federation": {"enabled": True},
        "outbound": {"allowed_networks": ["127.0.0.0/8", "::1/128"]},
    }
    with ExitStack() as stack:
        server = stack.enter_context(
            halfdoor(tmp_path, server_name=f"localhost:{port}", port=client_port, settings=settings)
        )
        command = [
            sys.executable, "-m", "homeserver", "federation", "check", "--config", str(tmp_path / "halfdoor.yaml")
        ]  # fmt: skip
        environment = {**server.environment, "SSL_CERT_FILE": str(place.authority.file), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=REPOSITORY
        )
        refused = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
        assert all("[::1]" in line for line in refused), done.stdout + done.stderr
        assert f"OK     127.0.0.1:{port} publishes our key ed25519:a_test" in done.stdout
        assert f"OK     127.0.0.1:{port} takes transactions of 4 MiB" in done.stdout
