"""E-mails over a real SMTP conversation: what arrives, over which connection, and what is refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

from homeserver.mail.mailer import MailFailed, NoMailer
from homeserver.mail.smtp import SmtpMailer, SmtpSettings
from tests.support.certificates import self_signed
from tests.support.clock import FakeClock


@dataclass
class Mailbox:
    """A handler of aiosmtpd that keeps what it is given."""

    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answer: str = "250 Taken"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return self.answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def message(self) -> EmailMessage:
        """The only message that arrived."""
        (envelope,) = self.envelopes
        content = envelope.content
        assert isinstance(content, bytes)
        parsed = message_from_bytes(content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """An SMTP server on this machine."""

    port: int
    box: Mailbox
    ca_file: Path

    def mailer(self, **changes: Any) -> SmtpMailer:
        defaults = SmtpSettings(
            "localhost", "Halfdoor Test <noreply@halfdoor.test>", self.port, "none", ca_file=self.ca_file, timeout=5.0
        )
        return SmtpMailer(replace(defaults, **changes), FakeClock())


async def serve(box: Mailbox, folder: Path, **options: Any) -> tuple[asyncio.Server, MailServer]:
    certificate, key = self_signed(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    implicit = options.pop("implicit_tls", False)
    if not implicit and options.pop("offers_starttls", True):
        options["tls_context"] = context
    else:
        options.pop("offers_starttls", None)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(box, hostname="localhost", loop=loop, enable_SMTPUTF8=True, **options),
        "127.0.0.1",
        0,
        ssl=context if implicit else None,
    )
    return server, MailServer(server.sockets[0].getsockname()[1], box, certificate)


@pytest.fixture
async def mail_server(tmp_path: Path) -> AsyncIterator[MailServer]:
    server, described = await serve(Mailbox(), tmp_path)
    yield described
    server.close()
    await server.wait_closed()


async def test_a_message_arrives_with_text_html_and_its_headers(mail_server: MailServer) -> None:
    await mail_server.mailer().send("bob@example.org", "Grüße 你好", "Plain 你好\n", "<p>Rich</p>")
    (envelope,) = mail_server.box.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("noreply@halfdoor.test", ["bob@example.org"])
    message = mail_server.box.message()
    assert message["Subject"] == "Grüße 你好"
    assert message["From"] == "Halfdoor Test <noreply@halfdoor.test>"
    assert message["To"] == "bob@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@halfdoor.test>")
    assert message["Date"].datetime.timestamp() == FakeClock().now_ms() // 1000
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert plain.get_content().splitlines() == ["Plain 你好"]
    assert rich.get_content().strip() == "<p>Rich</p>"


async def test_starttls_checks_the_certificate_and_logs_in(tmp_path: Path) -> None:
    box = Mailbox()
    server, described = await serve(box, tmp_path, authenticator=box.authenticate, auth_required=True)
    async with server:
        login: dict[str, Any] = {"security": "starttls", "username": "us", "password": "right"}
        await described.mailer(**login).send("bob@example.org", "S", "T")
        with pytest.raises(MailFailed, match="535") as refused:
            await described.mailer(**{**login, "password": "wrong"}).send("bob@example.org", "S", "T")
        with pytest.raises(MailFailed):  # nobody of the machine's own list vouches for it
            await described.mailer(**login, ca_file=None).send("bob@example.org", "S", "T")
    assert "wrong" not in str(refused.value)
    assert box.encrypted == [True]
    assert set(box.logins) == {(b"us", b"right"), (b"us", b"wrong")}


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    server, described = await serve(Mailbox(), tmp_path, implicit_tls=True)
    async with server:
        await described.mailer(security="tls").send("bob@example.org", "S", "T")
    assert described.box.encrypted == [True]


async def test_nothing_is_sent_in_the_clear_when_the_server_offers_no_starttls(tmp_path: Path) -> None:
    server, described = await serve(Mailbox(), tmp_path, offers_starttls=False)
    async with server:
        with pytest.raises(MailFailed):
            await described.mailer(security="starttls").send("bob@example.org", "S", "T")
    assert described.box.envelopes == []


async def test_a_refusal_or_a_server_that_is_away_is_said_without_the_address(mail_server: MailServer) -> None:
    mail_server.box.answer = "550 bob@example.org is unknown here"
    with pytest.raises(MailFailed) as refused:
        await mail_server.mailer().send("bob@example.org", "S", "T")
    assert "550" in str(refused.value)
    assert "bob" not in str(refused.value)
    away = SmtpMailer(SmtpSettings("127.0.0.1", "noreply@halfdoor.test", port=1, security="none"), FakeClock())
    with pytest.raises(MailFailed):
        await away.send("bob@example.org", "S", "T")
    with pytest.raises(MailFailed):
        await NoMailer().send("bob@example.org", "S", "T")


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.org\r\nBcc: eve@example.org",
        "bob@example.org, eve@example.org",
        "Bob <bob@example.org>",
        "bob",
        "",
        "bob@example.org\n",
        '"bob eve"@example.org',
        "bob@[127.0.0.1]",
        "-bob@-example.org",
        "bob..eve@example.org",
        f"{'x' * 65}@example.org",
        "bob@\ud800.org",
    ],
)
async def test_F08_only_one_plain_address_is_written_to(mail_server: MailServer, address: str) -> None:
    with pytest.raises(MailFailed):
        await mail_server.mailer().send(address, "S", "T")
    assert mail_server.box.envelopes == []


async def test_F08_a_subject_adds_no_header(mail_server: MailServer) -> None:
    await mail_server.mailer().send("bob@example.org", "Room\r\nBcc: eve@example.org\r\n\r\n<b>", "T")
    message = mail_server.box.message()
    assert message["Bcc"] is None
    assert message["Subject"] == "Room Bcc: eve@example.org <b>"


async def test_sender_must_be_an_address() -> None:
    with pytest.raises(ValueError, match="no address"):
        SmtpMailer(SmtpSettings("localhost", "nobody"), FakeClock())
