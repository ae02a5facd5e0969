"""Reads an HTML page from standard input and writes what it says of itself, as JSON, to standard output.

A program of its own, which imports nothing of ours: hostile pages are read here, with a bound on memory and on
processor time. The parser is Python's own, which keeps no tree and does not recurse. Row C07 of the known attacks.

    page_process.py CHARSET MEMORY_BYTES CPU_SECONDS

CHARSET is what the server said, or "". Output: {"properties": {"og:title": ...}, "image": "address" or null, "base":
"address" or null, "oembed": "address" or null}. Exit status: 0 read, anything else: nothing can be said.
"""

from __future__ import annotations

import codecs
import json
import re
import resource
import sys
from html.parser import HTMLParser

MAXIMUM_INPUT = 4 * 1024 * 1024
TITLE_MAX = 300
TEXT_MAX = 1000
LINK_MAX = 4096
TAGS_MAX = 200_000

SHOWN = ("og:title", "og:description", "og:site_name", "og:type", "og:url", "og:locale", "og:image:alt")
"""What is passed on. The picture's address, type and size are replaced by those of our copy."""
OTHERWISE = {
    "twitter:title": "og:title",
    "twitter:description": "og:description",
    "description": "og:description",
    "application-name": "og:site_name",
}
IMAGES = ("og:image:secure_url", "og:image", "og:image:url", "twitter:image", "twitter:image:src", "image")
"""Names of a picture's address, the best first."""
OEMBED = "application/json+oembed"
SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "nav", "header", "footer", "aside", "form"})
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
HEADINGS = frozenset({"h1", "h2", "h3"})

CHARSETS = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 x-unicode20utf8",
    "gb18030": "gb18030 gbk gb2312 gb_2312-80 csgb2312 chinese x-gbk cp936 iso-ir-58 hz-gb-2312 windows-936",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j csshiftjis ms932",
    "euc_jp": "euc-jp x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp": "iso-2022-jp csiso2022jp",
    "cp949": "euc-kr ks_c_5601-1987 ks_c_5601 ksc5601 korean windows-949 iso-ir-149",
    "cp1252": "windows-1252 cp1252 iso-8859-1 iso8859-1 latin1 l1 ascii us-ascii x-cp1252",
    "cp1250": "windows-1250 cp1250 x-cp1250",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254 iso-8859-9 latin5",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp874": "windows-874 tis-620 iso-8859-11",
    "iso8859-2": "iso-8859-2 latin2 l2",
    "iso8859-5": "iso-8859-5 cyrillic",
    "iso8859-7": "iso-8859-7 greek",
    "iso8859-15": "iso-8859-15 latin9 l9",
    "koi8_r": "koi8-r koi8 koi",
    "koi8_u": "koi8-u koi8-ru",
    "utf-16-le": "utf-16le utf-16 unicode ucs-2",
    "utf-16-be": "utf-16be",
}
"""Python's codecs by the names of the Encoding standard: no others, since some of Python's decode programs."""
CODEC_OF = {name: codec for codec, names in CHARSETS.items() for name in names.split()}

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_META_CHARSET = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.I)
_XML_CHARSET = re.compile(rb"^\s{0,20}<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{1,40})")


def text_of(page: bytes, charset: str) -> str:
    """The page as text: by its byte order mark, by what the server said, by what it says itself; or whatever fits."""
    for mark, codec in MARKS.items():
        if page.startswith(mark):
            return page[len(mark) :].decode(codec, "replace")
    said = CODEC_OF.get(charset.strip().lower())
    if said is not None:
        return page.decode(said, "replace")
    found = _META_CHARSET.search(page[:16384]) or _XML_CHARSET.search(page[:200])
    said = None if found is None else CODEC_OF.get(found[1].decode("ascii").lower())
    if said is not None:
        return page.decode("utf-8" if said.startswith("utf-16") else said, "replace")
    for codec in ("utf-8", "gb18030"):
        try:
            return codecs.getincrementaldecoder(codec)().decode(page)  # it may have been cut within a character
        except UnicodeDecodeError:
            continue
    return page.decode("cp1252", "replace")


class Page(HTMLParser):
    """Collects what a page says of itself."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.base: str | None = None
        self.oembed: str | None = None
        self.pictures: list[str] = []
        self.title: list[str] = []
        self.heading: list[str] = []
        self.text: list[str] = []
        self._text_size = 0
        self._tags = 0
        self._in_title = False
        self._in_heading = False
        self._skipping: str | None = None
        self._skip_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tags += 1
        if self._tags > TAGS_MAX:
            raise Enough
        if self._skipping is not None:
            self._skip_depth += tag == self._skipping
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "meta":
            name = (given.get("property") or given.get("name") or given.get("itemprop") or "").strip().lower()
            content = given.get("content", "").strip()
            if name and content and len(self.said) < 200:
                self.said.setdefault(name, content)
        elif tag == "link":
            if given.get("type", "").strip().lower() == OEMBED and given.get("href"):
                self.oembed = self.oembed or given["href"].strip()
            for relation in given.get("rel", "").lower().split():
                if given.get("href"):
                    self.links.setdefault(relation, given["href"].strip())
        elif tag == "base" and self.base is None and given.get("href"):
            self.base = given["href"].strip()
        elif tag == "img" and len(self.pictures) < 1 and given.get("src") and is_large(given):
            self.pictures.append(given["src"].strip())
        elif tag == "title":
            self._in_title = not self.title
        elif tag in HEADINGS:
            self._in_heading = not self.heading
        elif tag in SKIPPED:
            self._skipping, self._skip_depth = tag, 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._skipping is not None:
            self._skip_depth -= tag == self._skipping
            if self._skip_depth <= 0:
                self._skipping = None
        elif tag == "title":
            self._in_title = False
        elif tag in HEADINGS:
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if self._skipping is not None:
            return
        if self._in_title:
            self.title.append(data[:LINK_MAX])
        elif self._text_size < 4 * TEXT_MAX:
            words = data.strip()
            if self._in_heading:
                self.heading.append(words)
            elif words:
                self.text.append(words[:TEXT_MAX])
                self._text_size += len(words)


class Enough(Exception):
    """The page is longer than anybody reads."""


def is_large(given: dict[str, str]) -> bool:
    """Whether an image says that it is more than a dot or an icon."""
    sizes = [given.get("width", ""), given.get("height", "")]
    return all(
        size.strip().removesuffix("px").isdigit() and int(size.strip().removesuffix("px")) >= 64 for size in sizes
    )


def short(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def read(page: Page) -> dict[str, object]:
    """What is answered."""
    properties = {name: short(page.said[name], TEXT_MAX) for name in SHOWN if page.said.get(name)}
    for name, shown in OTHERWISE.items():
        if page.said.get(name):
            properties.setdefault(shown, short(page.said[name], TEXT_MAX))
    title = short(" ".join(page.title), TITLE_MAX) or short(" ".join(page.heading), TITLE_MAX)
    if title:
        properties.setdefault("og:title", title)
    if "og:title" in properties:
        properties["og:title"] = short(properties["og:title"], TITLE_MAX)
        text = short(" ".join(page.text), TITLE_MAX)
        if text:
            properties.setdefault("og:description", text)
    image = next((page.said[name] for name in IMAGES if page.said.get(name)), None)
    image = (
        image or page.links.get("image_src") or next(iter(page.pictures), None) or page.links.get("apple-touch-icon")
    )
    return {
        "properties": properties,
        "image": image if image and len(image) <= LINK_MAX else None,
        "base": page.base if page.base and len(page.base) <= LINK_MAX else None,
        "oembed": page.oembed if page.oembed and len(page.oembed) <= LINK_MAX else None,
    }


def main(arguments: list[str]) -> int:
    charset, memory, cpu = arguments[0], int(arguments[1]), int(arguments[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    page = Page()
    try:
        page.feed(text_of(sys.stdin.buffer.read(MAXIMUM_INPUT), charset))
        page.close()
    except Enough:
        pass
    except (MemoryError, AssertionError, ValueError):
        return 1
    sys.stdout.write(json.dumps(read(page)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
