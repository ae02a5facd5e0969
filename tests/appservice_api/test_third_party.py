"""Look-ups in other networks, through application services."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.appservice_api.client import AppserviceAnswer
from homeserver.appservice_api.registration import Appservice, parse_registration
from homeserver.appservice_api.registry import Registry
from homeserver.appservice_api.third_party import AppserviceNetworks


class Calls:
    """Answers by path; everything else is 404."""

    def __init__(self, answers: dict[tuple[str, str], Any]) -> None:
        self.answers = answers

    async def ask_network(self, appservice: Appservice, path: str) -> AppserviceAnswer:
        answer = self.answers.get((appservice.id, path))
        if answer is None:
            return AppserviceAnswer(404)
        return AppserviceAnswer(200, answer if isinstance(answer, bytes) else msgspec.json.encode(answer))


def service(name: str, **more: Any) -> Appservice:
    document = {
        "id": name,
        "as_token": f"as {name}",
        "hs_token": f"hs {name}",
        "sender_localpart": name,
        "namespaces": {},
        "url": "http://127.0.0.1:1",
        "protocols": ["irc"],
        **more,
    }
    return parse_registration(document, "halfdoor.test", source="test")


async def test_instances_of_one_protocol_are_put_together_with_ids_of_their_own() -> None:
    metadata = {"user_fields": ["nick"], "location_fields": [], "icon": "mxc://a/b", "field_types": {}}
    calls = Calls(
        {
            ("one", "protocol/irc"): {**metadata, "instances": [{"network_id": "libera", "desc": "L", "fields": {}}]},
            ("two", "protocol/irc"): {**metadata, "instances": [{"network_id": "oftc", "desc": "O", "fields": {}}, 3]},
            ("lying", "protocol/irc"): b"not json",
        }
    )
    registry = Registry([service("one"), service("two"), service("lying"), service("mute", url=None)])
    found = await AppserviceNetworks(registry, calls).protocols()
    assert [one["instance_id"] for one in found["irc"]["instances"]] == ["one|libera", "two|oftc"]
    assert found["irc"]["user_fields"] == ["nick"]


async def test_lookups_go_to_the_services_of_the_protocol_and_back_to_all() -> None:
    user: dict[str, Any] = {"userid": "@irc_x:halfdoor.test", "protocol": "irc", "fields": {"nick": "x"}}
    calls = Calls({("one", "user/irc?nick=x"): [user, "junk"], ("one", "user?userid=%40irc_x%3Ahalfdoor.test"): [user]})
    networks = AppserviceNetworks(Registry([service("one"), service("two", protocols=["xmpp"])]), calls)
    assert await networks.find("user", "irc", {"nick": "x"}) == [user]
    assert await networks.find("user", None, {"userid": user["userid"]}) == [user]
    assert await networks.find("user", "xmpp", {"nick": "x"}) == []
