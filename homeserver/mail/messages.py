"""What the server writes to people: each e-mail in English and Chinese, as text and as HTML.

What comes from others reaches the HTML only through `pages.html.fill`, which escapes it (row F08). An e-mail says what
it is about and what happens next, shows one address to go to, and has no picture and nothing that tells who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from homeserver.pages.html import Html, fill
from homeserver.pages.languages import Language, Text


@dataclass(frozen=True, slots=True)
class Message:
    """A finished e-mail, but for whom it goes to."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail before it is filled. `{server}` is the server's name; further names are those that `write` is given.
    `button` None: there is nothing to go to."""

    subject: Text
    paragraphs: tuple[Text, ...]
    button: Text | None = None

    def write(self, language: Language, server: str, *, link: str | None = None, **values: str) -> Message:
        """Fill it in. `link` is where the button leads."""
        told = {"server": server, **values}
        paragraphs = [paragraph.of(language) for paragraph in self.paragraphs]
        plain = [_plain(paragraph, told) for paragraph in paragraphs]
        rich = [fill("<p>{content}</p>", content=fill(paragraph, **told)) for paragraph in paragraphs]
        if self.button is not None and link is not None:
            plain.insert(1, link)
            rich.insert(1, _button(self.button.of(language), link))
        return Message(
            " ".join(_plain(self.subject.of(language), told).split()),
            "\n\n".join(plain) + "\n",
            _document(language, rich),
        )


_NOT_YOU: Final = Text(
    "If this was not you, ignore this e-mail: without your click nothing happens.",
    "如果不是您本人操作，请忽略本邮件：您不点击链接，就不会发生任何事。",
)
_ONE_HOUR: Final = Text(
    "The link works once, and for one hour. Never pass it on.", "该链接一小时内有效，且只能使用一次。请勿转发给他人。"
)

CONFIRM_REGISTRATION: Final = Letter(
    Text("Confirm your e-mail address for {server}", "请确认您在 {server} 的电子邮箱地址"),
    (
        Text(
            "Somebody, hopefully you, is making an account on {server} with this e-mail address. Go here to confirm "
            "that the address is yours:",
            "有人（希望是您本人）正在用此邮箱地址在 {server} 注册账号。请打开以下链接，确认该地址属于您：",
        ),
        _ONE_HOUR,
        _NOT_YOU,
    ),
    Text("Confirm the address", "确认邮箱地址"),
)

CONFIRM_ADDITION: Final = Letter(
    Text("Confirm your e-mail address for {server}", "请确认您在 {server} 的电子邮箱地址"),
    (
        Text(
            "Somebody, hopefully you, wants to add this e-mail address to an account on {server}. Go here to confirm "
            "that the address is yours:",
            "有人（希望是您本人）想把此邮箱地址添加到 {server} 的一个账号。请打开以下链接，确认该地址属于您：",
        ),
        _ONE_HOUR,
        _NOT_YOU,
    ),
    Text("Confirm the address", "确认邮箱地址"),
)

RESET_PASSWORD: Final = Letter(
    Text("Reset your password for {server}", "重置您在 {server} 的密码"),
    (
        Text(
            "Somebody, hopefully you, has asked for a new password of your account on {server}. Go here to allow it, "
            "then go back to where you asked:",
            "有人（希望是您本人）请求重置您在 {server} 的账号密码。请打开以下链接予以确认，然后回到您发起请求的地方：",
        ),
        _ONE_HOUR,
        Text(
            "If this was not you, do not go there, and ignore this e-mail: your password stays as it is.",
            "如果不是您本人操作，请不要打开链接，并忽略本邮件：您的密码不会改变。",
        ),
    ),
    Text("Allow the new password", "允许重置密码"),
)

ALREADY_REGISTERED: Final = Letter(
    Text("You have an account on {server} already", "您在 {server} 已有账号"),
    (
        Text(
            "Somebody, hopefully you, wanted to use this e-mail address on {server}, but it belongs to an account "
            "there already. Log in to that account; if you have forgotten its password, ask for a new one with this "
            "address.",
            "有人（希望是您本人）想在 {server} 使用此邮箱地址，但它已属于那里的一个账号。请登录该账号；"
            "如果忘记了密码，可用此地址请求重置。",
        ),
        Text("If this was not you, ignore this e-mail.", "如果不是您本人操作，请忽略本邮件。"),
    ),
)

PASSWORD_CHANGED: Final = Letter(
    Text("Your password for {server} was changed", "您在 {server} 的密码已更改"),
    (
        Text(
            "The password of {user} was changed with the help of this e-mail address.",
            "{user} 的密码已通过此邮箱地址更改。",
        ),
        Text(
            "If this was not you, somebody else can read your e-mails: change your mail account's password first, "
            "then ask for a new password on {server}.",
            "如果不是您本人操作，说明他人能读取您的邮件：请先更改邮箱账号的密码，再到 {server} 重置密码。",
        ),
    ),
)

TEST: Final = Letter(
    Text("A test of {server}", "{server} 的测试邮件"),
    (
        Text(
            "The operator of {server} is trying whether its e-mails arrive. This one did.",
            "{server} 的管理员正在测试邮件能否送达。这一封已送达。",
        ),
    ),
)

RENEW_ACCOUNT: Final = Letter(
    Text("Your account on {server} ends on {date}", "您在 {server} 的账号将于 {date} 到期"),
    (
        Text(
            "Your account {user} on {server} ends on {date}. If you want to keep it, go here:",
            "您在 {server} 的账号 {user} 将于 {date} 到期。如需保留，请打开以下链接：",
        ),
        Text(
            "If you do nothing, you cannot use the account any more after that day.",
            "如果您不作任何操作，该日之后将无法再使用此账号。",
        ),
    ),
    Text("Keep my account", "保留我的账号"),
)


def _plain(template: str, values: dict[str, str]) -> str:
    """The template as text; line breaks in values cannot make further lines."""
    return template.format_map({name: " ".join(value.split()) for name, value in values.items()})


def _button(label: str, link: str) -> Html:
    return fill(
        '<p><a href="{link}" style="display:inline-block;padding:10px 18px;border-radius:6px;background:#1f6f5c;'
        'color:#ffffff;text-decoration:none;font-weight:600">{label}</a></p>'
        '<p style="font-size:13px;color:#4c5a55;word-break:break-all">{link}</p>',
        link=link,
        label=label,
    )


def _document(language: Language, paragraphs: list[Html]) -> Html:
    return fill(
        '<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"></head>'
        '<body style="margin:0;padding:24px;font-family:system-ui,sans-serif;line-height:1.5;color:#1c2422">'
        '<div style="max-width:480px">{paragraphs}</div></body></html>',
        language="zh-Hans" if language == "zh" else "en",
        paragraphs=Html("".join(paragraphs)),
    )
