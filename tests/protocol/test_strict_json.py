"""The strict decoder: the rows of known attack D06, and agreement with Python's own on everything else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.errors import BadJson, NotJson
from homeserver.protocol.strict_json import decode
from tests.protocol.json_values import legacy_values

NOT_JSON = {
    "nothing": b"",
    "only space": b"  \n",
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "invalid UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'"\xc0\x80"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "half pair at the end": b'"\\ud800"',
    "half pair before a character": b'"\\ud800a"',
    "half pair before another escape": b'"\\ud800\\u0041"',
    "low half alone": b'"\\udc00"',
    "halves in the wrong order": b'"\\udc00\\ud800"',
    "half pair in a key": b'{"\\ud800": 1}',
    "raw control character": b'"\x1f"',
    "raw NUL": b'"\x00"',
    "leading zero": b"[01]",
    "plus sign": b"[+1]",
    "bare minus": b"[-]",
    "trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
    "comment": b"{} // no",
    "two values": b"{}{}",
    "cut off": b'{"a": ',
    "deep and unclosed": b"[" * 200,
}

BAD_JSON = {
    "1e400": b'{"a": 1e400}',
    "-1e400": b"[-1e400]",
    "escaped NUL": b'{"a": "x\\u0000y"}',
    "escaped NUL in a key": b'{"a\\u0000": 1}',
    "escaped NUL deep inside": b'[[{"a": [{"b": "\\u0000"}]}]]',
    "101 levels": b"[" * 101 + b"]" * 101,
    "101 levels of objects": b'{"a":' * 101 + b"1" + b"}" * 101,
    "100 000 levels": b"[" * 100_000 + b"]" * 100_000,
    "65 bits": b"[9223372036854775808]",
    "many digits": b"[" + b"1" * 400 + b"]",
    "very many digits": b"[" + b"1" * 100_000 + b"]",
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
def test_D06_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises((NotJson, BadJson) if data.startswith(b"[[[") else NotJson):
        decode(data)


@pytest.mark.parametrize("data", BAD_JSON.values(), ids=BAD_JSON)
def test_D06_json_that_cannot_be_kept_is_refused(data: bytes) -> None:
    with pytest.raises(BadJson):
        decode(data)


def test_a_hundred_levels_are_allowed() -> None:
    value = decode(b"[" * 100 + b"]" * 100)
    for _ in range(99):
        value = value[0]
    assert value == []


def test_brackets_and_escaped_backslashes_inside_strings_are_only_text() -> None:
    assert decode(json.dumps("[{" * 1000).encode()) == "[{" * 1000
    assert decode(b'"\\\\u0000"') == "\\u0000"


def test_the_last_of_duplicate_keys_counts() -> None:
    assert decode(b'{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}


def test_negative_zero_is_zero_and_floats_are_floats() -> None:
    assert decode(b"[-0, 1.5, 1e3, 1e-400]") == [0, 1.5, 1000.0, 0.0]
    assert type(decode(b"-0")) is int


def test_what_is_not_an_object_is_still_json() -> None:
    assert [decode(data) for data in (b"1", b'"a"', b"null", b"[]", b" true ")] == [1, "a", None, [], True]


def test_ten_megabytes_of_text_are_decoded() -> None:
    assert len(decode(b'"' + b"a" * 10_000_000 + b'"')) == 10_000_000


@given(legacy_values)
def test_everything_else_means_what_python_says_it_means(value: Any) -> None:
    data = json.dumps(value).encode()
    if "\\u0000" in json.dumps(value):
        return
    if _integers_fit(value):
        assert decode(data) == json.loads(data)


@given(st.binary(max_size=60) | st.text('{}[]":,0123456789.eE+-\\untrfalsd \n', max_size=40).map(str.encode))
def test_D06_no_bytes_raise_anything_but_not_json_or_bad_json(data: bytes) -> None:
    with contextlib.suppress(NotJson, BadJson):
        assert decode(data) == json.loads(data)


def _integers_fit(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_integers_fit, value.values()))
    if isinstance(value, list):
        return all(map(_integers_fit, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63
