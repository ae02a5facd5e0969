"""Registration files of application services, checked at start. Spec: Application Service API, "Registration"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from homeserver.protocol.identifiers import is_user_id


class RegistrationRefused(ValueError):
    """A registration file cannot be used; the sentence says which, where and why."""


class _Namespace(msgspec.Struct):
    regex: str
    exclusive: bool = False


class _Namespaces(msgspec.Struct):
    users: list[_Namespace] = []
    aliases: list[_Namespace] = []
    rooms: list[_Namespace] = []


class _File(msgspec.Struct):
    id: str
    as_token: str
    hs_token: str
    sender_localpart: str
    namespaces: _Namespaces
    url: str | None
    rate_limited: bool = True
    protocols: list[str] = []
    receive_ephemeral: bool = False
    push_ephemeral: bool = msgspec.field(default=False, name="de.sorunome.msc2409.push_ephemeral")


@dataclass(frozen=True, slots=True)
class NamespaceList:
    """Regular expressions of the operator's; `exclusive` are those that nobody else may use."""

    shared: tuple[re.Pattern[str], ...] = ()
    exclusive: tuple[re.Pattern[str], ...] = ()

    def matches(self, text: str) -> bool:
        return self.reserves(text) or any(pattern.fullmatch(text) for pattern in self.shared)

    def reserves(self, text: str) -> bool:
        """Whether `text` is this service's alone."""
        return any(pattern.fullmatch(text) for pattern in self.exclusive)


@dataclass(frozen=True, slots=True)
class Appservice:
    """One application service. `url` None: nothing is sent to it."""

    id: str
    url: str | None
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender: str
    users: NamespaceList
    aliases: NamespaceList
    rooms: NamespaceList
    protocols: tuple[str, ...] = ()
    rate_limited: bool = True
    receive_ephemeral: bool = False

    def may_act_as(self, user_id: str) -> bool:
        """Whether `user_id` is its sender or in one of its user namespaces."""
        return user_id == self.sender or self.users.matches(user_id)

    def cares_for_user(self, user_id: str) -> bool:
        return _cares(self, user_id)


@lru_cache(maxsize=65_536)
def _cares(appservice: Appservice, user_id: str) -> bool:
    return appservice.may_act_as(user_id)


def load_registration(path: Path, server_name: str) -> Appservice:
    """Read one registration file. Raises RegistrationRefused."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RegistrationRefused(f"{path}: {error}") from None
    return parse_registration(document, server_name, source=str(path))


def parse_registration(document: Any, server_name: str, *, source: str) -> Appservice:
    """A registration from its YAML document. Raises RegistrationRefused."""
    try:
        file = msgspec.convert(document, _File, strict=True)
    except msgspec.ValidationError as error:
        raise RegistrationRefused(f"{source}: {error}") from None
    if not file.as_token or not file.hs_token or file.as_token == file.hs_token:
        raise RegistrationRefused(f"{source}: as_token and hs_token must be two different secrets, not empty")
    sender = f"@{file.sender_localpart}:{server_name}"
    if not is_user_id(sender):
        raise RegistrationRefused(f"{source}: sender_localpart makes {sender!r}, which is not a user id")
    if file.url is not None and not file.url.startswith(("http://", "https://")):
        raise RegistrationRefused(f"{source}: url must begin with http:// or https://, or be null")
    return Appservice(
        id=file.id,
        url=None if file.url is None else file.url.rstrip("/"),
        as_token=file.as_token,
        hs_token=file.hs_token,
        sender=sender,
        users=_compile(file.namespaces.users, f"{source}: namespaces.users"),
        aliases=_compile(file.namespaces.aliases, f"{source}: namespaces.aliases"),
        rooms=_compile(file.namespaces.rooms, f"{source}: namespaces.rooms"),
        protocols=tuple(file.protocols),
        rate_limited=file.rate_limited,
        receive_ephemeral=file.receive_ephemeral or file.push_ephemeral,
    )


def _compile(namespaces: list[_Namespace], where: str) -> NamespaceList:
    shared: list[re.Pattern[str]] = []
    exclusive: list[re.Pattern[str]] = []
    for number, namespace in enumerate(namespaces):
        try:
            pattern = re.compile(namespace.regex)
        except re.error as error:
            raise RegistrationRefused(f"{where}[{number}].regex: {error}") from None
        (exclusive if namespace.exclusive else shared).append(pattern)
    return NamespaceList(tuple(shared), tuple(exclusive))
