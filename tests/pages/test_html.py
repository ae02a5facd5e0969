"""The template of pages: what is text stays text."""

from __future__ import annotations

import pytest

from homeserver.pages.forms import button, checkbox, error, field, form, hidden, link_button
from homeserver.pages.html import Html, fill, join, text
from homeserver.pages.languages import Text, choose_language
from homeserver.pages.page import STYLE, STYLE_SOURCE, render_page


def test_values_are_escaped_and_html_is_not() -> None:
    assert fill('<p title="{a}">{b}</p>', a="\"'<&>", b=Html("<b>x</b>")) == (
        '<p title="&quot;&#x27;&lt;&amp;&gt;"><b>x</b></p>'
    )
    assert text("<") == "&lt;"
    assert join([text("<"), Html("<br>")]) == "&lt;<br>"


def test_a_value_is_no_template() -> None:
    assert fill("{a}", a="{b} {a.__class__}") == "{b} {a.__class__}"


@pytest.mark.parametrize("template", ["{a.b}", "{a[0]}", "{0}", "{}", "{a.__class__}"])
def test_a_template_reaches_into_no_value(template: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        fill(template, a="x")


def test_a_name_without_a_value_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        fill("{a}")


def test_pieces_of_forms_escape_what_they_are_given() -> None:
    evil = '"><script>alert(1)</script>'
    pieces = [
        form(evil, hidden(evil, evil)),
        field(evil, evil, value=evil),
        button(evil, name=evil, value=evil),
        link_button(evil, evil),
        checkbox(text(evil), evil),
        error(evil),
    ]
    for piece in pieces:
        assert "<script>" not in piece
    assert error(None) == error("") == ""


def test_the_whole_page_has_its_language_and_the_style_that_its_policy_names() -> None:
    page = render_page("zh", "<标题>", Html("<p>x</p>"), refresh_to='/x"y')
    assert page.startswith('<!DOCTYPE html><html lang="zh-Hans">')
    assert "<title>&lt;标题&gt;</title>" in page
    assert 'content="0;url=/x&quot;y"' in page
    assert f"<style>{STYLE}</style>" in page
    assert STYLE_SOURCE.startswith("'sha256-")


def test_a_text_has_both_languages() -> None:
    said = Text("Yes", "是")
    assert (said.of("en"), said.of("zh")) == ("Yes", "是")


@pytest.mark.parametrize(
    ("asked", "header", "language"),
    [
        (None, "", "en"),
        (None, "zh", "zh"),
        (None, "zh-TW", "zh"),
        (None, "zho", "en"),
        (None, "de, en;q=0.3, zh;q=0.4", "zh"),
        (None, "zh;q=0, en;q=0.1", "en"),
        (None, "zh;q=9", "en"),
        (None, ",;=,zh", "zh"),
        ("zh-CN en", "en", "zh"),
        ("xx en", "zh", "en"),
        ("xx", "zh", "zh"),
    ],
)
def test_the_first_known_language_is_spoken(asked: str | None, header: str, language: str) -> None:
    assert choose_language(asked, header) == language
