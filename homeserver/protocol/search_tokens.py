"""The words of a text for the full-text index, the same for SQLite (FTS5) and PostgreSQL (tsvector).

Both engines cut text into words in ways of their own, neither of which knows Chinese. So the cutting is done here, and
the engines are given tokens of ASCII letters and digits, which both keep as they are (FTS5 with `unicode61` or `ascii`,
PostgreSQL with the configuration `simple`):

- A word of letters and digits, after NFKC and case folding and without the accents of Latin letters, is `w` and the
  word (`Café` is `wcafe`); if other letters remain, `x` and its UTF-8 in hexadecimal (`Привет` is `xd0bf…`). A prefix
  of a word is a prefix of its token.
- Scripts that do not put spaces between words (Chinese, Japanese, Korean, Thai, …) are cut into runs, and a run into
  pairs of characters, followed by the single characters: `你好吗` is `c4f60c597d c597dc5417 c4f60 c597d c5417`. So a
  query of one or two characters is one token, and a longer one is its pairs as a phrase, found only where they follow
  one another.

A query is a list of groups, all of which must be found; a group is a phrase: tokens that stand next to one another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

MAX_WORD_LENGTH: Final = 64
"""Characters of a word that count; what is longer is cut, in the index and in queries alike."""
MAX_INDEX_TERMS: Final = 20_000
"""Of one text; an event of 64 KiB full of Chinese has more, and its end is not found."""
MAX_QUERY_TERMS: Final = 64
"""Of one query; what comes later is ignored (D18)."""

_UNSPACED: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # 々〆〇 and numerals
    "\u3040-\u309f"  # Hiragana
    "\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Katakana, with ー and without ・
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U0001aff0-\U0001b16f"  # Kana extensions
    "\U00020000-\U0003ffff"  # Han, supplementary
)
# Vowel signs and points, which belong to the words they are written on (Cyrillic, Hebrew, Arabic, scripts of India).
_MARKS: Final = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0dff"
_RUNS: Final = re.compile(f"(?P<unspaced>[{_UNSPACED}]+)|(?P<word>(?:[^\\W_{_UNSPACED}]|[{_MARKS}])+)|(?P<space>\\s+)")
_ACCENTS_OF_LATIN: Final = re.compile("(?<=[a-z])[\u0300-\u036f]+")


def normalized(text: str) -> str:
    """The form in which texts are compared: NFKC, case folded, Latin letters without accents."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _ACCENTS_OF_LATIN.sub("", unicodedata.normalize("NFKD", folded)))


def index_terms(text: str) -> list[str]:
    """The tokens of a text in their order, at most MAX_INDEX_TERMS. Join them with spaces for the index."""
    terms: list[str] = []
    for kind, run in _runs(text):
        if kind == "word":
            terms.append(_word(run))
        elif kind == "unspaced":
            terms += _pairs(run)
            terms += [_character(character) for character in run]
        if len(terms) >= MAX_INDEX_TERMS:
            return terms[:MAX_INDEX_TERMS]
    return terms


def query_terms(text: str) -> list[list[str]]:
    """The groups of a query: all must be found, each as a phrase. Empty if the query holds no word at all.

    What is written without a space, such as `example.com`, is one phrase; so is a run of Chinese.
    """
    groups: list[list[str]] = []
    joined = False
    left = MAX_QUERY_TERMS
    for kind, run in _runs(text):
        if kind == "space":
            joined = False
            continue
        terms = [_word(run)] if kind == "word" else _pairs(run) or [_character(run)]
        terms = terms[:left]
        left -= len(terms)
        if not terms:
            break
        if kind == "word" and joined:
            groups[-1] += terms
        else:
            groups.append(terms)
        # Single characters stand between a run and what follows it, so a phrase cannot go on across its end.
        joined = kind == "word"
    return groups


def fts5_query(groups: Sequence[Sequence[str]], *, prefix: bool = False) -> str:
    """The groups as a MATCH expression of SQLite. `prefix`: the last word may go on (search as one types)."""
    phrases = [f'"{" ".join(group)}"' for group in groups]
    if prefix and phrases:
        phrases[-1] += "*"
    return " AND ".join(phrases)


def tsquery(groups: Sequence[Sequence[str]], *, prefix: bool = False) -> str:
    """The groups as text for PostgreSQL's `to_tsquery('simple', …)`. `prefix` as in `fts5_query`."""
    phrases = [" <-> ".join(group) for group in groups]
    if prefix and phrases:
        phrases[-1] += ":*"
    return " & ".join(phrases)


def highlights(text: str) -> list[str]:
    """What a client should mark in the results of a query: its words and runs, as `/search` returns them."""
    return list(dict.fromkeys(run for kind, run in _runs(text) if kind != "space"))[:MAX_QUERY_TERMS]


def _runs(text: str) -> Iterator[tuple[str, str]]:
    for match in _RUNS.finditer(normalized(text)):
        yield match.lastgroup or "", match[0]


def _word(word: str) -> str:
    word = word[:MAX_WORD_LENGTH]
    return "w" + word if word.isascii() else "x" + word.encode().hex()


def _character(character: str) -> str:
    return f"c{ord(character):x}"


def _pairs(run: str) -> list[str]:
    codes = [_character(character) for character in run]
    return [first + second for first, second in pairwise(codes)]
