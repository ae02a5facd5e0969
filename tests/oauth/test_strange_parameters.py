"""D06: parameters of OAuth that hold what they cannot hold are refused; nothing of them makes an error of ours."""

from __future__ import annotations

import pytest

from tests.oauth.apps import open_oauth_server, post_form, register_app
from tests.support.pages import PageReader

STRANGE = ["é" * 300, "你好", '"x"', "\\", "a\x16b", "x" * 5_000]


@pytest.mark.parametrize("value", STRANGE)
async def test_D06_strange_parameters_are_refused(value: str) -> None:
    server = open_oauth_server()
    app = await register_app(server)
    for name in ("client_id", "redirect_uri", "response_type", "scope", "code_challenge", "code_challenge_method"):
        page = await PageReader(server.client).get(app.authorize_url(**{name: value}))
        assert page.status in (200, 303, 400), (name, page.status)
    for path in ("token", "device", "revoke"):
        for name in ("grant_type", "client_id", "code", "redirect_uri", "scope", "token", "device_code"):
            form = {"grant_type": "authorization_code", "client_id": app.client_id, "code": "x", name: value}
            answer = await post_form(server, f"/_halfdoor/oauth2/{path}", form)
            assert answer.status < 500, (path, name, answer.body)
    await server.close()


async def test_state_may_hold_whatever_is_printable() -> None:
    server = open_oauth_server()
    app = await register_app(server)
    page = await PageReader(server.client).get(app.authorize_url(state='{"a": "\\"b"}'))
    assert page.status == 200
    await server.close()
