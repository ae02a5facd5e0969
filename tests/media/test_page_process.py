"""What is read out of pages."""

from __future__ import annotations

import pytest

from homeserver.media.page_process import Page, read, text_of
from homeserver.media.page_reader import PageFacts, PageLimits, PageReader


def said(html: str) -> dict[str, object]:
    page = Page()
    page.feed(html)
    page.close()
    return read(page)


def test_opengraph_comes_first() -> None:
    answer = said(
        """<html><head><title>The title</title><meta name="description" content="Other">
        <meta property="og:title" content="A &amp; B"><meta property="og:description" content=" two
        lines "><meta property="og:site_name" content="Site"><meta property="og:image" content="/p.png">
        <meta property="og:image:width" content="99999"><meta property="og:unknown" content="x"></head></html>"""
    )
    assert answer["properties"] == {"og:title": "A & B", "og:description": "two lines", "og:site_name": "Site"}
    assert answer["image"] == "/p.png"


@pytest.mark.parametrize(
    ("html", "properties", "image"),
    [
        ("<title> A  title\n</title>", {"og:title": "A title"}, None),
        ("<h1>A heading</h1><p>Words.", {"og:title": "A heading", "og:description": "Words."}, None),
        (
            "<title>T</title><script>no()</script><style>no</style><nav>no</nav><p>First.</p><svg><title>no</title></svg>",
            {"og:title": "T", "og:description": "First."},
            None,
        ),
        (
            '<meta name="twitter:title" content="T"><meta name="twitter:image" content="t.png">',
            {"og:title": "T"},
            "t.png",
        ),
        ('<title>T</title><link rel="image_src" href="i.png">', {"og:title": "T"}, "i.png"),
        (
            "<title>T</title><img src=a.gif width=1 height=1><img src=b.png width=640 height=480>",
            {"og:title": "T"},
            "b.png",
        ),
        ('<title>T</title><link rel="apple-touch-icon" href="/touch.png"/>', {"og:title": "T"}, "/touch.png"),
        ("", {}, None),
        ("<p>Only words have no title.", {}, None),
        ("\x00<><!><!--<title>no</title>", {}, None),
    ],
)
def test_pages_without_it_tell_what_they_have(html: str, properties: dict[str, str], image: str | None) -> None:
    answer = said(html)
    assert (answer["properties"], answer["image"]) == (properties, image)


def test_long_texts_are_cut_and_kept_to_a_line() -> None:
    answer = said(f'<title>{"字" * 5000}</title><meta name=description content="a\u202eb\x00c{"d" * 5000}">')
    properties = answer["properties"]
    assert isinstance(properties, dict)
    assert properties["og:title"] == "字" * 299 + "…"
    assert properties["og:description"].startswith("a b c")
    assert len(properties["og:description"]) == 1000


CHINESE = "<html><head>{meta}<title>中文網頁 标题</title></head></html>"


@pytest.mark.parametrize(
    ("codec", "charset", "meta"),
    [
        ("utf-8", "", ""),
        ("utf-8", "UTF-8", ""),
        ("utf-8", "nonsense", '<meta charset="utf-8">'),
        ("utf-8-sig", "gb2312", ""),
        ("gb18030", "gb2312", ""),
        ("gb18030", "", '<meta charset="gb2312">'),
        ("gb18030", "", '<meta http-equiv="Content-Type" content="text/html; charset=GBK">'),
        ("gb18030", "", ""),
        ("utf-16-le", "utf-16le", ""),
        ("utf-16", "", ""),
    ],
)
def test_chinese_pages_are_read_whatever_they_are_written_in(codec: str, charset: str, meta: str) -> None:
    assert "<title>中文網頁 标题</title>" in text_of(CHINESE.format(meta=meta).encode(codec), charset)


def test_traditional_chinese_japanese_and_korean_pages_are_read() -> None:
    for codec, charset, text in (
        ("big5hkscs", "Big5", "繁體中文網頁"),
        ("cp932", "Shift_JIS", "日本語のページ"),
        ("euc_jp", "EUC-JP", "日本語のページ"),
        ("cp949", "EUC-KR", "한국어 페이지"),
        ("cp1251", "windows-1251", "Страница"),
        ("cp1252", "iso-8859-1", "Café “quoted”"),
    ):
        assert text_of(text.encode(codec), charset) == text
        assert text_of(f'<meta charset="{charset}">{text}'.encode(codec), "").endswith(text)
    assert text_of("Un café noir".encode("cp1252"), "") == "Un café noir"


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "raw_unicode_escape", "rot13", "zlib", "idna", "hex"])
def test_C07_no_charset_names_one_of_pythons_other_codecs(charset: str) -> None:
    page = b"+ADw-script+AD4- \\x3c"
    assert text_of(page, charset) == page.decode()
    assert text_of(b'<meta charset="' + charset.encode() + b'">' + page, "").endswith(page.decode())


async def test_C07_hostile_pages_are_read_in_bounds_or_not_at_all() -> None:
    reader = PageReader()
    nested = b"<title>Deep</title>" + b"<div>" * 100_000 + b"</div>" * 100_000
    assert (await reader.read(nested, "")).properties["og:title"] == "Deep"
    attributes = b"<title>Wide</title><a " + b"".join(b"a%d=1 " % number for number in range(50_000)) + b">"
    assert (await reader.read(attributes, "")).properties["og:title"] == "Wide"
    assert await reader.read(b"", "") == PageFacts()


async def test_C07_a_page_that_takes_too_long_or_too_much_tells_nothing() -> None:
    assert await PageReader(PageLimits(seconds=0.01)).read(b"<title>T</title>", "") == PageFacts()
    assert await PageReader(PageLimits(memory_bytes=4 * 1024 * 1024)).read(b"<title>T</title>", "") == PageFacts()
