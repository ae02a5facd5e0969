"""The reCAPTCHA verifier: what it asks, and that a doubt is a no."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from homeserver.users.recaptcha import Recaptcha

URL = "https://captcha.example/verify"


class Service:
    """Stands for the service; remembers what it was asked."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def post(self, url: str, form: Mapping[str, str]) -> bytes:
        self.asked.append((url, form))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_solved_captcha_is_taken_and_the_service_is_asked_as_it_wants() -> None:
    service = Service(b'{"success": true, "hostname": "example.org"}')
    assert await Recaptcha("private", URL, service.post).verify("given", "192.0.2.7")
    assert service.asked == [(URL, {"secret": "private", "response": "given", "remoteip": "192.0.2.7"})]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"success": false, "error-codes": ["invalid-input-response"]}',
        b'{"success": "true"}',
        b'{"success": 1}',
        b"{}",
        b"[true]",
        b"<html>",
        b"",
        ConnectionError("refused"),
        TimeoutError(),
    ],
)
async def test_whatever_is_not_a_clear_yes_is_a_no(answer: bytes | Exception) -> None:
    assert not await Recaptcha("private", URL, Service(answer).post).verify("given", "192.0.2.7")


async def test_F06_the_secret_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    await Recaptcha("private-key", URL, Service(ConnectionError("private-key")).post).verify("given", "192.0.2.7")
    assert "cannot be asked (ConnectionError)" in caplog.text
    assert "private-key" not in caplog.text
