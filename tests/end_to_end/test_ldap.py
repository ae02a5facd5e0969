"""Logging in with the passwords of a real LDAP directory, and what people type to get past it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from homeserver.ldap import LdapPasswords, LdapSettings
from homeserver.users.registration import RegistrationSettings
from tests.support import slapd
from tests.support.confirming import EMAIL, SECRET, confirm
from tests.support.slapd import Directory
from tests.support.user_server import SERVER_NAME, UserServer, login_body, open_user_server, settings

pytestmark = [
    pytest.mark.end_to_end,
    # ldap3 uses names of pyasn1 that will go; what is left of them is checked by every test here.
    pytest.mark.filterwarnings("ignore:.* is deprecated. Please use:DeprecationWarning"),
    pytest.mark.skipif(slapd.SLAPD is None, reason="slapd is not installed (apt-get install slapd)"),
]

ADA = "ada's password"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with slapd.slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


def of(directory: Directory, **changes: Any) -> LdapSettings:
    """The settings of an operator who got everything right."""
    made = LdapSettings(
        directory.uri,
        slapd.BASE,
        bind_dn=slapd.SERVICE,
        bind_password=slapd.SERVICE_PASSWORD,
        ca_file=directory.ca_file,
        timeout=3.0,
    )
    return replace(made, **changes)


def open_ldap_server(chosen: LdapSettings) -> UserServer:
    """Registration is closed, as it should be beside a directory."""
    server = open_user_server(chosen=settings(RegistrationSettings(), email=EMAIL))
    services = server.services
    passwords = LdapPasswords(chosen, SERVER_NAME, services.vouched_accounts, asyncio.to_thread)
    server.hooks.check_password.append(passwords.check_password)
    services.hooks.check_new_password.append(passwords.check_new_password)
    return server


async def test_somebody_in_the_directory_gets_an_account_with_the_first_login(directory: Directory) -> None:
    server = open_ldap_server(of(directory))
    wrong = await server.post("/login", login_body("ada", "wrong"))
    assert (wrong.status, wrong.json["errcode"]) == (403, "M_FORBIDDEN")
    assert not await server.services.accounts.exists(f"@ada:{SERVER_NAME}")
    ada = await server.log_in("Ada", password=ADA)
    assert ada.user_id == f"@ada:{SERVER_NAME}"
    profile = (await server.get(f"/profile/{ada.user_id}")).json
    assert profile == {"displayname": "Ada Lovelace"}
    assert await server.services.threepids.list_emails(ada.user_id) == ["ada@example.org"]
    by_mail = {"type": "m.id.thirdparty", "medium": "email", "address": "ada@example.org"}
    again = await server.post("/login", {**login_body("", ADA), "identifier": by_mail})
    assert again.json["user_id"] == ada.user_id


async def test_whoever_is_not_in_the_directory_logs_in_as_ever(directory: Directory) -> None:
    server = open_ldap_server(of(directory, filter="(employeeType=chat)"))
    await server.register("local")
    for name in ("bob", "nobody"):
        assert (await server.post("/login", login_body(name, "bob's password"))).status == 403
    assert (await server.post("/login", login_body("ada", ADA))).status == 200


async def test_F02_a_deactivated_account_stays_out_whatever_the_directory_says(directory: Directory) -> None:
    server = open_ldap_server(of(directory))
    ada = await server.log_in("ada", password=ADA)
    await server.services.accounts.deactivate(ada.user_id, erase=False)
    assert (await server.post("/login", login_body("ada", ADA))).json["errcode"] == "M_USER_DEACTIVATED"


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "a*",
        "ada)(uid=*",
        "*)(|(uid=*",
        "ada)(&",
        "ada\\2a",
        "ada\\00",
        "ada ",
        " ada",
        "@ADA:halfdoor.test",
        "@ada)(cn=*:halfdoor.test",
        "uid=ada",
        "ada,ou=people",
        "ädа",
        "(ada)",
        "!(uid=ada)",
    ],
)
async def test_F04_what_people_type_is_no_filter(directory: Directory, name: str) -> None:
    server = open_ldap_server(of(directory))
    answer = await server.post("/login", login_body(name, ADA))
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert await server.db.fetch_value("SELECT COUNT(*) FROM accounts") == 0


@pytest.mark.parametrize("password", ["", "\0", "ada's password\0", " ", "x" * 100_000])
async def test_F04_a_bind_without_a_password_is_no_login(directory: Directory, password: str) -> None:
    server = open_ldap_server(of(directory))
    assert (await server.post("/login", login_body("ada", password))).status in (400, 403)


async def test_encrypted_connections_check_the_certificate(directory: Directory) -> None:
    for chosen in (of(directory), of(directory, uri=directory.tls_uri), of(directory, start_tls=False)):
        assert (await open_ldap_server(chosen).post("/login", login_body("ada", ADA))).status == 200
    elsewhere = directory.uri.replace("localhost", "127.0.0.2")
    for chosen in (
        of(directory, ca_file=None),
        of(directory, uri=directory.tls_uri, ca_file=None),
        of(directory, uri=elsewhere),
    ):
        assert (await open_ldap_server(chosen).post("/login", login_body("ada", ADA))).status == 503


async def test_when_the_directory_is_away_only_local_passwords_are_judged(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    for chosen in (
        of(directory, uri="ldap://127.0.0.1:1"),
        of(directory, bind_password="wrong"),
        of(directory, base="ou=nowhere,dc=example,dc=org"),
    ):
        server = open_ldap_server(chosen)
        await server.register("local")
        assert (await server.post("/login", login_body("ada", ADA))).status == 503
        assert "The directory cannot be asked" in caplog.text
        assert ADA not in caplog.text
        assert slapd.SERVICE_PASSWORD not in caplog.text


async def test_the_password_of_the_directory_cannot_be_changed_here(directory: Directory) -> None:
    server = open_ldap_server(of(directory))
    ada = await server.log_in("ada", password=ADA)
    change = {"new_password": "a new good password"}
    answer = await server.post("/account/password", change, token=ada.token)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    sid = await confirm(server, "/account/password", "ada@example.org")
    session = (await server.post("/account/password", change)).json["session"]
    credentials = {"sid": sid, "client_secret": SECRET}
    auth = {"type": "m.login.email.identity", "session": session, "threepid_creds": credentials}
    reset = await server.post("/account/password", {**change, "auth": auth})
    assert (reset.status, reset.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await server.get("/account/whoami", token=ada.token)).status == 200
    local = await server.register("local")
    assert (await server.with_password("POST", "/account/password", change, token=local.token)).status == 200


async def test_the_password_of_the_directory_proves_who_one_is(directory: Directory) -> None:
    server = open_ldap_server(of(directory))
    ada = await server.log_in("ada", password=ADA)
    other = await server.log_in("ada", password=ADA)
    wrong = await server.with_password("DELETE", f"/devices/{other.device_id}", {}, token=ada.token, password="x")
    assert wrong.status == 401
    right = await server.with_password("DELETE", f"/devices/{other.device_id}", {}, token=ada.token, password=ADA)
    assert right.status == 200
