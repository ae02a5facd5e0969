"""Names, types and dispositions of files that others wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.media.file_names import INLINE_TYPES, clean_content_type, clean_file_name, content_disposition


@given(st.text(max_size=600))
def test_E07_no_file_name_breaks_out_of_its_header(name: str) -> None:
    header = content_disposition("image/png", name)
    assert header.isascii()
    assert header.isprintable()
    assert len((clean_file_name(name) or "").encode()) <= 255
    if "filename=" in header:
        inner = header.removeprefix('inline; filename="').removesuffix('"')
        assert '"' not in inner.replace("\\\\", "").replace('\\"', "")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("cat.png", 'inline; filename="cat.png"'),
        ('a"b\\c.png', 'inline; filename="a\\"b_c.png"'),
        ("Küche;1.png", "inline; filename*=utf-8''K%C3%BCche%3B1.png"),
        ("../../etc/passwd", 'inline; filename=".._.._etc_passwd"'),
        ("a\r\nSet-Cookie: x", 'inline; filename="aSet-Cookie: x"'),
        ("a\u202egnp.exe", 'inline; filename="agnp.exe"'),
        ("\0", "inline"),
        ("..", "inline"),
        (None, "inline"),
    ],
)
def test_E07_file_names_are_written_as_the_rfc_says(name: str | None, header: str) -> None:
    assert content_disposition("image/png", name) == header


def test_E07_a_long_name_is_cut_and_keeps_its_ending() -> None:
    cut = clean_file_name("ü" * 300 + ".png")
    assert cut is not None
    assert cut.endswith("ü.png")
    assert len(cut.encode()) <= 255


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "text/javascript",
        "application/pdf",
        "application/octet-stream",
        "IMAGE/SVG+XML",
        "text/html; charset=utf-8",
        "image/png/../html",
    ],
)
def test_E02_what_a_browser_may_run_is_an_attachment(content_type: str) -> None:
    assert content_disposition(clean_content_type(content_type), "x") == 'attachment; filename="x"'


def test_E02_the_inline_types_are_those_of_the_specification() -> None:
    assert len(INLINE_TYPES) == 26
    assert all(content_disposition(each, None) == "inline" for each in INLINE_TYPES)
    assert content_disposition("Text/Plain; charset=utf-8", None) == "inline"


@given(st.text(max_size=300))
def test_E02_no_content_type_breaks_out_of_its_header(text: str) -> None:
    made = clean_content_type(text)
    assert made.isascii()
    assert made.isprintable() or "\t" in made
    assert "\n" not in made
    assert "\r" not in made
