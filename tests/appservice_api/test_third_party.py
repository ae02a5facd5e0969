"""Look-ups in other networks, through application services."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from homeserver.appservice_api.client import AppserviceAnswer
from homeserver.appservice_api.registration import Appservice, parse_registration
from homeserver.appservice_api.registry import Registry
from homeserver.appservice_api.third_party import AppserviceNetworks
from tests.appservice_api.appservices import FakeCalls, acting, open_with_appservices, registration
from tests.support.server import SERVER_NAME


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


IRC_NETWORK: dict[str, Any] = {
    "user_fields": ["network", "nickname"],
    "location_fields": ["network", "channel"],
    "icon": "mxc://example.org/irc",
    "field_types": {name: {"regexp": ".+", "placeholder": name} for name in ("network", "nickname", "channel")},
    "instances": [{"network_id": "libera", "desc": "Libera", "fields": {"network": "libera"}}],
}
USER = {"userid": f"@_irc_ann:{SERVER_NAME}", "protocol": "irc", "fields": {"nickname": "ann"}}
PLACE = {"alias": f"#_irc_hall:{SERVER_NAME}", "protocol": "irc", "fields": {"channel": "#hall"}}
NETWORKS = {
    "protocol/irc": IRC_NETWORK,
    "user/irc?nickname=ann": [USER],
    "location/irc?channel=%23hall": [PLACE],
    f"user?userid=%40_irc_ann%3A{SERVER_NAME}": [USER],
    f"location?alias=%23_irc_hall%3A{SERVER_NAME}": [PLACE],
}


async def test_clients_look_names_of_other_networks_up() -> None:
    irc = registration("irc", protocols=["irc"])
    server, _ = await open_with_appservices(irc, calls=FakeCalls(networks=NETWORKS))
    alice = await server.register()
    protocols = await alice.get("/thirdparty/protocols")
    assert [one["instance_id"] for one in protocols["irc"]["instances"]] == ["irc|libera"]
    assert await alice.get("/thirdparty/protocol/irc") == protocols["irc"]
    assert await alice.get("/thirdparty/user/irc", nickname="ann") == [USER]
    assert await alice.get("/thirdparty/location/irc", channel="#hall") == [PLACE]
    assert await alice.get("/thirdparty/user", userid=USER["userid"]) == [USER]
    assert await alice.get("/thirdparty/location", alias=PLACE["alias"]) == [PLACE]
    await server.close()


@pytest.mark.parametrize(
    ("path", "status", "errcode"),
    [
        ("protocol/xmpp", 404, "M_NOT_FOUND"),
        ("user/xmpp?nickname=ann", 404, "M_NOT_FOUND"),
        ("user/irc?nickname=nobody", 404, "M_NOT_FOUND"),
        ("location/irc?channel=nowhere", 404, "M_NOT_FOUND"),
        (f"user?userid=@nobody:{SERVER_NAME}", 404, "M_NOT_FOUND"),
        ("user", 400, "M_MISSING_PARAM"),
        ("location", 400, "M_MISSING_PARAM"),
    ],
)
async def test_what_no_network_knows_is_not_found(path: str, status: int, errcode: str) -> None:
    irc = registration("irc", protocols=["irc"])
    server, _ = await open_with_appservices(irc, calls=FakeCalls(networks=NETWORKS))
    alice = await server.register()
    answer = await alice.request("GET", f"/thirdparty/{path}")
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert (await server.request("GET", f"/thirdparty/{path}")).status == 401
    await server.close()


async def test_service_lists_a_room_under_its_network() -> None:
    irc = registration("irc", protocols=["irc"])
    server, _ = await open_with_appservices(irc)
    alice = await server.register()
    room = await alice.create_room(preset="public_chat", name="Bridged")
    path = f"/directory/list/appservice/libera/{room}"
    listed = {"include_all_networks": True, "third_party_instance_id": "irc|libera"}
    only_network = {"third_party_instance_id": "irc|libera"}

    async def names(body: dict[str, Any]) -> list[str]:
        return [one["name"] for one in (await alice.post("/publicRooms", body))["chunk"]]

    await acting(server, irc).put(path, {"visibility": "public"})
    assert await names(only_network) == ["Bridged"]
    assert await names({}) == []
    answer = await alice.request("POST", "/publicRooms", listed)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await alice.request("PUT", path, {"visibility": "private"})).status == 403
    assert (await acting(server, irc).request("PUT", path, {"visibility": "hidden"})).status == 400
    assert (await acting(server, irc).request("PUT", path + "x", {"visibility": "public"})).status == 404
    await acting(server, irc).put(path, {"visibility": "private"})
    assert await names(only_network) == []
    await server.close()
