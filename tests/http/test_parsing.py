"""Bodies and query parameters, and the sentences that refuse them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from homeserver.http.parsing import (
    parse_body,
    parse_object,
    parse_query,
    query_bool,
    query_enum,
    query_int,
    query_list,
    query_string,
)
from homeserver.http.request import Request
from homeserver.protocol.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotJson


class Inner(msgspec.Struct):
    name: str
    age: int | None = None


class Outer(msgspec.Struct):
    user: Inner
    tags: list[str] = []


class Direction(enum.Enum):
    FORWARDS = "f"
    BACKWARDS = "b"


def request_with(body: bytes = b"", query: str = "") -> Request:
    return Request("POST", "/", {}, parse_query(query), {}, body, "192.0.2.1", "r1")


def test_a_body_becomes_a_struct() -> None:
    outer = parse_body(request_with(b'{"user":{"name":"a","more":1},"tags":["x"]}'), Outer)
    assert (outer.user.name, outer.user.age, outer.tags) == ("a", None, ["x"])


@pytest.mark.parametrize(
    ("body", "error", "sentence"),
    [
        (b'{"user":{}}', MissingParam, "The body lacks the required member 'user.name'."),
        (b"{}", MissingParam, "The body lacks the required member 'user'."),
        (b'{"user":{"name":1}}', BadJson, "The body is not right at 'user.name': expected a string, got an integer."),
        (b'{"user":{"name":"a","age":"1"}}', BadJson, "at 'user.age': expected an integer or null, got a string."),
        (b'{"user":{"name":"a"},"tags":["x",2]}', BadJson, "at 'tags[1]': expected a string, got an integer."),
        (b"[]", BadJson, "The body is not right: expected an object, got an array."),
        (b'{"user":{"name":true}}', BadJson, "at 'user.name': expected a string, got true or false."),
        (b"", NotJson, "The body is not JSON"),
        (b"{", NotJson, "The body is not JSON"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_a_sentence(
    body: bytes, error: type[MatrixError], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        parse_body(request_with(body), Outer)
    assert sentence in caught.value.message


def test_an_empty_body_is_an_empty_object_only_where_that_is_asked_for() -> None:
    assert parse_object(request_with(b""), allow_empty=True) == {}
    with pytest.raises(NotJson):
        parse_object(request_with(b""))


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true", b"1.5"])
def test_an_object_is_nothing_else(body: bytes) -> None:
    with pytest.raises(BadJson, match="must be a JSON object, not "):
        parse_object(request_with(body))


def test_query_parameters_are_decoded_once() -> None:
    assert parse_query("a=1&a=%2526&b=x+y%2B&c&&=z") == {"a": ["1", "%26"], "b": ["x y+"], "c": [""], "": ["z"]}


@pytest.mark.parametrize("query", ["a=%ff", "a=%00", "%ED%A0%80=1", "&".join("a" * 201)])
def test_a_query_that_cannot_be_kept_is_refused(query: str) -> None:
    with pytest.raises(InvalidParam):
        parse_query(query)


def test_absent_parameters_have_their_default_or_are_missing() -> None:
    request = request_with()
    assert query_string(request, "a", None) is None
    assert query_int(request, "a", 7) == 7
    assert query_bool(request, "a", False) is False
    assert query_enum(request, "a", Direction.FORWARDS, Direction) is Direction.FORWARDS
    assert query_list(request, "a") == []
    readers: list[Callable[[Request, str], Any]] = [query_string, query_int, query_bool]
    for read in readers:
        with pytest.raises(MissingParam, match="'a' is required"):
            read(request, "a")


def test_parameters_have_their_types() -> None:
    request = request_with(query="n=10&yes=true&no=false&dir=b&via=x&via=y&s=t")
    assert query_int(request, "n") == 10
    assert query_int(request, "n", maximum=5, clamp=True) == 5
    assert query_bool(request, "yes") is True
    assert query_bool(request, "no") is False
    assert query_enum(request, "dir", Direction.FORWARDS, Direction) is Direction.BACKWARDS
    assert query_list(request, "via") == ["x", "y"]
    assert query_string(request, "s") == "t"


@pytest.mark.parametrize("value", ["", "x", "1.0", "1e3", "+1", " 1", "0x1", "١", "9" * 18, "1_0"])
def test_an_integer_is_decimal_digits(value: str) -> None:
    with pytest.raises(InvalidParam, match="'n'"):
        query_int(request_with(query=f"n={quote(value)}"), "n")


@pytest.mark.parametrize(
    "read",
    [
        lambda request: query_int(request, "a", 0, 0, 5),
        lambda request: query_bool(request, "a"),
        lambda request: query_enum(request, "a", None, Direction),
        lambda request: query_string(request, "a", max_length=1),
        lambda request: query_list(request, "a", max_length=1),
        lambda request: query_string(request, "b"),
        lambda request: query_list(request, "b", max_items=1),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_name(read: Callable[[Request], Any]) -> None:
    with pytest.raises(InvalidParam, match=r"'[ab]'"):
        read(request_with(query="a=99&b=1&b=2"))
