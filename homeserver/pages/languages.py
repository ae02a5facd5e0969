"""The languages that pages speak, and which of them a person reads: what a client says, then what the browser says."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Text(NamedTuple):
    """A sentence in every language. `text.of(language)`; placeholders are for `html.fill`."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


def choose_language(ui_locales: str | None, accept_language: str) -> Language:
    """`ui_locales`: language tags divided by spaces, the best first (OpenID Connect Core, section 3.1.2.1);
    `accept_language`: the header, with weights (RFC 9110, section 12.5.4). English where nothing is known."""
    for tag in (ui_locales or "")[:200].split():
        found = _language_of(tag)
        if found is not None:
            return found
    best: tuple[float, Language] = (0.0, "en")
    for item in accept_language[:500].split(","):
        tag, _, parameters = item.partition(";")
        found = _language_of(tag.strip())
        weight = _weight(parameters)
        if found is not None and weight > best[0]:
            best = (weight, found)
    return best[1]


def _language_of(tag: str) -> Language | None:
    primary = tag.lower().partition("-")[0]
    if primary == "zh":
        return "zh"
    return "en" if primary == "en" else None


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
