"""What a client may say of itself when it registers, and which redirect URI is one of its own.

Spec: Client-Server API, "Client metadata", "Redirect URI validation"; RFC 7591, RFC 8252 section 7. The redirect URI is
all that a public client proves its identity by, so every rule here refuses rather than repairs (row F12).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES: Final = ("authorization_code", "refresh_token", DEVICE_CODE)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_LANGUAGES: Final = ("zh", "zh-CN", "zh-Hans", "zh-Hans-CN")
_TEXTS: Final = ("client_name",)
_LINKS: Final = ("logo_uri", "tos_uri", "policy_uri")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_LENGTH, _NAME_LENGTH, _REDIRECTS = 2048, 128, 20


class WrongMetadata(Exception):
    """A registration that is refused. `error` is RFC 7591's code (section 3.2.2)."""

    def __init__(self, sentence: str, error: str = "invalid_client_metadata") -> None:
        super().__init__(sentence)
        self.error = error


def check_metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that is registered: what the server knows of it, each member checked. Raises WrongMetadata."""
    if "client_uri" not in body:
        raise WrongMetadata("client_uri is missing")
    base = _web_url("client_uri", body["client_uri"])
    kept: dict[str, Any] = {"client_uri": body["client_uri"]}
    kind = body.get("application_type", "web")
    if kind not in ("web", "native"):
        raise WrongMetadata("application_type must be web or native")
    for name, value in body.items():
        bare, _, language = name.partition("#")
        if language and language not in _LANGUAGES:
            continue
        if bare in _TEXTS:
            if not isinstance(value, str) or not 0 < len(value) <= _NAME_LENGTH or not value.isprintable():
                raise WrongMetadata(f"{bare} must be a printable text of at most {_NAME_LENGTH} characters")
            kept[name] = value
        elif bare in _LINKS:
            _check_same_site(bare, _web_url(bare, value), base)
            kept[name] = value
    if body.get("token_endpoint_auth_method", "none") != "none":
        raise WrongMetadata("token_endpoint_auth_method must be none: this server knows public clients only")
    kept["grant_types"] = _known(body, "grant_types", GRANT_TYPES, ["authorization_code"])
    by_redirect = "authorization_code" in kept["grant_types"]
    if by_redirect:
        kept["response_types"] = _known(body, "response_types", ("code",), ["code"])
        if not kept["response_types"]:
            raise WrongMetadata("response_types must hold code")
    elif DEVICE_CODE not in kept["grant_types"]:
        raise WrongMetadata("grant_types must hold authorization_code or the device code grant")
    redirects = body.get("redirect_uris", [])
    if not isinstance(redirects, list) or len(redirects) > _REDIRECTS:
        raise WrongMetadata(f"redirect_uris must be at most {_REDIRECTS} URIs", "invalid_redirect_uri")
    for redirect in redirects:
        _check_redirect(redirect, base, is_native=kind == "native")
    if by_redirect and not redirects:
        raise WrongMetadata("redirect_uris must hold at least one URI", "invalid_redirect_uri")
    if redirects:
        kept["redirect_uris"] = list(dict.fromkeys(redirects))
    return {**kept, "token_endpoint_auth_method": "none", "application_type": kind}


def is_redirect_uri(metadata: Mapping[str, Any], given: str) -> bool:
    """Whether a redirect URI of a request is one of the registered ones: the same to the letter, but for the port of
    the loopback interface ("The homeserver MUST then accept any port number during the authorisation flow")."""
    registered = metadata.get("redirect_uris", [])
    if given in registered:
        return True
    if metadata.get("application_type") != "native" or not given.startswith("http://") or not _is_clean(given):
        return False
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return False
    host = _host_of(parts)
    if host not in _LOOPBACK or port is None or parts.netloc.lower() != f"{host}:{port}":
        return False
    return parts._replace(netloc=host).geturl() in registered


def origin_of(url: str) -> str:
    """Where a checked URI leads to, for people: scheme and host, or the scheme of an application."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def form_target_of(url: str) -> str:
    """What a page's Content-Security-Policy must allow so that a form may end at a checked URI. Chromium asks it of
    every redirect on the way, so an https site may send the browser on to another; and it knows no IPv6 addresses."""
    parts = urlsplit(url)
    if parts.scheme == "http" and "[" not in parts.netloc:
        return f"http://{parts.netloc}"
    return f"{parts.scheme}:"


def localized(metadata: Mapping[str, Any], name: str, language: str) -> str | None:
    """A member that people read, in their language if the client gave it."""
    if language == "zh":
        for each in _LANGUAGES:
            if f"{name}#{each}" in metadata:
                return str(metadata[f"{name}#{each}"])
    value = metadata.get(name)
    return None if value is None else str(value)


def _check_redirect(redirect: Any, base: SplitResult, *, is_native: bool) -> None:
    def refuse(why: str) -> WrongMetadata:
        return WrongMetadata(f"A redirect URI {why}", "invalid_redirect_uri")

    if not isinstance(redirect, str) or not _is_clean(redirect):
        raise refuse(f"must be a URI of at most {_LENGTH} printable characters")
    if "#" in redirect:
        raise refuse("must not have a fragment")
    try:
        parts = urlsplit(redirect)
        port = parts.port
    except ValueError:
        raise refuse("is malformed") from None
    if parts.scheme == "https":
        try:
            _check_same_site("redirect_uris", _web_url("redirect_uris", redirect), base)
        except WrongMetadata as error:
            raise WrongMetadata(str(error), "invalid_redirect_uri") from None
    elif not is_native:
        raise refuse("of a web client must use https")
    elif parts.scheme == "http":
        if parts.netloc.lower() not in _LOOPBACK or port is not None:
            raise refuse("with http must name localhost, 127.0.0.1 or [::1] without a port")
    else:
        reverse = ".".join(reversed((base.hostname or "").split(".")))
        if parts.scheme != reverse and not parts.scheme.startswith(f"{reverse}."):
            raise refuse("with a scheme of its own must begin with the client URI's host in reverse")
        if parts.netloc or redirect[len(parts.scheme) + 1 :].startswith("//"):
            raise refuse("with a scheme of its own must not have an authority")


def _web_url(name: str, value: Any) -> SplitResult:
    if not isinstance(value, str) or not _is_clean(value):
        raise WrongMetadata(f"{name} must be a URL of at most {_LENGTH} printable characters")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise WrongMetadata(f"{name} is malformed") from None
    host = parts.hostname or ""
    if parts.scheme != "https" or not _HOST.fullmatch(host) or "." not in host or _is_address(host):
        raise WrongMetadata(f"{name} must be an https URL with a host name")
    if "@" in parts.netloc:
        raise WrongMetadata(f"{name} must not have a user or password")
    return parts


def _check_same_site(name: str, url: SplitResult, base: SplitResult) -> None:
    """ "those MUST be either on the same host or on a subdomain of the host of the `client_uri`" """
    host, wanted = url.hostname or "", base.hostname or ""
    if host != wanted and not host.endswith(f".{wanted}"):
        raise WrongMetadata(f"{name} must be on the host of client_uri or below it")


def _known(body: Mapping[str, Any], name: str, known: tuple[str, ...], default: list[str]) -> list[str]:
    """ "The server MUST ignore values that it does not understand." """
    values = body.get(name, default)
    if not isinstance(values, list) or len(values) > 100:
        raise WrongMetadata(f"{name} must be a list")
    return [each for each in known if each in values]


def _is_clean(value: str) -> bool:
    return len(value) <= _LENGTH and all(0x21 <= ord(character) <= 0x7E for character in value) and "\\" not in value


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.replace(".", "").isdigit()
    return True
