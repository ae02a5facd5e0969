"""Files that have hurt others: programs in disguise, and images that are small until somebody opens them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

SCRIPT = b"<script>document.title='run'</script>"
HTML = b"<!doctype html><html><body>" + SCRIPT + b"</body></html>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='document.title=1'><script>document.title='run'</script></svg>"

ACTIVE_TYPES = [
    "text/html",
    "TEXT/HTML",
    "text/html;charset=utf-7",
    "text/html,image/png",
    "application/xhtml+xml",
    "image/svg+xml",
    "image/svg+xml-compressed",
    "image/svg",
    "IMAGE/SVG+XML",
    "text/xml",
    "application/xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/rdf+xml",
    "text/xsl",
    "application/xslt+xml",
    "application/mathml+xml",
    "application/pdf",
    "application/javascript",
    "text/javascript",
    "application/ecmascript",
    "text/ecmascript",
    "application/x-javascript",
    "text/jscript",
    "application/x-shockwave-flash",
    "application/java-archive",
    "application/x-java-applet",
    "application/vnd.ms-htmlhelp",
    "message/rfc822",
    "multipart/related",
    "multipart/x-mixed-replace",
    "application/x-mimearchive",
    "text/cache-manifest",
    "application/wasm",
    "application/x-xpinstall",
    "text/vtt",
    "text/calendar",
    "text/markdown",
    "text/x-component",
    "text/vbscript",
    "application/hta",
    "application/octet-stream",
    "application/zip",
    "application/vnd.apple.mpegurl",
    "application/msword",
    "application/x-msdownload",
    "image/x-icon",
    "image/bmp",
    "image/tiff",
    "image/heic",
    "image/jxl",
    "video/x-flv",
    "audio/midi",
    "font/woff2",
    "model/gltf+json",
    "application/manifest+json",
    "application/signed-exchange",
    "nonsense",
    "text",
    "image/",
    "/png",
    "*/*",
    "text/html/x",
]
"""What a browser might run, or may not be trusted to show: each is an attachment."""

INLINE_BUT_HARMLESS = [
    "text/plain",
    "text/css",
    "image/png",
    "image/gif",
    "application/ld+json",
    "audio/wav",
    "video/mp4",
]
"""Shown in the browser, with `nosniff` and the sandbox, whatever is in them."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def polyglots() -> dict[str, bytes]:
    """Files that are two things at once."""
    output = io.BytesIO()
    Image.new("RGB", (4, 4)).save(output, "PNG")
    png = output.getvalue()
    output = io.BytesIO()
    Image.new("P", (4, 4)).save(output, "GIF")
    gif = output.getvalue()
    return {
        "png then html": png + HTML,
        "png with html in its text": png[:33] + chunk(b"tEXt", b"Comment\x00" + HTML) + png[33:],
        "gif as javascript": gif[:6] + b"/*" + gif[8:] + b"*/=1;document.title='run'",
        "gif with html": gif + HTML,
        "bom then html": b"\xef\xbb\xbf" + HTML,
        "utf-7 html": b"+ADw-script+AD4-document.title='run'+ADw-/script+AD4-",
        "null then html": b"\x00" * 20 + HTML,
        "pdf with html": b"%PDF-1.7\n" + HTML,
        "svg as text": SVG,
        "zip with html": b"PK\x03\x04" + HTML,
    }


def gif_of(width: int, height: int, frames: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF that says it is large, with many frames that are small: a few bytes each."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    one = (
        b"\x21\xf9\x04\x00\x01\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00"
    )
    return head + one * frames + b"\x3b"


def png_of(width: int, height: int, *, depth: int = 1, colour: int = 0, rows: bytes | None = None) -> bytes:
    """A PNG whose pixels are a few hundred bytes when packed."""
    packed = zlib.compress(bytes(min((1 + (width + 7) // 8) * height, 32 * 1024 * 1024)) if rows is None else rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bombs() -> Iterator[tuple[str, bytes]]:
    """Twenty images that want more than they weigh, or that are broken where decoders trust."""
    yield "png of 3.6 gigapixels", png_of(60_000, 60_000)
    yield "png of 4 exapixels", png_of(2_000_000_000, 2_000_000_000)
    yield "png just above the bound", png_of(6000, 5400)
    yield "png one pixel wide", png_of(1, 40_000_000)
    yield "png without width", png_of(0, 10)
    yield "png with negative width", png_of(0xFFFFFFFF, 1)
    yield "png of 16 bits", png_of(8000, 8000, depth=16, colour=6, rows=b"")
    yield "png with too much data", png_of(10, 10, rows=bytes(64 * 1024 * 1024))
    yield "png with text bomb", png_of(10, 10)[:33] + chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(80_000_000)))
    yield (
        "png with profile bomb",
        png_of(10, 10)[:33] + chunk(b"iCCP", b"a\x00\x00" + zlib.compress(bytes(80_000_000))),
    )
    yield "png cut off", png_of(100, 100)[:60]
    yield "apng with a billion frames", png_of(100, 100)[:33] + chunk(b"acTL", struct.pack(">II", 10**9, 0))
    yield "gif of 4 gigapixels", gif_of(65535, 65535, 1)
    yield "gif of a large frame", gif_of(1, 1, 1, (65535, 65535))
    yield "gif of many large frames", gif_of(5000, 5000, 3000)
    yield "gif that never ends", gif_of(300, 300, 2)[:-1] + b"\x21\xfe" + b"\xff" * 1_000_000
    yield (
        "jpeg of 4 gigapixels",
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01",
    )
    yield "jpeg of endless markers", b"\xff\xd8" + b"\xff\xe1\x00\x02" * 50_000
    yield (
        "webp of 268 megapixels",
        b"RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\xff\x3f\x00\xff\x3f\x00VP8 ",
    )
    yield "webp cut off", b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\x7f\x2f\xff\xff\xff\xff"
