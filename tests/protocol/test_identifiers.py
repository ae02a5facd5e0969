"""Identifiers, by the grammar of the appendices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol import identifiers
from homeserver.protocol.errors import InvalidParam, InvalidUsername
from homeserver.protocol.identifiers import (
    domain_of,
    is_compliant_user_id,
    is_hash_id,
    is_server_name,
    is_user_id,
    localpart_of,
    new_user_id,
    parse_device_id,
    parse_event_id,
    parse_namespaced,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
)

SERVER = parse_server_name("a.example")


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "A-b.c",
    ],
)
def test_server_names_of_the_specification_are_valid(name: str) -> None:
    assert parse_server_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":80",
        "a b",
        "a_b",
        "a.example:",
        "a.example:123456",
        "a.example:65536",
        "a:b",
        "[::1",
        "::1",
        "[1:2]",
        "[zz]",
        "a" * 256,
        "ä.example",
        "a.example\n",
        "a.example\x00",
        "a/b",
        "a.example:8٣",
    ],
)
def test_other_server_names_are_invalid(name: str) -> None:
    assert not is_server_name(name)
    with pytest.raises(InvalidParam):
        parse_server_name(name)


@pytest.mark.parametrize("text", ["@a:b", "@:b", "@A b!:b:80", "@ü\x01:b", "@x/+=:[::1]:80", "@" + "a" * 252 + ":b"])
def test_historical_user_ids_are_accepted(text: str) -> None:
    assert parse_user_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "a:b", "@a", "@a:", "@a:b c", "@a\0:b", "@a\ud800:b", "@" + "a" * 253 + ":b", "@" + "ü" * 127 + ":b"]
)
def test_other_user_ids_are_refused(text: str) -> None:
    assert not is_user_id(text)
    with pytest.raises(InvalidParam) as error:
        parse_user_id(text)
    error.value.message.encode("ascii")


def test_user_ids_that_do_not_comply_are_told_apart() -> None:
    assert is_compliant_user_id("@A!~:b")
    assert not any(map(is_compliant_user_id, ["@:b", "@a b:b", "@ü:b", "a:b"]))


def test_room_ids_may_have_a_domain_or_none() -> None:
    for text in ("!a:b", "!a b:b", "!" + "x" * 43, "!abc"):
        assert parse_room_id(text) == text
    for text in ("", "!", "a:b", "#a:b", "!a:", "!a:b c", "!a\0", "!" + "x" * 255):
        with pytest.raises(InvalidParam):
            parse_room_id(text)


def test_event_ids_are_opaque() -> None:
    for text in ("$a:b", "$" + "x" * 43, "$a/+b", "$a"):
        assert parse_event_id(text) == text
    for text in ("", "$", "a", "$a\0", "$" + "x" * 255):
        with pytest.raises(InvalidParam):
            parse_event_id(text)


def test_room_aliases_have_a_domain() -> None:
    assert parse_room_alias("#größe x:b") == "#größe x:b"
    for text in ("#a", "a:b", "#a:b c", "#\0:b", "#" + "ü" * 127 + ":b"):
        with pytest.raises(InvalidParam):
            parse_room_alias(text)


def test_hash_ids_are_a_sigil_and_43_characters() -> None:
    assert is_hash_id("$" + "aZ09-_" * 7 + "a")
    assert not any(
        map(is_hash_id, ["", "$", "$" + "a" * 42, "$" + "a" * 44, "$" + "a" * 42 + "/", "$" + "a" * 43 + "\n"])
    )


def test_device_ids_are_opaque_but_not_empty_nor_long() -> None:
    assert parse_device_id("Größe 1") == "Größe 1"
    for text in ("", "a" * 256, "a\0", "\ud800"):
        with pytest.raises(InvalidParam):
            parse_device_id(text)


def test_namespaced_identifiers() -> None:
    assert parse_namespaced("com.example.x-y_1") == "com.example.x-y_1"
    for text in ("", "A", "1a", "a b", "a" * 256, "a\n"):
        with pytest.raises(InvalidParam):
            parse_namespaced(text)


def test_new_users_get_ids_in_the_strict_grammar() -> None:
    assert new_user_id("a.b_c=d-e/f+1", SERVER) == "@a.b_c=d-e/f+1:a.example"
    for localpart in ("", "Alice", "a b", "a:b", "ü", "a\n", "a" * 250):
        with pytest.raises(InvalidUsername):
            new_user_id(localpart, SERVER)


def test_parts_of_identifiers() -> None:
    assert domain_of("@a:b.example:80") == "b.example:80"
    assert localpart_of("@a:b.example:80") == "a"
    assert domain_of("$hash") == ""
    assert localpart_of("!hash") == "hash"


@given(st.text(max_size=40))
@pytest.mark.parametrize(
    "parse",
    [
        parse_user_id,
        parse_room_id,
        parse_event_id,
        parse_room_alias,
        parse_server_name,
        parse_device_id,
        parse_namespaced,
    ],
)
def test_parsing_returns_the_text_or_raises_invalid_param(parse: Callable[[str], str], text: str) -> None:
    for candidate in (text, f"@{text}:a.example", f"!{text}", f"${text}", f"#{text}:b", f"@a:{text}"):
        try:
            assert parse(candidate) == candidate
        except InvalidParam as error:
            error.message.encode("ascii")


def test_caches_of_identifiers_are_bounded() -> None:
    assert identifiers.is_user_id.cache_info().maxsize is not None
    assert identifiers.is_server_name.cache_info().maxsize is not None
