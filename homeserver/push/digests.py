"""The e-mail about unread messages, in English and Chinese, as text and as HTML.

What others wrote reaches the HTML through `pages.html.fill` alone, which escapes it (row F08); each text is one line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from homeserver.mail.messages import Message
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Language, Text

LONGEST_BODY: Final = 300
"""Characters of one message."""

Kind = Literal["message", "encrypted", "invite", "other"]


@dataclass(frozen=True, slots=True)
class DigestEvent:
    """One event. `body`: what a message says."""

    sender: str
    kind: Kind
    body: str = ""


@dataclass(frozen=True, slots=True)
class DigestRoom:
    """A room, how many of its events are unread, and the newest of them. `name` None: it is not told, or has none."""

    name: str | None
    unread: int
    events: list[DigestEvent] = field(default_factory=list)


_SUBJECT = Text("{count} unread on {server}", "您在 {server} 有 {count} 条未读消息")
_INTRODUCTION = Text("You have unread messages on {server}.", "您在 {server} 有未读消息。")
_UNNAMED = Text("A conversation", "一个会话")
_ROOM = Text("{name} ({count} unread)", "{name}（{count} 条未读）")
_MORE = Text("… and {count} more", "……另有 {count} 条")
_KINDS: Final[dict[Kind, Text]] = {
    "message": Text("{sender}: {body}", "{sender}：{body}"),
    "encrypted": Text("{sender} sent an encrypted message", "{sender} 发送了一条加密消息"),
    "invite": Text("{sender} invites you", "{sender} 邀请您加入"),
    "other": Text("{sender} did something that you wanted to know of", "{sender} 有一条您关注的动态"),
}
_WHY = Text(
    "You get this e-mail because you asked for notifications at this address. To stop them, go here:",
    "您收到此邮件，是因为您为此邮箱地址开启了通知。如需停止，请打开以下链接：",
)
_STOP = Text("Stop these e-mails", "停止接收此类邮件")


def write_digest(language: Language, server: str, rooms: list[DigestRoom], *, unsubscribe: str) -> Message:
    """The finished e-mail. `unsubscribe` is where its reader can end them."""
    total = sum(room.unread for room in rooms)
    introduction = _INTRODUCTION.of(language).format(server=server)
    lines = [introduction, ""]
    blocks: list[Html] = [fill("<p>{text}</p>", text=introduction)]
    for room in rooms:
        heading, told = _room(language, room)
        lines += [heading, *(f"  {line}" for line in told), ""]
        items = join(fill('<div style="margin:2px 0 2px 12px">{line}</div>', line=line) for line in told)
        blocks.append(
            fill('<div style="margin:16px 0"><strong>{heading}</strong>{items}</div>', heading=heading, items=items)
        )
    why, stop = _WHY.of(language), _STOP.of(language)
    lines += [why, unsubscribe, ""]
    blocks.append(
        fill(
            '<p style="font-size:13px;color:#4c5a55;margin-top:32px">{why} <a href="{link}">{stop}</a></p>',
            why=why,
            link=unsubscribe,
            stop=stop,
        )
    )
    subject = _SUBJECT.of(language).format(count=total, server=server)
    return Message(subject, "\n".join(lines), _document(language, join(blocks)))


def _room(language: Language, room: DigestRoom) -> tuple[str, list[str]]:
    name = _line(room.name, 100) if room.name else _UNNAMED.of(language)
    told = [
        _KINDS[event.kind].of(language).format(sender=_line(event.sender, 100), body=_line(event.body, LONGEST_BODY))
        for event in room.events
    ]
    hidden = room.unread - len(room.events)
    if room.events and hidden > 0:
        told.append(_MORE.of(language).format(count=hidden))
    return _ROOM.of(language).format(name=name, count=room.unread), told


def _line(text: str, longest: int) -> str:
    """On one line, and not too long."""
    joined = " ".join(text[: longest * 4].split())
    return joined if len(joined) <= longest else joined[: longest - 1] + "…"


def _document(language: Language, body: Html) -> Html:
    return fill(
        '<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"></head>'
        '<body style="margin:0;padding:24px;font-family:system-ui,sans-serif;line-height:1.5;color:#1c2422">'
        '<div style="max-width:480px">{body}</div></body></html>',
        language="zh-Hans" if language == "zh" else "en",
        body=body,
    )
