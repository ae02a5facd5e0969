"""What the kit has to be told, and the strict loader that stand-alone bridges use for their YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec


class BadSettings(Exception):
    """The settings file is wrong; the text names the path in it and what was expected."""


class BridgeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One bridge at one homeserver.

    `prefix` begins the localpart of every ghost and room alias (such as `_web_`); `bot` is the bot's own localpart.
    `listen_url` is where the homeserver reaches this bridge; `listen_host`/`listen_port` where the bridge listens
    (port 0: any free one). `name_suffix` is appended to every ghost's name, so that nobody on the other network can
    look like somebody of the homeserver.
    """

    id: str
    homeserver_url: str
    server_name: str
    as_token: str
    hs_token: str
    prefix: str
    bot: str
    bot_name: str = ""
    name_suffix: str = ""
    database: str = ":memory:"
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    listen_url: str = ""

    def __post_init__(self) -> None:
        for name in ("as_token", "hs_token"):
            if len(getattr(self, name)) < 32:
                raise ValueError(f"{name} must have at least 32 characters (`registration` makes one)")
        if self.as_token == self.hs_token:
            raise ValueError("as_token and hs_token must differ")
        for name in ("prefix", "bot"):
            if not re.fullmatch(r"_?[a-z0-9._-]{1,40}", getattr(self, name)):
                raise ValueError(f"{name} must be lower-case letters, digits and . _ - (at most 40)")
        if not self.server_name:
            raise ValueError("server_name must not be empty")

    @property
    def bot_user_id(self) -> str:
        return f"@{self.bot}:{self.server_name}"


Settings = TypeVar("Settings")


def load_settings(path: Path, kind: type[Settings]) -> Settings:
    """Read a YAML file into a typed struct; raises BadSettings with a sentence for the operator."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise BadSettings(f"{path}: {error}") from error
