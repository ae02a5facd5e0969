"""Placeholders are numbered for PostgreSQL, and only placeholders."""

from __future__ import annotations

import pytest

from homeserver.storage.placeholders import numbered


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT a FROM t WHERE a = ? AND b IN (?, ?)", "SELECT a FROM t WHERE a = $1 AND b IN ($2, $3)"),
        ("SELECT '?', 'it''s ?', ? FROM \"odd ? name\"", "SELECT '?', 'it''s ?', $1 FROM \"odd ? name\""),
        ("SELECT ? -- why?\n, ?", "SELECT $1 -- why?\n, $2"),
        ("SELECT /* a ? \n ? */ ?", "SELECT /* a ? \n ? */ $1"),
        (f"VALUES ({', '.join('?' * 12)})", f"VALUES ({', '.join(f'${n}' for n in range(1, 13))})"),
    ],
)
def test_question_marks_become_numbers_outside_quotes_and_comments(ours: str, theirs: str) -> None:
    assert numbered(ours) == theirs
    assert numbered(ours) is numbered(ours)  # remembered
