"""Asks Google's reCAPTCHA whether a captcha was solved: a verifier for `Hooks.verify_captcha`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.strict_json import decode

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 16 * 1024

_log = logging.getLogger(__name__)

Post = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""Posts a form to an address; the body of the answer. May raise anything."""


class Recaptcha:
    """`secret_key` is the site's private key. What cannot be verified counts as not solved."""

    def __init__(self, secret_key: str, verify_url: str, post: Post | None = None) -> None:
        self._secret_key = secret_key
        self._verify_url = verify_url
        self._post = post or post_form

    async def verify(self, response: str, client_address: str) -> bool:
        """Whether `response`, which the client got from the captcha, is one of ours and was solved."""
        form = {"secret": self._secret_key, "response": response, "remoteip": client_address}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._post(self._verify_url, form)
            answer = decode(body)
        except TimeoutError:
            _log.warning("%s gave no answer within %.0f s: a captcha is refused", self._verify_url, TIMEOUT_SECONDS)
            return False
        except MatrixError:
            _log.warning("%s did not answer with JSON: a captcha is refused", self._verify_url)
            return False
        except Exception as error:  # Twisted has no common class for what can go wrong on the way
            _log.warning("%s cannot be asked (%s): a captcha is refused", self._verify_url, type(error).__name__)
            return False
        return isinstance(answer, dict) and answer.get("success") is True


async def post_form(url: str, form: Mapping[str, str]) -> bytes:
    """By treq, on the running loop."""
    import treq  # costs memory that servers without a captcha keep

    loop = asyncio.get_running_loop()
    response = await treq.post(url, data=dict(form), allow_redirects=False).asFuture(loop)
    content = bytearray()

    def collect(part: bytes) -> None:
        if len(content) < MAX_ANSWER_BYTES:
            content.extend(part)

    await treq.collect(response, collect).asFuture(loop)
    return bytes(content)
