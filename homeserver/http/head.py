"""Reading header lines and writing response heads: bytes to text and back, strictly (row D02 of the known attacks)."""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) (HTTP/1\.[01])").fullmatch
_SINGLE: Final = frozenset({"host", "authorization", "content-type", "content-length", "transfer-encoding", "expect"})
"""Headers that two of would be read differently by a proxy and by us."""

_HEADER_LINES = re.compile(rb"(?m)^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n").findall

_known_names: dict[bytes, str] = {}
_MAX_KNOWN_NAMES: Final = 1000


class BadHead(Exception):
    """The head of a request is not HTTP/1.1 as we take it; the text says why."""


def parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Method, target and version; None when it is not such a line."""
    found = _REQUEST_LINE(line)
    return None if found is None else (found[1], found[2], found[3])


def parse_headers(lines: bytes) -> dict[str, str]:
    """Header lines, each ended by CR LF, as a dict: lower-case names, repeated ones joined by ", ". Raises BadHead."""
    found = _HEADER_LINES(lines)
    if len(found) != lines.count(b"\n"):
        raise BadHead("A header line is not proper.")
    headers: dict[str, str] = {}
    for raw_name, raw_value in found:
        name = _known_names.get(raw_name)
        if name is None:
            name = raw_name.decode("ascii").lower()
            if len(_known_names) < _MAX_KNOWN_NAMES:
                _known_names[raw_name] = name
        value = raw_value.strip(b" \t").decode("latin-1")
        if name in headers:
            if name in _SINGLE:
                raise BadHead(f"The header {name} may be given only once.")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus if status.value >= 200
}


class HeadWriter:
    """Makes response heads; the Date line is formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._date = ""

    def head(self, status: int, headers: list[tuple[str, str]], framing: str, now_ms: int) -> bytes:
        """The whole head. `framing` is ready header lines (Content-Length, Transfer-Encoding, Connection).

        Raises ValueError when a header holds a line break, whoever put it there, or is not Latin-1.
        """
        second = now_ms // 1000
        if second != self._second:
            self._second, self._date = second, f"Date: {formatdate(second, usegmt=True)}\r\n"
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
            raise ValueError("A response header holds a line break.")
        status_line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Other\r\n"
        return f"{status_line}{self._date}{lines}{framing}\r\n".encode("latin-1")
