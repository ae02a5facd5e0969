"""The frame of every page that people see: one column, no script, a style sheet that its hash allows."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from homeserver.pages.html import Html, fill
from homeserver.pages.languages import Language

STYLE: Final = Html(
    "*{box-sizing:border-box}"
    "body{margin:0;padding:2rem 1rem;background:#f2f4f3;color:#1c2422;line-height:1.5;"
    'font-family:system-ui,-apple-system,"Segoe UI","Noto Sans","Noto Sans SC",sans-serif}'
    "main{max-width:28rem;margin:0 auto;padding:1.5rem;background:#fff;border-radius:.75rem;"
    "box-shadow:0 1px 4px rgba(0,0,0,.15)}"
    "h1{margin:0 0 1rem;font-size:1.4rem}h2{font-size:1.1rem;margin:1.5rem 0 .5rem}"
    "label{display:block;margin:.75rem 0}"
    "input[type=text],input[type=password],input[type=email]{display:block;width:100%;margin-top:.25rem;padding:.6rem;"
    "font:inherit;border:1px solid #8a9792;border-radius:.4rem}"
    "button,.button{display:block;width:100%;margin-top:1rem;padding:.65rem;font:inherit;font-weight:600;"
    "text-align:center;text-decoration:none;color:#fff;background:#1f6f5c;border:1px solid #1f6f5c;"
    "border-radius:.4rem;cursor:pointer}"
    ".quiet{color:#1f6f5c;background:#fff}.danger{background:#a3262c;border-color:#a3262c}"
    "button:focus,.button:focus,input:focus,a:focus{outline:3px solid #e0a526;outline-offset:1px}"
    ".notice{padding:.6rem .8rem;background:#fdf3d7;border-radius:.4rem}"
    ".error{padding:.6rem .8rem;background:#fbe3e4;color:#7d1a20;border-radius:.4rem}"
    "ul.plain{list-style:none;padding:0}ul.plain li{padding:.75rem 0;border-top:1px solid #dde3e0}"
    "code{word-break:break-all;background:#eef2f0;padding:.05rem .3rem;border-radius:.25rem}"
    ".code{font-size:1.6rem;letter-spacing:.2rem;text-transform:uppercase}"
    ".small{font-size:.875rem;color:#4c5a55}a{color:#1f6f5c}"
    "@media (prefers-color-scheme:dark){body{background:#141a18;color:#e6ecea}main{background:#1f2825}"
    ".quiet{background:#1f2825;color:#8fd3bf}a{color:#8fd3bf}code{background:#2b3632}.small{color:#a9b8b2}"
    "input{background:#141a18;color:#e6ecea}.notice{background:#4a3c12}.error{background:#4d1f22;color:#ffd9da}"
    "ul.plain li{border-color:#35423d}}"
)
STYLE_SOURCE: Final = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""What a Content-Security-Policy calls the style sheet."""


def render_page(language: Language, title: str, body: Html, *, refresh_to: str | None = None) -> Html:
    """A whole document. `refresh_to`: an address of ours or one that was checked, where the browser goes at once."""
    refresh = Html("")
    if refresh_to is not None:
        refresh = fill('<meta http-equiv="refresh" content="0;url={url}">', url=refresh_to)
    return fill(
        '<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex">{refresh}<style>{style}</style></head>'
        "<body><main><h1>{title}</h1>{body}</main></body></html>",
        language="zh-Hans" if language == "zh" else "en",
        title=title,
        refresh=refresh,
        style=STYLE,
        body=body,
    )
