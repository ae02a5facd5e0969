"""Confirming e-mail addresses as people and clients do: ask, read the e-mail, follow the link, press the button."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from homeserver.users.registration import RegistrationSettings
from homeserver.users.validation_sessions import CONFIRM_PATH, EmailSettings
from tests.support.http import Answer
from tests.support.user_server import UserServer, open_user_server, settings

EMAIL = EmailSettings(base_url="https://matrix.halfdoor.test")
SECRET = "a.client_secret-1"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def open_mail_server(
    *, registration: RegistrationSettings | None = None, outbound: Any = None, db: Any = None, **email: Any
) -> UserServer:
    """A server that sends e-mails to its `outbox`. `email` changes the settings of e-mail."""
    return open_user_server(db, settings(registration, email=replace(EMAIL, **email)), outbound=outbound)


async def request_token(
    server: UserServer, path: str, email: str, *, secret: str = SECRET, attempt: int = 1, **body: Any
) -> Answer:
    """Any .../email/requestToken; every e-mail has been sent when it returns."""
    wanted = {"client_secret": secret, "email": email, "send_attempt": attempt, **body}
    answer = await server.post(f"{path}/email/requestToken", wanted)
    await server.services.validation_sessions.settle()
    return answer


async def follow(server: UserServer, link: str, **headers: str) -> Answer:
    """Look at the page of a link."""
    parts = urlsplit(link)
    assert link.startswith(f"https://matrix.halfdoor.test{CONFIRM_PATH}?")
    return await server.client.request("GET", f"{parts.path}?{parts.query}", headers=headers)


async def press(server: UserServer, link: str, **changes: str) -> Answer:
    """Press the button of that page. `changes` replace fields of the form."""
    fields = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    return await server.client.request(
        "POST", CONFIRM_PATH, body=urlencode({**fields, **changes}).encode(), headers=FORM
    )


async def confirm(server: UserServer, path: str, email: str, *, secret: str = SECRET, attempt: int = 1) -> str:
    """The whole way; the session id."""
    answer = await request_token(server, path, email, secret=secret, attempt=attempt)
    assert answer.status == 200, answer.body
    pressed = await press(server, server.outbox.take().links[0])
    assert pressed.status == 200, pressed.body
    sid: str = answer.json["sid"]
    assert re.fullmatch(r"[0-9a-zA-Z.=_-]{1,255}", sid)
    return sid


async def add_email(server: UserServer, token: str, email: str) -> None:
    """An address of a user."""
    secret = f"secret-of-{email.replace('@', '-')}"
    sid = await confirm(server, "/account/3pid", email, secret=secret)
    body = {"sid": sid, "client_secret": secret}
    answer = await server.with_password("POST", "/account/3pid/add", body, token=token)
    assert answer.status == 200, answer.body
