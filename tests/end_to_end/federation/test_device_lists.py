"""The devices of people at Synapse are followed, one after the other, from what is kept of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.end_to_end.federation.people import Person, eventually
from tests.support.key_material import DeviceMaterial, Identity

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

V3 = "/_matrix/client/v3"


def log_in(person: Person) -> Any:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": person.user_id},
        "password": person.account.password,
    }
    status, device = person.server.call("POST", f"{V3}/login", body)
    assert status == 200, device
    keys = {"device_keys": DeviceMaterial(person.user_id, device["device_id"]).device_keys()}
    status, answer = person.server.call("POST", f"{V3}/keys/upload", keys, token=device["access_token"])
    assert status == 200, answer
    return device


def test_devices_and_identity_of_somebody_at_synapse_are_followed(alice: Person, bob: Person) -> None:
    room_id = bob.create_room(preset="public_chat")
    alice.join(room_id, bob)

    def asked() -> Any:
        return alice.ok("POST", "/keys/query", {"device_keys": {bob.user_id: []}})

    def known() -> set[str]:
        return set(asked()["device_keys"].get(bob.user_id, {}))

    def are_known() -> bool:
        return known() == {device["device_id"] for device in devices}

    def is_known(identity: Identity) -> bool:
        answer = asked()
        told = [answer[f"{usage}_keys"].get(bob.user_id, {}).get("keys") for usage in ("master", "self_signing")]
        return told == [identity.key(usage)["keys"] for usage in ("master", "self_signing")]

    devices = []
    for _ in range(4):
        devices.append(log_in(bob))
        eventually(are_known)
    gone = devices.pop(1)
    assert bob.server.call("POST", f"{V3}/logout", {}, token=gone["access_token"])[0] == 200
    eventually(are_known)
    identity = Identity(bob.user_id)
    token = devices[0]["access_token"]
    status, answer = bob.server.call("POST", f"{V3}/keys/device_signing/upload", identity.upload(), token=token)
    assert status == 200, answer
    eventually(lambda: is_known(identity))
