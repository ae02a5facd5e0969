"""The loader: what it takes, and what it says about what it does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from config import ConfigurationError, Settings

STRONG = "b0a7c1d2e3f4958677a8b9c0d1e2f304"


def parse(text: str, environ: dict[str, str] | None = None, folder: Path = Path("/data")) -> Settings:
    return config.parse(text, folder=folder, environ=environ)


def problems(text: str, environ: dict[str, str] | None = None, folder: Path = Path("/data")) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        parse(text, environ, folder)
    return [str(problem) for problem in raised.value.problems]


def test_server_name_alone_is_a_configuration() -> None:
    settings = parse("server_name: example.org")
    assert settings.public_base_url == "https://example.org"
    assert settings.rooms.default_version == "12"
    assert settings.registration.shared_secret is None


def test_files_are_relative_to_the_configuration_even_by_default() -> None:
    settings = parse("{server_name: example.org, signing_key_file: keys/k}")
    assert settings.signing_key_file == Path("/data/keys/k")
    assert settings.database.sqlite_file == Path("/data/halfdoor.db")
    assert parse("{server_name: a.b, signing_key_file: /k}").signing_key_file == Path("/k")


def test_a_section_given_in_part_keeps_the_other_defaults() -> None:
    limits = parse("{server_name: example.org, rate_limits: {message: {burst: 99}}}").rate_limits
    assert (limits.message.per_second, limits.message.burst) == (5, 99)
    assert limits.login == Settings(server_name="x").rate_limits.login


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listeners: [{port: x}]", "listeners[0].port: expected an integer from 1 to 65535, got 'x'"),
        ("listeners: [{port: 70000}]", "listeners[0].port: expected an integer from 1 to 65535, got 70000"),
        ("listeners: [{port: true}]", "listeners[0].port: expected an integer from 1 to 65535, got true"),
        ("listeners: []", "listeners: expected a list of at least 1, got an empty list"),
        ("listeners: [{hots: a}]", "listeners[0].hots: is no setting; did you mean host?"),
        ("metrics: 5", "metrics: expected settings (name: value), got 5"),
        ("presence: {enabled: 'no'}", "presence.enabled: expected true or false, got 'no'"),
        (
            "rate_limits: {read: {per_second: 0}}",
            "rate_limits.read.per_second: expected a number greater than 0, got 0",
        ),
        ("rate_limits: {read: {per_second: .nan}}", "rate_limits.read.per_second: expected a number greater than 0"),
        ("rooms: {default_version: 11}", "rooms.default_version: expected one of '1', "),
        ("rooms: {default_version: 11}", "got 11 (write it in quotes)"),
        ("logging: {levels: {x: loud}}", "logging.levels.x: expected one of "),
        ("webchat: {sites: [{key: shop}]}", "webchat.sites[0].origins: is missing: expected a list of at least 1"),
        ("signing_key_file: 5", "signing_key_file: expected the path of a file, got 5"),
        ("registration: {shared_secret: 5}", "registration.shared_secret: expected a string: write it in quotes"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(f"server_name: example.org\n{text}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server_name: https://example.org", "server_name: expected a host name"),
        ("server_name: Example.org", "server_name: expected lower case"),
        ("{server_name: a.b, public_base_url: a.b}", "public_base_url: expected http:// or https://"),
        ("{server_name: a.b, listeners: [{}, {}]}", "listeners[1]: 127.0.0.1 port 8008 is taken"),
        (
            "{server_name: a.b, listeners: [{tls_key_file: k}]}",
            "listeners[0].tls_certificate_file: is missing: expected a file, since tls_key_file is set",
        ),
        ("{server_name: a.b, listeners: [{trusted_proxies: [proxy]}]}", "listeners[0].trusted_proxies[0]: expected an"),
        ("{server_name: a.b, database: {url: 'mysql://x:hidden@y/z'}}", "database.url: expected postgresql://"),
        ("{server_name: a.b, registration: {enabled: true}}", "registration.enabled: registration is open to everyb"),
        ("{server_name: a.b, registration: {recaptcha: {site_key: k}}}", "registration.recaptcha.secret_key: is missi"),
        (
            "{server_name: a.b, webchat: {demo_site: x}}",
            "webchat.demo_site: expected the key of one of the sites, got 'x'",
        ),
        ("{server_name: a.b, webchat: {enabled: true}}", "webchat.sites: expected at least one site"),
        (
            "{server_name: a.b, identity_providers: [{id: x, name: X, issuer: 'https://x', client_id: c, scopes: []}]}",
            "identity_providers[0].scopes: expected openid among them",
        ),
        (
            "{server_name: a.b, identity_providers: [{id: x, name: X, issuer: 'https://', client_id: c}]}",
            "identity_providers[0].issuer: expected https:// and a host name",
        ),
        (
            "{server_name: a.b, identity_providers: [{id: x, name: X, issuer: 'https://x', client_id: c, "
            "localpart_template: '{{ user.name }}'}]}",
            "identity_providers[0].localpart_template: expected text with claims as {name}",
        ),
        (
            "{server_name: a.b, identity_providers: [{id: x, name: X, issuer: 'https://x', client_id: c}, "
            "{id: x, name: Y, issuer: 'https://y', client_id: d}]}",
            "identity_providers[1].id: 'x' is taken by an earlier provider",
        ),
        (
            "{server_name: a.b, registration: {email_required: true}}",
            "registration.email_required: expected mail.smtp_host",
        ),
        (
            "{server_name: a.b, registration: {email_patterns: ['(']}}",
            "registration.email_patterns[0]: is no regular expression",
        ),
        (
            "{server_name: a.b, registration: {terms_enforced: true}}",
            "registration.terms_enforced: expected documents in registration.terms",
        ),
        (
            "{server_name: a.b, registration: {terms: [{name: p, version: '1', title: P, url: 'https://a.b/'}, "
            "{name: p, version: '2', language: zh, title: P, url: 'https://a.b/'}]}}",
            "registration.terms[1].version: expected one version in all languages of a document",
        ),
        ("{server_name: a.b, mail: {smtp_host: m, password: x}}", "mail.username: is missing"),
        (
            "{server_name: a.b, mail: {smtp_host: m, username: u, password: x, security: none}}",
            "mail.security: expected starttls or tls",
        ),
        ("{server_name: a.b, mail: {sender: nobody}}", "mail.sender: expected an address"),
        ("{server_name: a.b, ldap: {uri: 'http://a', base: dc=a}}", "ldap.uri: expected ldap:// or ldaps://"),
        ("{server_name: a.b, ldap: {uri: 'ldap://a'}}", "ldap.base: is missing"),
        ("{server_name: a.b, ldap: {uri: 'ldap://a', base: dc=a, bind_dn: cn=b}}", "ldap.bind_password: is missing"),
        ("{server_name: a.b, ldap: {uri: 'ldap://a', base: dc=a, filter: a=b}}", "ldap.filter: expected a filter"),
        ("{server_name: a.b, support: {contacts: [{}]}}", "support.contacts[0]: expected a matrix_id or an email"),
        (
            "{server_name: a.b, webchat: {sites: [{key: shop, origins: ['https://a/b'], staff: ['@s:c.d']}]}}",
            "webchat.sites[0].origins[0]: expected an origin such as https://shop.example.org, got 'https://a/b'",
        ),
        (
            "{server_name: a.b, webchat: {sites: [{key: shop, origins: ['https://a'], staff: ['@s:c.d']}]}}",
            "webchat.sites[0].staff[0]: expected a user of this server, @name:a.b, got '@s:c.d'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text: str, expected: str) -> None:
    found = problems(text)
    assert any(problem.startswith(expected) for problem in found), found
    assert "hidden" not in str(found)


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems("{server_nam: x, metrics: {port: 0}, presence: 1}")) == 4


def test_registration_may_be_open_when_a_token_is_asked_or_it_is_said_to_be_meant() -> None:
    assert parse("{server_name: a.b, registration: {enabled: true, token_required: true}}").registration.enabled
    assert parse("{server_name: a.b, registration: {enabled: true, open_without_verification: true}}")


def test_a_setting_written_twice_is_refused_with_its_line() -> None:
    assert problems("server_name: a.b\nserver_name: c.d") == [
        "is not YAML: line 2, column 1: server_name is written twice"
    ]


def test_broken_yaml_and_wrong_documents_are_refused() -> None:
    assert problems("server_name: [")[0].startswith("is not YAML: line 1")
    assert problems("- a") == ["expected settings (name: value), got a list"]
    assert problems("") == ["server_name: is missing: expected a string"]


def test_yaml_cannot_make_objects() -> None:
    assert "is not YAML" in problems("server_name: !!python/object/apply:os.getcwd []")[0]


def test_a_missing_file_is_said_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory; `halfdoor init` makes one"):
        config.load(tmp_path / "none.yaml", {})


def test_load_reads_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "halfdoor.yaml"
    file.write_text("server_name: example.org")
    settings = config.load(file, {"HALFDOOR_REGISTRATION_SHARED_SECRET": STRONG})
    assert settings.registration.shared_secret is not None
    assert settings.registration.shared_secret.reveal() == STRONG
    assert settings.signing_key_file == tmp_path / "signing.key"
