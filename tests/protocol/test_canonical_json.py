"""Canonical JSON: the specification's examples, what is refused, and properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson
from tests.protocol.json_values import canonical_values, legacy_values, texts

# Spec: appendices, "Canonical JSON", "Examples".
EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",'
        '"three_pids": [{"medium": "email", "address": "john.doe@example.org"},'
        '{"medium": "msisdn", "address": "123456789"}]}}}',
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":'
        '"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
]


@pytest.mark.parametrize(("given_json", "expected"), EXAMPLES)
def test_examples_of_the_specification(given_json: str, expected: str) -> None:
    value = json.loads(given_json)
    canonical_json.check(value)
    assert canonical_json.encode(value).decode() == expected
    assert canonical_json.encode_checked(value).decode() == expected


def test_control_characters_are_escaped_as_the_grammar_says() -> None:
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028'
    expected = (
        '"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\\u0010\\u0011'
        "\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f"
        '\\"\\\\/\x7f\u2028"'
    )
    assert canonical_json.encode(text).decode() == expected
    assert canonical_json.encode_checked(text).decode() == expected


@given(canonical_values)
def test_what_is_encoded_decodes_to_the_same_value(value: Any) -> None:
    assert json.loads(canonical_json.encode(value)) == value


@given(legacy_values)
def test_encoding_again_changes_nothing(value: Any) -> None:
    once = canonical_json.encode(value)
    assert canonical_json.encode(json.loads(once)) == once


@given(canonical_values)
def test_both_encoders_agree_on_what_passes_the_check(value: Any) -> None:
    canonical_json.check(value)
    assert canonical_json.encode_checked(value) == canonical_json.encode(value)


@given(st.dictionaries(texts, st.integers(0, 9), min_size=2))
def test_keys_are_ordered_by_code_point_whatever_the_order_they_came_in(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical_json.encode(backwards) == canonical_json.encode(value)
    keys = list(json.loads(canonical_json.encode(value)))
    assert keys == sorted(value, key=lambda key: [ord(character) for character in key])


def ascii_id(number: float) -> str:
    return "huge" if abs(number) > 2**64 and number != float("inf") else str(number)


@pytest.mark.parametrize(
    "number", [2**53, -(2**53), 10**4400, 1.0, 1.5, float("nan"), float("inf"), -0.0], ids=ascii_id
)
@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [n], lambda n: {"a": [{"b": n}]}])
def test_D06_numbers_outside_of_canonical_json_are_refused(number: float, wrap: Any) -> None:
    with pytest.raises(BadJson):
        canonical_json.check(wrap(number))


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0, -1])
def test_numbers_at_the_edge_pass(number: int) -> None:
    canonical_json.check({"a": [number]})


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\ud83d"], {1: 2}, {"a": object()}, [b"bytes"], {1, 2}])
def test_D06_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(BadJson):
        canonical_json.check(value)


def test_surrogates_that_are_half_a_pair_cannot_be_encoded() -> None:
    with pytest.raises(BadJson):
        canonical_json.encode({"a": "\ud800"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_is_not_json_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(BadJson):
        canonical_json.encode(value)


def _nest(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_D06_nesting_is_refused_beyond_a_hundred_levels_and_exhausts_no_stack() -> None:
    canonical_json.check(_nest(100))
    for depth in (101, 1000, 100_000):
        nested = _nest(depth)
        with pytest.raises(BadJson):
            canonical_json.check(nested)
        with pytest.raises(BadJson):
            canonical_json.check_legacy(nested)


def test_old_room_versions_tolerate_floats_and_integers_of_64_bits() -> None:
    canonical_json.check_legacy({"a": [1.5, 2**63 - 1, -(2**63) + 1]})
    for number in (2**63, float("inf"), float("nan")):
        with pytest.raises(BadJson):
            canonical_json.check_legacy({"a": number})
