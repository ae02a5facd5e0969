"""What the tests of attacks share: a room of ours with a liar in it, and what must hold after every lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeserver.protocol.identifiers import domain_of
from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import Liar, LiarsRoom
from tests.support.server import User


@dataclass
class Scene:
    """Alice at `one`, and Mallory of the liar, in a public room."""

    network: Network
    one: FederatedServer
    liar: Liar
    alice: User
    room: LiarsRoom

    @property
    def room_id(self) -> str:
        return self.room.room_id

    async def state(self) -> dict[tuple[str, str], str]:
        return dict((await self.one.homeserver.rooms.live.get(self.room_id)).state_ids)

    async def shown(self, limit: int = 100) -> list[str]:
        """The ids that Alice sees in the room, newest first."""
        page = await self.alice.get(f"/rooms/{self.room_id}/messages", dir="b", limit=limit)
        return [event["event_id"] for event in page["chunk"]]

    async def good_event_arrives(self) -> str:
        """After any lie: the liar's next true event is stored and shown, Alice can write, and nothing was signed that
        was not ours. Returns the id of the good event."""
        good = self.liar.event(self.room, content={"msgtype": "m.text", "body": "true"}, advance=True)
        assert await self.liar.send(self.one, good) == {good.event_id: {}}
        assert good.event_id in await self.shown()
        said = await self.alice.say(self.room_id, "still here")
        await settle(self.one)
        assert said in await self.shown()
        assert (await self.alice.request("GET", "/sync")).status == 200
        self.nothing_foreign_is_signed()
        return good.event_id

    def nothing_foreign_is_signed(self) -> None:
        for pdu in self.liar.received():
            check_signed_by_us(pdu, self.one.name)


def check_signed_by_us(pdu: Any, name: str) -> None:
    """What a server signed is of its own user, or invites one, or is a join that one of them authorises."""
    if not isinstance(pdu, dict) or name not in pdu.get("signatures", {}) or domain_of(pdu["sender"]) == name:
        return
    assert pdu["type"] == "m.room.member", pdu
    authoriser = pdu["content"].get("join_authorised_via_users_server")
    is_join = pdu["content"]["membership"] == "join" and isinstance(authoriser, str) and domain_of(authoriser) == name
    assert is_join or (pdu["content"]["membership"] == "invite" and domain_of(pdu["state_key"]) == name), pdu


async def open_scene(network: Network, one: FederatedServer, version: str = "11", **room: Any) -> Scene:
    liar = Liar(network)
    alice = await one.register("alice")
    room_id = await alice.create_room(**{"preset": "public_chat", "room_version": version, **room})
    return Scene(network, one, liar, alice, await liar.join(one, room_id))
