"""Pieces of forms. A form is sent to our own server and carries the token that ties it to the browser it was made for
(`http/browsers.py`; row F14 of the known attacks)."""

from __future__ import annotations

from homeserver.pages.html import Html, fill, join


def form(action: str, *parts: Html) -> Html:
    """A form that is sent by POST. `action` is a path of ours with its query."""
    return fill('<form method="post" action="{action}">{parts}</form>', action=action, parts=join(parts))


def hidden(name: str, value: str) -> Html:
    """A field that nobody sees."""
    return fill('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)


def field(
    label: str,
    name: str,
    *,
    kind: str = "text",
    value: str = "",
    autocomplete: str = "off",
    required: bool = True,
    max_length: int = 512,
    css: str = "",
) -> Html:
    """A field with its label. `kind` is text, password or email."""
    return fill(
        '<label>{label}<input type="{kind}" name="{name}" value="{value}" autocomplete="{autocomplete}" '
        'autocapitalize="none" spellcheck="false" maxlength="{max_length}" class="{css}"{required}></label>',
        label=label,
        kind=kind,
        name=name,
        value=value,
        autocomplete=autocomplete,
        max_length=max_length,
        css=css,
        required=Html(" required" if required else ""),
    )


def checkbox(label: Html, name: str, *, checked: bool = False, required: bool = False) -> Html:
    """A box to tick; it is sent as `on`."""
    return fill(
        '<label><input type="checkbox" name="{name}"{checked}{required}> {label}</label>',
        label=label,
        name=name,
        checked=Html(" checked" if checked else ""),
        required=Html(" required" if required else ""),
    )


def button(label: str, *, name: str = "", value: str = "", css: str = "") -> Html:
    """A button that sends the form; several of one form differ by `name` and `value`. `css`: quiet or danger."""
    told = fill(' name="{name}" value="{value}"', name=name, value=value) if name else Html("")
    return fill('<button type="submit" class="{css}"{told}>{label}</button>', label=label, css=css, told=told)


def link_button(label: str, url: str, *, css: str = "quiet") -> Html:
    """A link that looks like a button."""
    return fill('<a class="button {css}" href="{url}" rel="noreferrer">{label}</a>', label=label, url=url, css=css)


def error(sentence: str | None) -> Html:
    """What went wrong, for people and their screen readers; nothing for None."""
    return Html("") if not sentence else fill('<p class="error" role="alert">{sentence}</p>', sentence=sentence)
