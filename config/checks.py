"""What the types cannot say: rules between settings, and rules about their meaning."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from config.problems import Problem
from config.secret import weakness
from config.settings import IdentityProvider, Ldap, Listener, Mail, Outbound, Push, Registration, Settings, Webchat

# Spec: appendices, "Server Name": a DNS name, an IPv4 literal or an IPv6 literal in brackets, and maybe a port.
SERVER_NAME = re.compile(r"^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::[0-9]{1,5})?$")
MAXIMUM_SERVER_NAME = 230


def check(settings: Settings) -> Iterator[Problem]:
    """Everything that makes these settings unusable."""
    if not SERVER_NAME.match(settings.server_name) or len(settings.server_name) > MAXIMUM_SERVER_NAME:
        yield Problem(
            "server_name", f"expected a host name such as example.org, without scheme, got {settings.server_name!r}"
        )
    elif settings.server_name != settings.server_name.lower():
        yield Problem("server_name", f"expected lower case, got {settings.server_name!r}")
    if not is_web_address(settings.public_base_url):
        yield Problem(
            "public_base_url", f"expected http:// or https:// and a host name, got {settings.public_base_url!r}"
        )
    yield from check_listeners(settings.listeners)
    yield from check_database(settings)
    yield from check_registration(settings.registration)
    yield from check_mail(settings.mail)
    yield from check_ldap(settings.ldap)
    if settings.registration.email_required and settings.mail.smtp_host is None:
        yield Problem("registration.email_required", "expected mail.smtp_host, since addresses are confirmed by e-mail")
    if settings.registration.terms_enforced and not settings.registration.terms:
        yield Problem("registration.terms_enforced", "expected documents in registration.terms")
    versions: dict[str, str] = {}
    for index, document in enumerate(settings.registration.terms):
        if versions.setdefault(document.name, document.version) != document.version:
            yield Problem(f"registration.terms[{index}].version", "expected one version in all languages of a document")
    for index, pattern in enumerate(settings.registration.email_patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            yield Problem(f"registration.email_patterns[{index}]", f"is no regular expression: {error}")
    yield from check_outbound(settings.outbound)
    yield from check_push(settings.push)
    if settings.turn.uris and settings.turn.shared_secret is None:
        yield Problem("turn.shared_secret", "expected the relays' secret, since turn.uris names relays")
    yield from check_identity_providers(settings.identity_providers)
    for index, network in enumerate(settings.admin.networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield Problem(f"admin.networks[{index}]", f"expected an address or a network, got {network!r}")
    retention = settings.retention
    if (retention.minimum_days or 0) > (retention.maximum_days or float("inf")):
        yield Problem("retention.minimum_days", "expected no more than retention.maximum_days")
    yield from check_webchat(settings.webchat, settings.server_name, settings.listeners)
    for index, contact in enumerate(settings.support.contacts):
        if contact.matrix_id is None and contact.email_address is None:
            yield Problem(f"support.contacts[{index}]", "expected a matrix_id or an email_address")


def check_listeners(listeners: list[Listener]) -> Iterator[Problem]:
    seen: set[tuple[str, int]] = set()
    for index, listener in enumerate(listeners):
        path = f"listeners[{index}]"
        if (listener.host, listener.port) in seen:
            yield Problem(path, f"{listener.host} port {listener.port} is taken by an earlier listener")
        seen.add((listener.host, listener.port))
        if (listener.tls_certificate_file is None) != (listener.tls_key_file is None):
            given, missing = ("tls_certificate_file", "tls_key_file")
            if listener.tls_certificate_file is None:
                given, missing = missing, given
            yield Problem(f"{path}.{missing}", f"is missing: expected a file, since {given} is set")
        for place, text in enumerate(listener.trusted_proxies):
            if not is_network(text):
                yield Problem(
                    f"{path}.trusted_proxies[{place}]",
                    f"expected an address or network such as 127.0.0.1 or 10.0.0.0/8, got {text!r}",
                )


def check_database(settings: Settings) -> Iterator[Problem]:
    if settings.database.url is None:
        return
    parts = urlsplit(settings.database.url.reveal())
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        yield Problem("database.url", "expected postgresql://user:password@host:5432/database (it is not shown here)")


def check_registration(registration: Registration) -> Iterator[Problem]:
    secret = registration.shared_secret
    weak = weakness(secret.reveal()) if secret is not None else None
    if weak is not None:
        yield Problem("registration.shared_secret", f"{weak}: put there what `openssl rand -hex 32` prints")
    recaptcha = registration.recaptcha
    if (recaptcha.site_key is None) != (recaptcha.secret_key is None):
        missing = "site_key" if recaptcha.site_key is None else "secret_key"
        yield Problem(f"registration.recaptcha.{missing}", "is missing: reCAPTCHA needs both of its keys")
    verified = registration.token_required or recaptcha.site_key is not None or registration.email_required
    if registration.enabled and not verified and not registration.open_without_verification:
        yield Problem(
            "registration.enabled",
            "registration is open to everybody: set token_required: true, or recaptcha, or email_required: true, or "
            "open_without_verification: true if that is meant",
        )


def check_ldap(ldap: Ldap) -> Iterator[Problem]:
    if ldap.uri is None:
        return
    if not re.fullmatch(
        r"ldaps?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?|ldaps?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?/?", ldap.uri
    ):
        yield Problem("ldap.uri", f"expected ldap:// or ldaps:// and a host name, got {ldap.uri!r}")
    if not ldap.base:
        yield Problem("ldap.base", "is missing: expected below which entry people are searched")
    if (ldap.bind_dn is None) != (ldap.bind_password is None):
        missing = "bind_dn" if ldap.bind_dn is None else "bind_password"
        yield Problem(f"ldap.{missing}", "is missing: searching as somebody needs both")
    if ldap.filter and not (ldap.filter.startswith("(") and ldap.filter.endswith(")")):
        yield Problem("ldap.filter", "expected a filter in brackets, such as (objectClass=person)")


def check_mail(mail: Mail) -> Iterator[Problem]:
    if mail.password is not None and mail.username is None:
        yield Problem("mail.username", "is missing: mail.password is its password")
    if (
        mail.password is not None
        and mail.security == "none"
        and mail.smtp_host not in ("localhost", "127.0.0.1", "::1")
    ):
        yield Problem("mail.security", "expected starttls or tls, since mail.password would be sent for all to read")
    if mail.sender is not None and not re.fullmatch(
        r"[^<>\r\n]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+", mail.sender
    ):
        yield Problem("mail.sender", f"expected an address, maybe as Name <name@host>, got {mail.sender!r}")


def check_outbound(outbound: Outbound) -> Iterator[Problem]:
    for name, networks in (("allowed", outbound.allowed_networks), ("denied", outbound.denied_networks)):
        for place, text in enumerate(networks):
            if not is_network(text):
                yield Problem(
                    f"outbound.{name}_networks[{place}]",
                    f"expected an address or network such as 10.0.0.0/8, got {text!r}",
                )
    for place, port in enumerate(outbound.allowed_ports):
        if not 1 <= port <= 65535:
            yield Problem(f"outbound.allowed_ports[{place}]", f"expected a TCP port, got {port}")


def check_push(push: Push) -> Iterator[Problem]:
    for place, origin in enumerate(push.allowed_gateways):
        if not is_origin(origin):
            yield Problem(
                f"push.allowed_gateways[{place}]", f"expected an origin such as http://10.0.0.5:5000, got {origin!r}"
            )
    for index, app in enumerate(push.gateway.apps):
        path = f"push.gateway.apps[{index}]"
        if app.key is None and app.kind != "unifiedpush":
            yield Problem(f"{path}.key", f"is missing: expected the key for {app.kind}")
        if app.kind == "apns":
            for name, value in (("key_id", app.key_id), ("team_id", app.team_id), ("topic", app.topic)):
                if not value:
                    yield Problem(f"{path}.{name}", "is missing: apns needs it")
        if app.kind == "webpush" and not app.contact.startswith(("mailto:", "https:")):
            yield Problem(f"{path}.contact", f"expected mailto: or https: and an address, got {app.contact!r}")
        if app.message_options and not is_object(app.message_options):
            yield Problem(f"{path}.message_options", "expected a JSON object")


def check_identity_providers(providers: Sequence[IdentityProvider]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, provider in enumerate(providers):
        path = f"identity_providers[{index}]"
        if provider.id in seen:
            yield Problem(f"{path}.id", f"{provider.id!r} is taken by an earlier provider")
        seen.add(provider.id)
        if not is_web_address(provider.issuer):
            yield Problem(f"{path}.issuer", f"expected https:// and a host name, got {provider.issuer!r}")
        if "openid" not in provider.scopes:
            yield Problem(f"{path}.scopes", "expected openid among them")
        templates = {
            "localpart_template": provider.localpart_template,
            "display_name_template": provider.display_name_template,
            "email_template": provider.email_template,
        }
        for name, template in templates.items():
            if set(re.sub(r"\{[A-Za-z0-9_:./-]+\}", "", template)) & {"{", "}"}:
                yield Problem(f"{path}.{name}", f"expected text with claims as {{name}}, got {template!r}")


def check_webchat(webchat: Webchat, server_name: str, listeners: Sequence[Listener]) -> Iterator[Problem]:
    if webchat.enabled and not webchat.sites:
        yield Problem("webchat.sites", "expected at least one site, since webchat.enabled is true")
    keys = {site.key for site in webchat.sites}
    if webchat.enabled and not any("client" in one.apis and one.tls_certificate_file is None for one in listeners):
        yield Problem("webchat.enabled", "the web chat needs a listener with the client API and without TLS")
    if webchat.demo_site is not None and webchat.demo_site not in keys:
        yield Problem("webchat.demo_site", f"expected the key of one of the sites, got {webchat.demo_site!r}")
    seen: set[str] = set()
    for index, site in enumerate(webchat.sites):
        path = f"webchat.sites[{index}]"
        if site.key in seen:
            yield Problem(f"{path}.key", f"{site.key!r} is taken by an earlier site")
        seen.add(site.key)
        for place, origin in enumerate(site.origins):
            if not is_origin(origin):
                yield Problem(
                    f"{path}.origins[{place}]", f"expected an origin such as https://shop.example.org, got {origin!r}"
                )
        for place, user in enumerate(site.staff):
            if not re.match(r"^@[^:\s]+:.+$", user) or user.partition(":")[2] != server_name:
                yield Problem(
                    f"{path}.staff[{place}]", f"expected a user of this server, @name:{server_name}, got {user!r}"
                )


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        return False


def is_origin(text: str) -> bool:
    return is_web_address(text) and urlsplit(text).path == "" and "@" not in text and "*" not in text
