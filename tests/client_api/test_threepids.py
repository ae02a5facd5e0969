"""/account/3pid: adding, removing, logging in with an address, and publishing it at an identity server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from signedjson.key import get_verify_key
from unpaddedbase64 import decode_base64

from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.protocol import signatures
from homeserver.storage.database import Database
from homeserver.storage.threepids import Threepid, ThreepidStore
from tests.support.confirming import SECRET, add_email, confirm, open_mail_server, request_token
from tests.support.outbound import FakeOutbound, SentRequest, json_answer
from tests.support.server import signing_key
from tests.support.user_server import IRC, PASSWORD, SERVER_NAME, UserServer, open_user_server

EMAIL = "alice@example.org"
BIND = {"sid": "S", "client_secret": "c", "id_server": "id.example.org", "id_access_token": "idt"}


@pytest.fixture
def mail_server() -> UserServer:
    return open_mail_server()


def by_email(address: str, **changes: Any) -> dict[str, Any]:
    """A login that names an address."""
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": address, **changes}
    return {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}


async def addresses(server: UserServer, token: str) -> list[str]:
    kept = (await server.get("/account/3pid", token=token)).json["threepids"]
    return [each["address"] for each in kept]


async def test_an_address_is_added_with_a_password_and_then_logs_in(database: Database) -> None:
    server = open_mail_server(db=database)
    alice = await server.register("alice")
    sid = await confirm(server, "/account/3pid", "Alice@Example.ORG")
    body = {"sid": sid, "client_secret": SECRET}
    asked = await server.post("/account/3pid/add", body, token=alice.token)
    assert (asked.status, asked.json["flows"]) == (401, [{"stages": ["m.login.password"]}])
    assert await addresses(server, alice.token) == []
    done = await server.with_password("POST", "/account/3pid/add", body, token=alice.token)
    assert (done.status, done.json) == (200, {})
    kept = (await server.get("/account/3pid", token=alice.token)).json["threepids"]
    now = server.clock.now_ms()
    assert kept == [{"medium": "email", "address": EMAIL, "validated_at": now, "added_at": now}]
    for login in (
        by_email("ALICE@example.org"),
        {**by_email(EMAIL), "identifier": {"medium": "email", "address": EMAIL}},
    ):
        assert (await server.post("/login", login)).json["user_id"] == alice.user_id
    old = {"type": "m.login.password", "medium": "email", "address": EMAIL, "password": PASSWORD}
    assert (await server.post("/login", old)).json["user_id"] == alice.user_id
    used = await server.post("/account/3pid/add", body, token=alice.token)
    assert (used.status, used.json["errcode"]) == (403, "M_THREEPID_AUTH_FAILED")


async def test_an_address_serves_user_interactive_authentication(mail_server: UserServer) -> None:
    alice, bob = await mail_server.register("alice"), await mail_server.register("bob")
    await add_email(mail_server, alice.token, EMAIL)
    identifier = by_email(EMAIL)["identifier"]
    for person, status in ((bob, 401), (alice, 200)):
        body = {"new_password": "a new password"}
        session = (await mail_server.post("/account/password", body, token=person.token)).json["session"]
        auth = {"type": "m.login.password", "session": session, "identifier": identifier, "password": PASSWORD}
        answer = await mail_server.post("/account/password", {**body, "auth": auth}, token=person.token)
        assert answer.status == status


async def test_F07_unknown_addresses_and_wrong_passwords_get_the_same_answer(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    await add_email(mail_server, alice.token, EMAIL)
    answers = [
        await mail_server.post("/login", {**by_email(address), "password": "wrong"})
        for address in (EMAIL, "nobody@example.org", "no address")
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
    phone = {"type": "m.id.phone", "country": "GB", "phone": "+44 7700 900001"}
    answer = await mail_server.post("/login", {**by_email(""), "identifier": phone})
    assert (answer.status, answer.body) == (403, answers[0].body)
    for _ in range(5):
        last = await mail_server.post("/login", by_email("nobody@example.org"))
    assert last.json["errcode"] == "M_LIMIT_EXCEEDED"


async def test_phone_number_of_an_account_logs_in_however_it_is_written(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    phone = Threepid("msisdn", "447700900001", alice.user_id, 1, 1)
    await mail_server.db.write(lambda txn: ThreepidStore(mail_server.db).add_threepid(txn, phone))
    for identifier in (
        {"type": "m.id.phone", "country": "GB", "phone": "+44 7700 900-001"},
        {"type": "m.id.thirdparty", "medium": "msisdn", "address": "447700900001"},
    ):
        login = await mail_server.post("/login", {**by_email(""), "identifier": identifier})
        assert login.json["user_id"] == alice.user_id


async def test_F03_an_address_of_somebody_else_is_not_taken_over(mail_server: UserServer) -> None:
    alice, bob = await mail_server.register("alice"), await mail_server.register("bob")
    sid = await confirm(mail_server, "/account/3pid", EMAIL, secret="bobs")  # before it is Alice's
    await add_email(mail_server, alice.token, EMAIL)
    body = {"sid": sid, "client_secret": "bobs"}
    answer = await mail_server.with_password("POST", "/account/3pid/add", body, token=bob.token)
    assert (answer.status, answer.json["errcode"]) == (400, "M_THREEPID_IN_USE")
    assert (await mail_server.post("/login", by_email(EMAIL))).json["user_id"] == alice.user_id


async def test_F03_an_address_is_added_only_once_its_link_was_followed(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    sid = (await request_token(mail_server, "/account/3pid", EMAIL)).json["sid"]
    for path, body in (
        ("/account/3pid/add", {"sid": sid, "client_secret": SECRET}),
        ("/account/3pid", {"three_pid_creds": {"sid": sid, "client_secret": SECRET}}),
    ):
        answer = await mail_server.post(path, body, token=alice.token)
        assert (answer.status, answer.json["errcode"]) == (403, "M_THREEPID_AUTH_FAILED")
    assert await addresses(mail_server, alice.token) == []


async def test_the_old_way_of_adding_asks_for_the_password_too(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    sid = await confirm(mail_server, "/account/3pid", EMAIL)
    body: dict[str, Any] = {"three_pid_creds": {"sid": sid, "client_secret": SECRET}}
    answer = await mail_server.with_password("POST", "/account/3pid", body, token=alice.token)
    assert (answer.status, await addresses(mail_server, alice.token)) == (200, [EMAIL])
    assert (await mail_server.post("/account/3pid", {}, token=alice.token)).json["errcode"] == "M_MISSING_PARAM"


async def test_a_removed_address_is_free_again_and_gets_no_notifications(mail_server: UserServer) -> None:
    alice, bob = await mail_server.register("alice"), await mail_server.register("bob")
    await add_email(mail_server, alice.token, EMAIL)
    wanted = {"medium": "email", "address": "ALICE@example.org"}
    removed = await mail_server.post("/account/3pid/delete", wanted, token=bob.token)
    assert removed.json == {"id_server_unbind_result": "no-support"}
    assert await addresses(mail_server, alice.token) == [EMAIL]  # it is not Bob's to remove
    removed = await mail_server.post("/account/3pid/delete", wanted, token=alice.token)
    assert removed.json == {"id_server_unbind_result": "no-support"}
    assert await addresses(mail_server, alice.token) == []
    assert (await mail_server.post("/login", by_email(EMAIL))).status == 403
    await add_email(mail_server, bob.token, EMAIL)
    for body in ({"medium": "email"}, {"address": EMAIL}):
        answer = await mail_server.post("/account/3pid/delete", body, token=alice.token)
        assert answer.json["errcode"] == "M_MISSING_PARAM"
    for body in ({"medium": "pigeon", "address": EMAIL}, {"medium": "email", "address": "x"}):
        answer = await mail_server.post("/account/3pid/delete", body, token=alice.token)
        assert answer.json["errcode"] == "M_INVALID_PARAM"


async def test_a_deactivated_account_has_no_addresses(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    await add_email(mail_server, alice.token, EMAIL)
    ended = await mail_server.with_password("POST", "/account/deactivate", {}, token=alice.token)
    assert ended.json == {"id_server_unbind_result": "success"}
    assert await mail_server.services.threepids.find_user("email", EMAIL) is None
    bob = await mail_server.register("bob")
    await add_email(mail_server, bob.token, EMAIL)


async def test_application_services_and_strangers_add_nothing(mail_server: UserServer) -> None:
    server = open_user_server(appservices=[IRC])
    body = {"sid": "s", "client_secret": "c"}
    assert (await server.post("/account/3pid/add", body, token=IRC.as_token)).json["errcode"] == "M_FORBIDDEN"
    for path in ("/account/3pid", "/account/3pid/add", "/account/3pid/bind", "/account/3pid/delete"):
        assert (await mail_server.post(path, {})).json["errcode"] == "M_MISSING_TOKEN"


# ---- identity servers


def identity_server(answers: Mapping[str, OutboundAnswer]) -> FakeOutbound:
    """Answers by the last part of the path."""

    def answer(request: SentRequest) -> OutboundAnswer:
        return answers[request.url.rpartition("/")[2]]

    return FakeOutbound(answer)


def bound(**changes: Any) -> OutboundAnswer:
    """What /3pid/bind answers."""
    return json_answer({"medium": "email", "address": EMAIL, "mxid": f"@alice:{SERVER_NAME}", **changes})


async def test_binding_is_passed_on_and_unbound_again_with_our_signature() -> None:
    outside = identity_server({"bind": bound(), "unbind": json_answer({})})
    server = open_mail_server(outbound=outside)
    alice = await server.register("alice")
    assert (await server.post("/account/3pid/bind", BIND, token=alice.token)).json == {}
    (sent,) = outside.requests
    assert (sent.method, sent.url) == ("POST", "https://id.example.org/_matrix/identity/v2/3pid/bind")
    assert sent.json == {"sid": "S", "client_secret": "c", "mxid": alice.user_id}
    assert sent.headers["Authorization"] == "Bearer idt"
    assert not sent.trusted
    assert await addresses(server, alice.token) == []  # binding is not adding
    wanted = {"medium": "email", "address": EMAIL}
    unbound = await server.post("/account/3pid/unbind", wanted, token=alice.token)
    assert unbound.json == {"id_server_unbind_result": "success"}
    sent = outside.requests[-1]
    assert sent.url == "https://id.example.org/_matrix/identity/v2/3pid/unbind"
    assert sent.json == {"mxid": alice.user_id, "threepid": wanted}
    check_signature(sent, "id.example.org")
    again = await server.post("/account/3pid/unbind", wanted, token=alice.token)
    assert again.json == {"id_server_unbind_result": "no-support"}
    assert len(outside.requests) == 2


def check_signature(sent: SentRequest, destination: str) -> None:
    """The request is signed as one of server to server."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', sent.headers["Authorization"].removeprefix("X-Matrix ")))
    assert (fields["origin"], fields["destination"]) == (SERVER_NAME, destination)
    decode_base64(fields["sig"])
    request = {
        "method": sent.method,
        "uri": sent.url.partition(destination)[2],
        "origin": SERVER_NAME,
        "destination": destination,
        "content": sent.json,
        "signatures": {SERVER_NAME: {fields["key"]: fields["sig"]}},
    }
    signatures.verify(request, SERVER_NAME, get_verify_key(signing_key()))


async def test_removing_an_address_unbinds_it_where_it_was_bound() -> None:
    outside = identity_server({"bind": bound(), "unbind": json_answer({})})
    server = open_mail_server(outbound=outside)
    alice = await server.register("alice")
    await add_email(server, alice.token, EMAIL)
    await server.post("/account/3pid", {"three_pid_creds": BIND}, token=alice.token)
    removed = await server.post("/account/3pid/delete", {"medium": "email", "address": EMAIL}, token=alice.token)
    assert removed.json == {"id_server_unbind_result": "success"}
    assert [sent.url.rpartition("/")[2] for sent in outside.requests] == ["bind", "unbind"]


async def test_an_identity_server_that_cannot_unbind_is_no_reason_to_keep_an_address() -> None:
    for refusal in (json_answer({"errcode": "M_UNRECOGNIZED", "error": "?"}, 404), OutboundAnswer(501)):
        outside = identity_server({"bind": bound(), "unbind": refusal})
        server = open_mail_server(outbound=outside)
        alice = await server.register("alice")
        await add_email(server, alice.token, EMAIL)
        await server.post("/account/3pid/bind", BIND, token=alice.token)
        wanted = {"medium": "email", "address": EMAIL}
        answer = await server.post("/account/3pid/unbind", wanted, token=alice.token)
        assert answer.json == {"id_server_unbind_result": "no-support"}
        answer = await server.post("/account/3pid/delete", wanted, token=alice.token)
        assert answer.json == {"id_server_unbind_result": "no-support"}
        assert await addresses(server, alice.token) == []
        ended = await server.with_password("POST", "/account/deactivate", {}, token=alice.token)
        assert ended.json == {"id_server_unbind_result": "no-support"}


async def test_refusals_of_the_identity_server_are_passed_on() -> None:
    unsigned = json_answer({"errcode": "M_TERMS_NOT_SIGNED", "error": "Sign first"}, 403)
    server = open_mail_server(outbound=identity_server({"bind": unsigned}))
    alice = await server.register("alice")
    answer = await server.post("/account/3pid/bind", BIND, token=alice.token)
    assert answer.json == {"errcode": "M_TERMS_NOT_SIGNED", "error": "Sign first"}


@pytest.mark.parametrize(
    "answer",
    [
        bound(mxid="@mallory:evil.example"),
        bound(address=None),
        bound(address="x" * 300),
        json_answer([]),
        json_answer({"errcode": "<script>"}, 400),
        OutboundAnswer(200, {}, b"<html>"),
        OutboundAnswer(302, {"location": "http://127.0.0.1/"}),
    ],
)
async def test_nonsense_of_an_identity_server_is_not_believed(answer: OutboundAnswer) -> None:
    server = open_mail_server(outbound=identity_server({"bind": answer}))
    alice = await server.register("alice")
    refused = await server.post("/account/3pid/bind", BIND, token=alice.token)
    assert (refused.status, refused.json["errcode"]) == (502, "M_CONNECTION_FAILED")
    assert await server.db.fetch_all("SELECT * FROM threepid_bindings") == []


@pytest.mark.parametrize("name", ["http://id.example.org", "a/b", "a@b", "", "a b", "id.example.org/path?x", "a\r\nb"])
async def test_C01_what_is_no_server_name_is_never_asked(name: str) -> None:
    outside = identity_server({})
    server = open_mail_server(outbound=outside)
    alice = await server.register("alice")
    for path, body in (
        ("/account/3pid/bind", {**BIND, "id_server": name}),
        ("/account/3pid/unbind", {"medium": "email", "address": EMAIL, "id_server": name}),
        ("/account/3pid/bind", {**BIND, "id_access_token": "x\r\nHost: y"}),
    ):
        answer = await server.post(path, body, token=alice.token)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert outside.requests == []


async def test_why_an_identity_server_was_not_reached_is_not_told() -> None:
    def refuse(request: SentRequest) -> OutboundAnswer:
        raise OutboundFailed("refused", "10.0.0.1 is a private address")

    server = open_mail_server(outbound=FakeOutbound(refuse))
    alice = await server.register("alice")
    answer = await server.post("/account/3pid/bind", BIND, token=alice.token)
    assert answer.status == 502
    assert "10.0.0.1" not in answer.json["error"]


async def test_the_capability_says_whether_addresses_change(mail_server: UserServer, server: UserServer) -> None:
    for each, is_possible in ((mail_server, True), (server, False)):
        alice = await each.register("alice")
        capabilities = (await each.get("/capabilities", token=alice.token)).json["capabilities"]
        assert capabilities["m.3pid_changes"] == {"enabled": is_possible}


async def test_a_suspended_account_adds_addresses_and_removes_none(mail_server: UserServer) -> None:
    alice = await mail_server.register("alice")
    await mail_server.services.accounts.set_flag(alice.user_id, "is_suspended", True)
    await add_email(mail_server, alice.token, EMAIL)
    refused = await mail_server.post("/account/3pid/delete", {"medium": "email", "address": EMAIL}, token=alice.token)
    assert (refused.status, refused.json["errcode"]) == (403, "M_USER_SUSPENDED")
    assert await addresses(mail_server, alice.token) == [EMAIL]


async def test_an_account_that_is_ended_by_an_operator_is_unbound_too() -> None:
    outside = identity_server({"bind": bound(), "unbind": json_answer({})})
    server = open_mail_server(outbound=outside)
    alice = await server.register("alice")
    await server.post("/account/3pid/bind", BIND, token=alice.token)
    await server.services.accounts.deactivate(alice.user_id, erase=False)
    assert [sent.url.rpartition("/")[2] for sent in outside.requests] == ["bind", "unbind"]
    assert await server.db.fetch_all("SELECT * FROM threepid_bindings") == []
