"""Forms: read strictly, whatever a browser or somebody else sends (row D06)."""

from __future__ import annotations

import pytest

from homeserver.http.browsers import parse_form
from homeserver.http.request import Request
from homeserver.protocol.errors import BadJson


def posted(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Request:
    return Request("POST", "/", {}, {}, {"content-type": kind}, body, "192.0.2.1", "1")


def test_a_form_is_read() -> None:
    assert parse_form(posted(b"a=1&b=%E4%BD%A0+x&c=")) == {"a": "1", "b": "你 x", "c": ""}


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=%00", b"a\0=1", b"a=\xff", b"a=%ff", b"&".join([b"a=1"] * 200)])
def test_D06_strange_forms_are_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        parse_form(posted(body))
