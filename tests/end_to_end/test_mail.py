"""A running server, its configuration file, a mail server and a directory: from the first e-mail to a new password."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.support import slapd
from tests.support.certificates import self_signed
from tests.support.halfdoor_process import REPOSITORY, halfdoor
from tests.support.server_process import ServerProcess, free_port

pytestmark = pytest.mark.end_to_end
V3 = "/_matrix/client/v3"
PASSWORD = "a long enough password"


@dataclass
class Mailbox:
    """A handler of aiosmtpd that keeps what it is given."""

    messages: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        assert session.ssl is not None
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 Taken"

    def take(self) -> EmailMessage:
        """The next message, for which it waits."""
        end = time.monotonic() + 60
        while not self.messages:
            assert time.monotonic() < end, "no e-mail came"
            time.sleep(0.02)
        return self.messages.pop(0)


@dataclass
class Running:
    server: ServerProcess
    mailbox: Mailbox

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        return call(self.server, method, V3 + path, body, token=token)

    def follow_link(self) -> None:
        """Read the next e-mail, look at the page of its link, press the button."""
        body = self.mailbox.take().get_body(("plain",))
        assert body is not None
        (link,) = re.findall(r"https?://\S+", body.get_content())
        assert link.startswith(self.server.base_url)
        path = link.removeprefix(self.server.base_url)
        status, page = call(self.server, "GET", path)
        assert status == 200, page
        form = urlencode(parse_qsl(urlsplit(link).query)).encode()
        status, page = call(self.server, "POST", urlsplit(link).path, form)
        assert status == 200, page

    def confirm(self, path: str, email: str) -> dict[str, str]:
        secret = "secret-of-the-client"
        wanted = {"client_secret": secret, "email": email, "send_attempt": 1}
        status, answer = self.ask("POST", f"{path}/email/requestToken", wanted)
        assert status == 200, answer
        self.follow_link()
        return {"sid": answer["sid"], "client_secret": secret}


def call(
    server: ServerProcess, method: str, path: str, body: Any = None, *, token: str | None = None
) -> tuple[int, Any]:
    """(status, body): JSON where it is JSON."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if isinstance(body, bytes):
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif body is not None:
        body = msgspec.json.encode(body)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    is_json = answer.getheader("Content-Type", "").startswith("application/json")
    connection.close()
    return answer.status, msgspec.json.decode(content) if is_json else content.decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("mail")
    certificate, key = self_signed(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    mailbox = Mailbox()
    controller = Controller(mailbox, "127.0.0.1", free_port(), tls_context=context, require_starttls=True)
    controller.start()
    mail = {"smtp_host": "localhost", "smtp_port": controller.port, "ca_file": str(certificate)}
    registration = {"enabled": True, "email_required": True, "email_patterns": ["[^@]+@example[.]org"]}
    try:
        with halfdoor(folder, settings={"mail": mail, "registration": registration}) as server:
            yield Running(server, mailbox)
    finally:
        controller.stop()


def test_somebody_registers_with_an_address_and_forgets_the_password(running: Running) -> None:
    status, _ = running.ask(
        "POST", "/register/email/requestToken", {"client_secret": "s", "email": "a@else.test", "send_attempt": 1}
    )
    assert status == 403
    credentials = running.confirm("/register", "Alice@Example.org")
    body = {"username": "alice", "password": PASSWORD}
    status, asked = running.ask("POST", "/register", body)
    assert (status, asked["flows"]) == (401, [{"stages": ["m.login.email.identity"]}])
    auth = {"type": "m.login.email.identity", "session": asked["session"], "threepid_creds": credentials}
    status, alice = running.ask("POST", "/register", {**body, "auth": auth})
    assert status == 200, alice
    status, listed = running.ask("GET", "/account/3pid", token=alice["access_token"])
    assert [each["address"] for each in listed["threepids"]] == ["alice@example.org"]

    credentials = running.confirm("/account/password", "alice@example.org")
    change = {"new_password": "another long password"}
    session = running.ask("POST", "/account/password", change)[1]["session"]
    auth = {"type": "m.login.email.identity", "session": session, "threepid_creds": credentials}
    assert running.ask("POST", "/account/password", {**change, "auth": auth}) == (200, {})
    assert "was changed" in running.mailbox.take()["Subject"]
    assert running.ask("GET", "/account/whoami", token=alice["access_token"])[0] == 401
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org"}
    login = {"type": "m.login.password", "identifier": identifier, "password": "another long password"}
    assert running.ask("POST", "/login", login)[0] == 200
    log = running.server.log_file.read_text()
    assert "alice@example.org" not in log
    assert "another long password" not in log


def test_the_command_tries_the_mail_server(running: Running) -> None:
    """In a process of its own, as an operator calls it: it makes a loop of its own."""
    configuration = str(running.server.directory / "halfdoor.yaml")
    command = [sys.executable, "-m", "homeserver", "mail", "test", "you@example.org", "--config", configuration]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    message = running.mailbox.take()
    assert (message["To"], message["Subject"]) == ("you@example.org", "A test of halfdoor.test")


@pytest.mark.skipif(shutil.which("slapd", path="/usr/sbin:/usr/bin") is None, reason="apt-get install slapd")
def test_somebody_in_the_directory_of_the_configuration_logs_in(tmp_path: Path) -> None:
    with slapd.slapd(tmp_path) as directory:
        ldap = {
            "uri": directory.uri,
            "base": slapd.BASE,
            "bind_dn": slapd.SERVICE,
            "bind_password_file": "password",
            "ca_file": str(directory.ca_file),
        }
        (tmp_path / "server").mkdir()
        (tmp_path / "server" / "password").write_text(slapd.SERVICE_PASSWORD)
        with halfdoor(tmp_path / "server", settings={"ldap": ldap, "registration": {}}) as server:
            identifier = {"type": "m.id.user", "user": "ada"}
            login = {"type": "m.login.password", "identifier": identifier, "password": "ada's password"}
            status, answer = call(server, "POST", f"{V3}/login", login)
            assert (status, answer["user_id"]) == (200, "@ada:halfdoor.test")
            status, answer = call(server, "POST", f"{V3}/login", {**login, "password": "wrong"})
            assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
