"""Globs: what they match, that words end where the spec says, and that no pattern makes them slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.globs import Glob, GlobText, fold_case, glob
from homeserver.protocol.property_paths import MISSING, parse_path, property_at


def words(pattern: str, text: str) -> bool:
    return glob(pattern).matches_words(GlobText(fold_case(text)))


def whole(pattern: str, text: str) -> bool:
    return glob(pattern).matches(fold_case(text))


@pytest.mark.parametrize("text", ["Lunch plans", "LUNCH"])
def test_the_spec_examples_of_whole_values_match(text: str) -> None:
    assert whole("lunc?*", text)


@pytest.mark.parametrize("text", [" lunch", "lunc"])
def test_the_spec_examples_of_whole_values_that_do_not_match(text: str) -> None:
    assert not whole("lunc?*", text)


@pytest.mark.parametrize("text", ["An example event.", "exple", "An exciting triple-whammy"])
def test_the_spec_examples_of_words_match(text: str) -> None:
    assert words("ex*ple", text)


@pytest.mark.parametrize(
    ("pattern", "text"), [("ex*ple", "An examples event"), ("cake", "cakes"), ("cake", "_cake"), ("cake", "1cake")]
)
def test_a_word_pattern_does_not_match_within_a_word(pattern: str, text: str) -> None:
    assert not words(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("你好", "我说你好吗"),
        ("开会", "下午三点开会,别忘了"),
        ("开?", "下午开会"),
        ("开会", "abc开会def"),
        ("会", "会"),
        ("王小明", "@王小明 在吗"),
        ("こんにちは", "みなさんこんにちは!"),
        ("bug", "这个bug很严重"),
        ("上午*开会", "明天上午九点开会吧"),
    ],
)
def test_a_keyword_is_found_within_text_that_has_no_spaces(pattern: str, text: str) -> None:
    assert words(pattern, text)


def test_a_chinese_keyword_that_is_not_there_is_not_found() -> None:
    assert not words("开会", "会开")
    assert not words("bug", "debug工具")


def test_a_later_place_is_found_when_an_earlier_one_is_within_a_word() -> None:
    assert words("ca?e", "cakes and a cave")
    assert words("a*b", "xa a xb b")


def test_wildcards_at_the_ends_reach_the_ends_of_the_text() -> None:
    assert words("*cake", "cheesecake")
    assert words("cake*", "cakes")
    assert words("*", "")
    assert not words("?", "")
    assert words("?", "a")
    assert not words("?", "ab")


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_whole_values_match_as_an_obviously_right_expression_does(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(character, character) for character in pattern)
    assert whole(pattern, text) == (re.fullmatch(expression, text, re.DOTALL) is not None)


@given(st.text("ab*?_", max_size=7), st.text("ab _你", max_size=9))
def test_words_match_as_an_obviously_right_search_does(pattern: str, text: str) -> None:
    expression = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)

    def boundary(place: int) -> bool:
        return place in (0, len(text)) or not re.fullmatch("[A-Za-z0-9_]{2}", text[place - 1 : place + 1])

    expected = any(
        boundary(start) and boundary(end) and expression.fullmatch(text, start, end)
        for start in range(len(text) + 1)
        for end in range(start, len(text) + 1)
    )
    assert words(pattern, text) == expected


@given(st.text("ab _你", min_size=1, max_size=4), st.text("ab _你", max_size=9))
def test_a_literal_word_is_found_where_the_glob_finds_it(literal: str, text: str) -> None:
    assert GlobText(text).contains_word(literal) == words(literal, text)


def test_a_question_mark_is_literal_where_only_stars_are_wildcards() -> None:
    assert Glob("m.?*", single=False).matches("m.?x")
    assert not Glob("m.?*", single=False).matches("m.ax")


@pytest.mark.parametrize("pattern", ["*a" * 400 + "b", "a?" * 400 + "b", "a*" * 400 + "b", "?" * 400 + "b*a?b"])
def test_D07_patterns_that_make_regular_expressions_explode_take_linear_time(pattern: str) -> None:
    subject = GlobText("a" * 60_000 + "c" + "b")
    started = time.process_time()
    glob(pattern).matches_words(subject)
    glob(pattern).matches(subject)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to", ("content", "m.relates_to")),
        (r"content.m\\foo", ("content", r"m\foo")),
        (r"content.\x", ("content", r"\x")),
        ("content\\", ("content\\",)),
        ("", ("",)),
        ("a..b", ("a", "", "b")),
    ],
)
def test_paths_are_split_at_dots_that_are_not_escaped(path: str, names: tuple[str, ...]) -> None:
    assert parse_path(path) == names


def test_a_property_is_found_in_objects_only() -> None:
    assert property_at({"a": {"b.c": 1}}, parse_path(r"a.b\.c")) == 1
    assert property_at({"a": None}, ("a",)) is None
    assert property_at({"a": ["b"]}, ("a", "0")) is MISSING
    assert property_at({"a": "b"}, ("a", "b")) is MISSING
