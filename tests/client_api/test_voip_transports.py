"""What carries calls of many (MSC4143)."""

from __future__ import annotations

from dataclasses import replace

from homeserver.client_api.versions import PublicFacts
from tests.support.server import open_server, server_settings

TRANSPORTS = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
LIVEKIT = {"type": "livekit", "livekit_service_url": "https://livekit.example.org/jwt"}


async def test_transports_are_told_to_users_and_in_the_well_known_file() -> None:
    facts = PublicFacts(
        public_base_url="https://matrix.halfdoor.test",
        client_well_known={"org.matrix.msc4143.rtc_foci": [LIVEKIT]},
        rtc_transports=(LIVEKIT,),
    )
    server = open_server(settings=replace(server_settings(), facts=facts))
    alice = await server.register()
    assert await alice.get(TRANSPORTS) == {"rtc_transports": [LIVEKIT]}
    assert (await server.request("GET", TRANSPORTS)).status == 401
    told = (await server.request("GET", "/.well-known/matrix/client")).json
    assert told["org.matrix.msc4143.rtc_foci"] == [LIVEKIT]
    await server.close()


async def test_server_without_transports_has_an_empty_list() -> None:
    server = open_server()
    alice = await server.register()
    assert await alice.get(TRANSPORTS) == {"rtc_transports": []}
    await server.close()
