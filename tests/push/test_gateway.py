"""Our own push gateway, against doubles of APNs, FCM and Web Push that check signatures as the real ones do."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from homeserver.metrics import Metrics
from homeserver.outbound.client import OutboundAnswer
from homeserver.protocol.errors import BadJson
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.gateway.gateway import PushGateway, build_gateway
from homeserver.push.own_gateway import OwnGatewayFailed
from tests.push import apple, google
from tests.push.apple import Apple, open_apple
from tests.push.browser import Browser, encode64, point
from tests.push.google import Google, refusal
from tests.support.certificates import self_signed
from tests.support.clock import FakeClock
from tests.support.outbound import FakeOutbound, SentRequest

ID_ONLY: dict[str, Any] = {"event_id": "$1", "room_id": "!room", "counts": {"unread": 3}, "prio": "high"}
FULL: dict[str, Any] = {
    **ID_ONLY,
    "type": "m.room.message",
    "sender": "@alice:example.org",
    "sender_display_name": "Alice",
    "room_name": "Tea",
    "content": {"msgtype": "m.text", "body": "It is time", "formatted_body": "<b>It is time</b>"},
}


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Once: making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


def gateway_of(app: AppSettings, clock: FakeClock, answer: Callable[[SentRequest], OutboundAnswer]) -> PushGateway:
    return build_gateway([app], FakeOutbound(answer), clock, Metrics())


def device(pushkey: str, **data: Any) -> dict[str, Any]:
    return {"app_id": "org.example", "pushkey": pushkey, "pushkey_ts": 1, "data": data, "tweaks": {"sound": "default"}}


class AtApple:
    """A gateway and Apple."""

    def __init__(self, clock: FakeClock, apple: Apple, gateway: PushGateway) -> None:
        self.clock, self.apple, self.gateway = clock, apple, gateway

    async def notify(self, pushkey: str = "q80=", event_id: str = "$1", **members: Any) -> list[str]:
        notification = {**ID_ONLY, "event_id": event_id, "devices": [device(pushkey)], **members}
        return await self.gateway.notify(notification)


@pytest.fixture
async def at_apple(tmp_path: Path) -> AsyncIterator[AtApple]:
    certificate, tls_key = self_signed(tmp_path, "localhost")
    clock, key = FakeClock(), ec.generate_private_key(ec.SECP256R1())
    async with open_apple(str(certificate), str(tls_key), key.public_key(), lambda: clock.now_ms() / 1000) as double:
        app = AppSettings(
            "org.example",
            "apns",
            key=pem(key),
            key_id=apple.KEY_ID,
            team_id=apple.TEAM_ID,
            topic=apple.TOPIC,
            url=f"https://localhost:{double.port}",
            ca_file=str(certificate),
        )
        gateway = build_gateway([app], FakeOutbound(), clock, Metrics())
        yield AtApple(clock, double, gateway)
        await gateway.close()


async def test_apple_takes_an_event_id_with_the_apps_own_payload_over_http2(at_apple: AtApple) -> None:
    default = {"aps": {"mutable-content": 1, "alert": {"loc-key": "SINGLE_UNREAD", "loc-args": []}}}
    assert await at_apple.notify(devices=[device("q80=", format="event_id_only", default_payload=default)]) == []
    (delivery,) = at_apple.apple.deliveries
    assert delivery.token == "abcd"
    assert delivery.payload == {**default, "event_id": "$1", "room_id": "!room", "unread_count": 3}
    assert delivery.headers["apns-priority"] == "10"
    assert int(delivery.headers["apns-expiration"]) == at_apple.clock.now_ms() // 1000 + 24 * 3600
    assert at_apple.apple.refusals == []


async def test_apple_takes_an_alert_with_words_and_a_number(at_apple: AtApple) -> None:
    await at_apple.notify(**{**FULL, "event_id": "$2", "prio": "low"})
    await at_apple.notify(event_id=None, room_id=None, counts={"unread": 0})  # type: ignore[arg-type]
    alert, badge = at_apple.apple.deliveries
    assert alert.payload == {
        "aps": {
            "alert": {
                "loc-key": "MSG_FROM_USER_IN_ROOM_WITH_CONTENT",
                "loc-args": ["Alice", "Tea", "It is time"],
            },
            "badge": 3,
            "sound": "default",
        },
        "event_id": "$2",
        "room_id": "!room",
    }
    assert alert.headers["apns-priority"] == "5"
    assert badge.payload == {"aps": {"badge": 0}}


async def test_token_for_apple_is_reused_and_made_anew_in_time_on_one_connection(at_apple: AtApple) -> None:
    for number in range(12):  # two hours
        await at_apple.notify(event_id=f"${number}")
        await at_apple.clock.advance(600)
    assert len(at_apple.apple.deliveries) == 12
    assert len(at_apple.apple.tokens) == 3
    assert at_apple.apple.connections == 1
    assert at_apple.apple.refusals == []


async def test_apples_clock_decides_whether_a_token_is_too_old(at_apple: AtApple) -> None:
    await at_apple.notify(event_id="$1")
    at_apple.clock.jump_wall_clock(2 * 3600 * 1000)
    assert await at_apple.notify(event_id="$2") == []
    assert at_apple.apple.refusals == [(403, "ExpiredProviderToken")]
    assert len(at_apple.apple.deliveries) == 2


@pytest.mark.parametrize(
    ("status", "reason"),
    [(410, "Unregistered"), (400, "BadDeviceToken"), (400, "DeviceTokenNotForTopic"), (410, "ExpiredToken")],
)
async def test_devices_that_apple_does_not_know_are_rejected(at_apple: AtApple, status: int, reason: str) -> None:
    at_apple.apple.reasons["abcd"] = (status, reason)
    assert await at_apple.notify() == ["q80="]


async def test_what_is_no_device_token_is_rejected_without_asking_apple(at_apple: AtApple) -> None:
    for pushkey in ("", "no base64!", "../../x"):
        assert await at_apple.notify(pushkey) == [pushkey]
    assert at_apple.apple.connections == 0


async def test_apple_is_left_alone_while_it_fails(at_apple: AtApple) -> None:
    at_apple.apple.reasons["abcd"] = (503, "ServiceUnavailable")
    from asyncio import create_task

    task = create_task(at_apple.notify())
    for _ in range(200):
        if task.done():
            break
        await at_apple.clock.advance(1)
    with pytest.raises(OwnGatewayFailed) as failed:
        await task
    assert failed.value.retry_after == 30
    assert len(at_apple.apple.refusals) == 3
    with pytest.raises(OwnGatewayFailed):
        await at_apple.notify()
    assert len(at_apple.apple.refusals) == 3
    del at_apple.apple.reasons["abcd"]
    await at_apple.clock.advance(31)
    assert await at_apple.notify() == []


async def test_long_texts_fit_what_apple_takes(at_apple: AtApple) -> None:
    content = {"msgtype": "m.text", "body": "茶" * 20_000}
    await at_apple.notify(**{**FULL, "content": content, "sender_display_name": "A" * 5000})
    (delivery,) = at_apple.apple.deliveries
    sender, _, body = delivery.payload["aps"]["alert"]["loc-args"]
    assert body.startswith("茶茶茶")
    assert body.endswith("茶…")
    assert sender == "A" * 1021 + "…"
    huge = device("q80=", default_payload={"x": "y" * 5000})
    assert await at_apple.notify(event_id="$2", devices=[huge]) == []
    assert at_apple.gateway.outcomes["apns", "dropped"] == 1


async def test_the_same_event_reaches_a_device_once(at_apple: AtApple) -> None:
    for _ in range(3):
        await at_apple.notify()
    assert len(at_apple.apple.deliveries) == 1


async def test_wrong_key_is_the_operators_fault_and_rejects_nobody(at_apple: AtApple) -> None:
    at_apple.apple.public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(OwnGatewayFailed, match="InvalidProviderToken"):
        await at_apple.notify()


class AtGoogle:
    """A gateway and Google."""

    def __init__(self, **changes: Any) -> None:
        self.clock = FakeClock()
        self.google = Google(rsa_key().public_key(), lambda: self.clock.now_ms() / 1000)
        app = AppSettings("org.example*", "fcm", key=google.service_account(pem(rsa_key())), **changes)
        self.gateway = gateway_of(app, self.clock, self.google)

    async def notify(self, *pushkeys: str, **members: Any) -> list[str]:
        devices = [device(pushkey, **members.pop("data", {})) for pushkey in pushkeys or ("token",)]
        return await self.gateway.notify({**ID_ONLY, "devices": devices, **members})


async def test_google_takes_texts_with_a_token_of_the_service_account() -> None:
    at = AtGoogle(options={"android": {"ttl": "60s"}, "apns": {"headers": {}}})
    data = {"default_payload": {"cs": "secret", "number": 5}}
    assert await at.notify(data=data, **{**FULL, "counts": {"unread": 2, "missed_calls": 1}}) == []
    assert at.google.messages == [
        {
            "token": "token",
            "android": {"ttl": "60s", "priority": "high"},
            "apns": {"headers": {}},
            "data": {
                "cs": "secret",
                "number": "5",
                "event_id": "$1",
                "room_id": "!room",
                "type": "m.room.message",
                "sender": "@alice:example.org",
                "sender_display_name": "Alice",
                "room_name": "Tea",
                "content_msgtype": "m.text",
                "content_body": "It is time",
                "content_formatted_body": "<b>It is time</b>",
                "prio": "high",
                "unread": "2",
                "missed_calls": "1",
            },
        }
    ]


async def test_googles_token_is_kept_until_shortly_before_its_end() -> None:
    at = AtGoogle()
    for number in range(8):
        await at.notify(event_id=f"${number}")
        await at.clock.advance(600)
    assert len(at.google.messages) == 8
    assert len(at.google.tokens) == 2


async def test_token_that_google_took_back_is_asked_for_anew() -> None:
    at = AtGoogle()
    await at.notify()
    at.google.revoked.update(at.google.tokens)
    assert await at.notify(event_id="$2") == []
    assert len(at.google.messages) == 2


@pytest.mark.parametrize(
    "answer",
    [
        refusal(404, "UNREGISTERED"),
        refusal(400, "INVALID_ARGUMENT", names_token=True),
        refusal(403, "SENDER_ID_MISMATCH"),
    ],
)
async def test_registrations_that_google_does_not_know_are_rejected(answer: OutboundAnswer) -> None:
    at = AtGoogle()
    at.google.answers["gone"] = answer
    assert await at.notify("gone", "there") == ["gone"]
    assert [message["token"] for message in at.google.messages] == ["there"]


async def test_a_mistake_in_one_message_rejects_nobody() -> None:
    at = AtGoogle()
    at.google.answers["token"] = refusal(400, "INVALID_ARGUMENT")
    assert await at.notify() == []
    assert at.gateway.outcomes["fcm", "dropped"] == 1


async def test_google_says_when_to_come_back_and_who_was_told_is_not_told_again() -> None:
    at = AtGoogle()
    at.google.answers["busy"] = refusal(429, "QUOTA_EXCEEDED", headers={"retry-after": "90"})
    with pytest.raises(OwnGatewayFailed) as failed:
        await at.notify("first", "busy")
    assert failed.value.retry_after == 90
    at.google.answers.clear()
    await at.clock.advance(91)
    assert await at.notify("first", "busy") == []
    assert [message["token"] for message in at.google.messages] == ["first", "busy"]


async def test_long_messages_fit_what_google_takes() -> None:
    at = AtGoogle()
    content = {f"member{number}": "x" * 900 for number in range(20)}
    await at.notify(**{**FULL, "content": {**content, "msgtype": "m.text", "body": "茶" * 9000}})
    (message,) = at.google.messages
    assert message["data"]["event_id"] == "$1"
    assert message["data"]["content_msgtype"] == "m.text"


class AtBrowser:
    """A gateway and a browser."""

    def __init__(self, **changes: Any) -> None:
        self.clock, key = FakeClock(), ec.generate_private_key(ec.SECP256R1())
        self.browser = Browser(encode64(point(key)), lambda: self.clock.now_ms() / 1000)
        app = AppSettings("org.example", "webpush", key=pem(key), contact="mailto:push@example.org", **changes)
        self.gateway = gateway_of(app, self.clock, self.browser)

    async def notify(self, **members: Any) -> list[str]:
        told = device(self.browser.pushkey, **{**self.browser.data, **members.pop("data", {})})
        return await self.gateway.notify({**ID_ONLY, "devices": [told], **members})


async def test_browser_decrypts_what_the_gateway_sends() -> None:
    at = AtBrowser()
    assert await at.notify(data={"default_payload": {"client": "web"}}, **FULL) == []
    assert at.browser.messages == [
        {
            "client": "web",
            "event_id": "$1",
            "room_id": "!room",
            "type": "m.room.message",
            "sender": "@alice:example.org",
            "sender_display_name": "Alice",
            "room_name": "Tea",
            "unread": 3,
            "content": {"msgtype": "m.text", "body": "It is time"},
        }
    ]
    (sent,) = at.browser.requests
    assert (sent.headers["TTL"], sent.headers["Urgency"]) == ("900", "normal")


async def test_vapid_token_never_outlives_a_day() -> None:
    at = AtBrowser()
    for number in range(20):
        assert await at.notify(event_id=f"${number}") == []
        await at.clock.advance(3600)
    tokens = {request.headers["Authorization"] for request in at.browser.requests}
    assert len(at.browser.messages) == 20
    assert 2 <= len(tokens) <= 4


@pytest.mark.parametrize(("status", "rejected"), [(404, True), (410, True), (400, False), (413, False)])
async def test_subscriptions_that_ended_are_rejected(status: int, rejected: bool) -> None:
    at = AtBrowser()
    at.browser.status = status
    assert await at.notify() == ([at.browser.pushkey] if rejected else [])


async def test_busy_push_service_does_not_keep_other_browsers_from_theirs() -> None:
    at = AtBrowser()
    at.browser.status, at.browser.headers = 429, {"retry-after": "600"}
    with pytest.raises(OwnGatewayFailed) as failed:
        await at.notify()
    assert failed.value.retry_after == 600
    at.browser.status = 201
    assert await at.notify() == []


async def test_clients_wishes_for_web_push_are_kept() -> None:
    at = AtBrowser()
    assert await at.notify(event_id=None, room_id=None, data={"events_only": True}) == []
    assert at.browser.requests == []
    await at.notify(data={"only_last_per_room": True})
    await at.notify(event_id="$2", prio="low", data={"only_last_per_room": True})
    topics = {request.headers["Topic"] for request in at.browser.requests}
    assert len(topics) == 1
    assert len(topics.pop()) == 32
    assert at.browser.requests[1].headers["Urgency"] == "low"


@pytest.mark.parametrize(
    "data",
    [
        {"endpoint": "http://push.browser.example/"},
        {"endpoint": "https://[broken/"},
        {"endpoint": 5},
        {"auth": "short"},
        {"auth": None},
    ],
)
async def test_subscriptions_that_are_none_are_rejected(data: dict[str, Any]) -> None:
    at = AtBrowser()
    assert await at.notify(data=data) == [at.browser.pushkey]
    assert at.browser.requests == []


async def test_C04_operator_names_the_push_services_that_may_be_told() -> None:
    at = AtBrowser(endpoints=("*.example",))
    await at.notify()
    assert len(at.browser.messages) == 1
    elsewhere = AtBrowser(endpoints=("updates.push.services.mozilla.com",))
    assert await elsewhere.notify() == []
    assert elsewhere.browser.requests == []


async def test_long_messages_fit_one_record() -> None:
    at = AtBrowser()
    ciphertext = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" * 6000}
    await at.notify(**{**FULL, "content": ciphertext})
    await at.notify(**{**FULL, "event_id": "$2", "content": {"msgtype": "m.text", "body": "茶" * 5000}})
    encrypted, text = at.browser.messages
    assert "content" not in encrypted
    assert text["content"]["body"].endswith("茶…")


async def test_unified_push_gets_the_notification_as_it_is() -> None:
    requests: list[SentRequest] = []

    def answer(request: SentRequest) -> OutboundAnswer:
        requests.append(request)
        return OutboundAnswer(404 if "gone" in request.url else 200)

    gateway = gateway_of(AppSettings("org.example", "unifiedpush"), FakeClock(), answer)
    good, gone, wrong = "https://ntfy.example/up?x=1", "https://ntfy.example/gone", "ftp://ntfy.example/up"
    told = {**ID_ONLY, "devices": [device(good), device(gone), device(wrong)]}
    assert await gateway.notify(told) == [gone, wrong]
    assert requests[0].url == good
    assert not requests[0].trusted
    sent = requests[0].json["notification"]
    assert (sent["event_id"], sent["counts"], sent["devices"][0]["pushkey"]) == ("$1", {"unread": 3}, good)
    assert gateway.is_unified_push


async def test_members_that_are_null_count_as_left_out() -> None:
    at = AtGoogle()
    nulls = {"prio": None, "content": None, "sender": None, "counts": {"unread": 1, "missed_calls": None}}
    told = {**ID_ONLY, **nulls, "devices": [{**device("token"), "data": None, "tweaks": None}]}
    assert await at.gateway.notify(told) == []
    assert at.google.messages[0]["data"] == {"event_id": "$1", "room_id": "!room", "prio": "high", "unread": "1"}


async def test_apps_are_found_by_pattern_and_unknown_ones_are_rejected() -> None:
    at = AtGoogle()
    devices = [{**device("a"), "app_id": app_id} for app_id in ("org.example.android", "org.other", "ORG.EXAMPLE")]
    assert await at.gateway.notify({**ID_ONLY, "devices": devices[:1]}) == []
    assert await at.gateway.notify({**ID_ONLY, "devices": devices[1:]}) == ["a", "a"]


@pytest.mark.parametrize(
    "notification",
    [{}, {"devices": []}, {"devices": [{}]}, {"devices": "x"}, {"devices": [device("a")], "counts": {"unread": "3"}}],
)
async def test_what_is_no_notification_is_refused(notification: dict[str, Any]) -> None:
    with pytest.raises(BadJson):
        await AtGoogle().gateway.notify(notification)


@pytest.mark.parametrize(
    "app",
    [
        AppSettings("x", "apns", key="no key", key_id="a", team_id="b", topic="c"),
        AppSettings("x", "apns", key=pem(ec.generate_private_key(ec.SECP384R1())), key_id="a", team_id="b", topic="c"),
        AppSettings("x", "apns", key=pem(ec.generate_private_key(ec.SECP256R1())), key_id="a", team_id="b"),
        AppSettings("x", "fcm", key="{ }"),
        AppSettings("x", "webpush", key=pem(ec.generate_private_key(ec.SECP256R1()))),
        AppSettings("x", "webpush", key="c2hvcnQ", contact="mailto:push@example.org"),
    ],
)
def test_apps_that_are_not_whole_are_refused_at_the_start(app: AppSettings) -> None:
    with pytest.raises(ValueError, match=r"push\.gateway\.apps, x: "):
        build_gateway([app], FakeOutbound(), FakeClock(), Metrics())
    assert not app.key or app.key not in repr(app)


async def test_vapid_key_may_be_written_as_tools_print_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    raw = encode64(key.private_numbers().private_value.to_bytes(32))
    clock = FakeClock()
    browser = Browser(encode64(point(key)), lambda: clock.now_ms() / 1000)
    app = AppSettings("org.example", "webpush", key=raw, contact="mailto:push@example.org")
    gateway = gateway_of(app, clock, browser)
    standard = base64.b64encode(point(browser.key)).decode()  # some apps send plain Base64
    assert await gateway.notify({**ID_ONLY, "devices": [device(standard, **browser.data)]}) == []
    assert len(browser.messages) == 1
