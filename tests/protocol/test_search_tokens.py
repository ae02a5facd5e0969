"""Search tokens: what is found by which query, tried on SQLite's own full-text index with its usual tokenizer."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.search_tokens import (
    MAX_INDEX_TERMS,
    MAX_QUERY_TERMS,
    fts5_query,
    highlights,
    index_terms,
    query_terms,
    tsquery,
)


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(terms, tokenize='unicode61')")
    yield connection
    connection.close()


def found(index: sqlite3.Connection, query: str, text: str, *, prefix: bool = False) -> bool:
    index.execute("DELETE FROM words")
    index.execute("INSERT INTO words VALUES (?)", (" ".join(index_terms(text)),))
    match = fts5_query(query_terms(query), prefix=prefix)
    return bool(index.execute("SELECT count(*) FROM words WHERE words MATCH ?", (match,)).fetchone()[0])


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("好", "你好吗"),
        ("你", "你好吗"),
        ("吗", "你好吗"),
        ("你好", "我说你好吗"),
        ("好吗", "我说你好吗"),
        ("三点开会", "下午三点开会,别忘了"),
        ("下午 开会", "下午三点开会,别忘了"),
        ("开会", "abc开会def"),
        ("def", "abc开会def"),
        ("bug", "这个bug很严重"),
        ("这个bug", "这个BUG很严重"),
        ("テスト", "コンピュータのテスト"),
        ("ﾃｽﾄ", "コンピュータのテスト"),
        ("コンピューター", "コンピューター"),
        ("が", "雨が降る"),
        ("한국", "한국어 공부"),
        ("สวัส", "สวัสดีครับ"),
        ("𠮷野家", "今日は𠮷野家で"),
        ("hello", "Hello, World!"),
        ("WORLD hello", "Hello, World!"),
        ("cafe", "Au Café"),
        ("café", "au cafe"),
        ("привет", "Привет, мир"),
        ("straße", "STRASSE"),
        ("fi", "ﬁ"),
        ("example.com", "see https://example.com/path"),
        ("don't", "I don't know"),
        ("3.14", "pi is 3.14"),
        ("1e5", "a1 1e5 0x1f"),
        ("0x1f", "a1 1e5 0x1f"),
        ("हिन्दी", "मुझे हिन्दी आती है"),
        ("foo_bar", "call foo_bar()"),
    ],
)
def test_a_query_finds_the_text(index: sqlite3.Connection, query: str, text: str) -> None:
    assert found(index, query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("好你", "你好"),
        ("开会吧", "会吧,开会"),
        ("上海大学", "大学在上海,上海很大"),
        ("hell", "hello"),
        ("hello mars", "hello world"),
        ("example.com", "com example"),
        ("мир", "миры"),
        ("日", "月"),
    ],
)
def test_a_query_does_not_find_what_the_text_does_not_say(index: sqlite3.Connection, query: str, text: str) -> None:
    assert not found(index, query, text)


@pytest.mark.parametrize(
    ("query", "text"), [("ali", "Alice"), ("alice sm", "Alice Smith"), ("小", "小明"), ("при", "Привет")]
)
def test_a_prefix_finds_names_as_one_types(index: sqlite3.Connection, query: str, text: str) -> None:
    assert found(index, query, text, prefix=True)


@given(st.text("你好吗a b,", min_size=1, max_size=12), st.data())
def test_every_part_of_a_chinese_text_is_found(index: sqlite3.Connection, text: str, data: st.DataObject) -> None:
    runs = re.findall("[你好吗]+", text)
    if runs:
        run = data.draw(st.sampled_from(runs))
        start = data.draw(st.integers(0, len(run) - 1))
        part = run[start : data.draw(st.integers(start + 1, len(run)))]
        assert found(index, part, text)
    absent = data.draw(st.text("你好吗", min_size=1, max_size=4))
    assert found(index, absent, text) == (absent in text)


@given(st.text())
def test_tokens_are_plain_ascii_whatever_the_text(text: str) -> None:
    terms = index_terms(text) + [term for group in query_terms(text) for term in group]
    assert all(re.fullmatch("[wxc][0-9a-z]+", term) for term in terms)


@given(st.text(min_size=1))
def test_D18_no_query_is_a_syntax_error(index: sqlite3.Connection, query: str) -> None:
    groups = query_terms(query)
    assert all(groups)
    if groups:
        found(index, query, "x", prefix=True)


def test_expressions_of_postgresql_are_phrases_joined_by_and() -> None:
    assert tsquery(query_terms("你好吗 hello")) == "c4f60c597d <-> c597dc5417 & whello"
    assert tsquery(query_terms("ali"), prefix=True) == "wali:*"
    assert tsquery([]) == fts5_query([]) == ""


def test_text_without_words_has_no_tokens() -> None:
    assert index_terms("… !?") == []
    assert query_terms(" \n") == []


def test_D18_texts_and_queries_have_limits() -> None:
    assert len(index_terms("字" * 60_000)) == MAX_INDEX_TERMS
    assert sum(map(len, query_terms("字 a " * 1000))) == MAX_QUERY_TERMS
    assert sum(map(len, query_terms("字词" * 1000))) == MAX_QUERY_TERMS
    assert max(map(len, index_terms("я" * 1000 + " " + "a" * 1000))) <= 300


def test_a_word_that_is_too_long_is_found_by_itself(index: sqlite3.Connection) -> None:
    assert found(index, "a" * 1000, "a" * 1000)


def test_highlights_are_the_words_of_the_query() -> None:
    assert highlights("Hello 你好 hello") == ["hello", "你好"]
