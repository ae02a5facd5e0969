"""The push gateway over HTTP, and pushers that name this very server as their gateway."""

from __future__ import annotations

from typing import Any

from homeserver.outbound.client import OutboundAnswer
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.services import PushSettings
from tests.push.phones import open_phones
from tests.support.outbound import SentRequest

PATH = "/_matrix/push/v1/notify"
ENDPOINT = "https://ntfy.example/up"
UNIFIED = PushSettings(apps=(AppSettings("org.example", "unifiedpush"),))
DEVICE: dict[str, Any] = {"app_id": "org.example", "pushkey": ENDPOINT}


class PushServer:
    """Where UnifiedPush's messages go: beside the gateway in the tests of pushers, it answers everything else."""

    def __init__(self) -> None:
        self.requests: list[SentRequest] = []
        self.status = 200

    def __call__(self, request: SentRequest) -> OutboundAnswer:
        assert request.url == ENDPOINT
        self.requests.append(request)
        return OutboundAnswer(self.status, {"retry-after": "77"})


async def test_notification_over_http_is_passed_on_and_rejections_come_back() -> None:
    async with open_phones(push=UNIFIED) as phones:
        server = PushServer()
        phones.gateway.answer = server
        body = {"notification": {"event_id": "$1", "room_id": "!room", "devices": [DEVICE]}}
        answer = await phones.server.request("POST", PATH, body)
        assert (answer.status, answer.json) == (200, {"rejected": []})
        unknown = {"notification": {"devices": [{**DEVICE, "app_id": "org.unknown"}]}}
        answer = await phones.server.request("POST", PATH, unknown)
        assert answer.json == {"rejected": [ENDPOINT]}
        assert len(server.requests) == 1


async def test_provider_that_fails_makes_homeservers_come_back_later() -> None:
    async with open_phones(push=UNIFIED) as phones:
        server = PushServer()
        server.status, phones.gateway.answer = 429, server
        answer = await phones.server.request("POST", PATH, {"notification": {"event_id": "$1", "devices": [DEVICE]}})
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
        assert answer.headers["retry-after"] == "77"


async def test_what_is_no_notification_gets_400() -> None:
    async with open_phones(push=UNIFIED) as phones:
        bodies: list[dict[str, Any]] = [
            {},
            {"notification": 5},
            {"notification": {}},
            {"notification": {"devices": []}},
        ]
        for body in bodies:
            answer = await phones.server.request("POST", PATH, body)
            assert answer.status == 400, body


async def test_apps_find_out_whether_unified_push_is_served() -> None:
    async with open_phones(push=UNIFIED) as phones:
        answer = await phones.server.request("GET", PATH)
        assert answer.json == {"unifiedpush": {"gateway": "matrix"}}


async def test_server_without_a_gateway_has_no_such_path() -> None:
    async with open_phones() as phones:
        for method in ("GET", "POST"):
            answer = await phones.server.request(method, PATH)
            assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")


async def test_pusher_that_names_this_server_needs_no_way_around_the_internet() -> None:
    async with open_phones(push=UNIFIED) as phones:
        server = PushServer()
        phones.gateway.answer = server
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob, ENDPOINT, data={"url": f"https://matrix.halfdoor.test{PATH}"})
        event_id = await alice.say(room_id, "one")
        await phones.quiet()
        assert [one.json["notification"]["event_id"] for one in server.requests] == [event_id]
        server.status = 503
        await alice.say(room_id, "two")
        await phones.pass_time(10)
        server.status = 200
        await phones.pass_time(200)
        assert len({one.json["notification"]["event_id"] for one in server.requests}) == 2
        server.status = 404
        await alice.say(room_id, "three")
        await phones.pass_time(10)
        assert (await bob.get("/pushers"))["pushers"] == []


async def test_numbers_of_push_are_counted() -> None:
    async with open_phones(push=UNIFIED) as phones:
        phones.gateway.answer = PushServer()
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob, ENDPOINT, data={"url": f"https://matrix.halfdoor.test{PATH}"})
        await alice.say(room_id, "one")
        await phones.quiet()
        rendered = phones.server.homeserver.metrics.render().decode()
        assert 'halfdoor_push_notifications_total{outcome="delivered"} 1.0' in rendered
        assert 'halfdoor_push_gateway_notifications_total{kind="unifiedpush",outcome="delivered"} 1.0' in rendered
        assert "halfdoor_push_waiting 0.0" in rendered
