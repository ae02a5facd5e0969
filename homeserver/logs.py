"""Logs: one line an event, for people or as JSON, with the request it belongs to and without secrets.

Redaction happens in the formatter, where every line must pass, whoever wrote it (row C09 of the known attacks).
Imports nothing of ours, so that every part may use `request_id`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec
from twisted.logger import STDLibLogObserver, globalLogBeginner

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The id of the HTTP request that the running task serves, or "" outside of one. It goes out as X-Request-Id."""

REDACTED: Final = "<redacted>"

_CONFIDENTIAL = (
    r"[\w-]*(?:token|password|passphrase|secret|signing_?key|private_?key|recovery_?key|authorization|cookie)|mac"
)
_PATTERNS: Final = (
    # access_token=…, "password": "…", 'token': '…', hs_token: …
    re.compile(
        rf"""(?i)(?P<keep>["']?\b(?:{_CONFIDENTIAL})\b["']?\s*[=:]\s*)(?:(?P<quote>["'])(?:\\.|(?!(?P=quote)).)*"""
        r"""(?P=quote)|(?:bearer\s+|basic\s+)?[^\s&,;"'}\])]+)"""
    ),
    # Authorization: Bearer …, wherever it stands
    re.compile(r"(?i)(?P<keep>\b(?:bearer|basic|x-matrix)\s+)[A-Za-z0-9._~+/=\-]{6,}"),
    # tokens by their shape: ours and Synapse's (syt_…), registration and refresh ones
    re.compile(r"(?P<keep>\b)(?:syt|syr|syl|hd[a-z]?|mat|mct)_[A-Za-z0-9_\-+/=]{6,}(?:\.[A-Za-z0-9_\-]+)*"),
    # a registration token in the path of the operators' API
    re.compile(r"(?P<keep>/registration_tokens/)(?!new\b)[^\s/?\"']+"),
)


def redact(text: str) -> str:
    """`text` with everything that looks like a secret replaced."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{REDACTED}", text)
    return text


class HumanFormatter(logging.Formatter):
    """`2026-11-23T20:51:07.123Z INFO homeserver.http [r12] text`"""

    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        where = f"{record.name} [{current}]" if current else record.name
        line = f"{_stamp(record)} {record.levelname} {where} {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time, level, area, message`, and where they are known `request_id` and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _stamp(record),
            "level": record.levelname,
            "area": record.name,
            "message": redact(record.getMessage()),
        }
        current = request_id.get()
        if current:
            entry["request_id"] = current
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return msgspec.json.encode(_clean(entry)).decode()


def _clean(entry: dict[str, Any]) -> dict[str, Any]:
    """Text from outside may hold lone surrogates, which JSON cannot."""
    return {key: value.encode("utf-8", "backslashreplace").decode() for key, value in entry.items()}


def _stamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logs(
    *, style: str = "human", level: str = "INFO", areas: Mapping[str, str] | None = None, stream: TextIO | None = None
) -> logging.Handler:
    """Send all logs to `stream` (standard error by default). `style` is "human" or "json"; `areas` gives single areas
    a level of their own (`{"homeserver.http": "WARNING"}`). Twisted's own log goes the same way. Returns the handler.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "is_halfdoor", False):
            root.removeHandler(old)
    handler.is_halfdoor = True  # type: ignore[attr-defined]  # a mark, so that a second call replaces the first
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Below that it writes down every value that is stored: what people say, and what their passwords become (row C09).
    logging.getLogger("aiosqlite").setLevel(max(logging.WARNING, root.level))
    _join_twisted()
    for area, area_level in (areas or {}).items():
        logging.getLogger(area).setLevel(area_level.upper())
    return handler


_twisted_is_joined = False


def _join_twisted() -> None:
    """Twisted's log into ours, once in a process; its own notes on opening and closing ports are left out."""
    global _twisted_is_joined
    if not _twisted_is_joined:
        _twisted_is_joined = True
        logging.getLogger("twisted").setLevel(logging.WARNING)
        globalLogBeginner.beginLoggingTo(
            [STDLibLogObserver("twisted")],  # type: ignore[list-item]  # zope
            discardBuffer=True,
            redirectStandardIO=False,
        )
