"""What people type, made safe to pass on: no control characters (W21), no tricks with names (W20)."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 100
LONGEST_TEXT = 20_000
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029|\x0b|\x0c|\x85")


def clean_text(text: str) -> str:
    """Text without control characters and lone surrogates; line ends become \\n, tabs stay."""
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))


def clean_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A one-line label without control, format (bidirectional) and line characters, at most `longest` characters."""
    kept = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in name[: longest * 4])
    return re.sub(" +", " ", kept).strip()[:longest].strip()
