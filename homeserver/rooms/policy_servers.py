"""Policy servers: a room may name a server that recommends its events before they are sent.

Spec (v1.18): Server-Server API, "Policy Servers"; Client-Server API, "Policy Servers". Who asks them is federation; the
pipeline asks here, signs nothing itself, and believes no signature that it has not verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from signedjson.key import decode_verify_key_bytes
from unpaddedbase64 import decode_base64

from homeserver.protocol.errors import Forbidden
from homeserver.protocol.events import Event
from homeserver.protocol.signatures import InvalidSignature, verify_event
from homeserver.rooms.live_room import LiveRoom

POLICY: Final = "m.room.policy"
KEY_ID: Final = "ed25519:policy_server"
"""Of the key in the room's state: it "is always ed25519:policy_server"."""


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """Whom a room has chosen. `public_key`: unpadded base64 of an ed25519 key."""

    server_name: str
    public_key: str


class PolicyServers(Protocol):
    """How a policy server is asked: `POST /_matrix/policy/v1/sign`."""

    async def ask(self, server_name: str, event: Event) -> Mapping[str, Mapping[str, str]]:
        """The signatures that it gives an event, by server and key id.

        Raises its own refusal as a MatrixError, for the client to see; Forbidden when it is not reached.
        """
        ...


class NoPolicyServers:
    """Without federation nobody can be asked."""

    async def ask(self, server_name: str, event: Event) -> Mapping[str, Mapping[str, str]]:
        raise Forbidden("The policy server of this room cannot be asked: this server does not federate")


def policy_server_of(room: LiveRoom, own_name: str) -> PolicyServer | None:
    """The policy server that a room uses, if it does. This server is none, so that one that names it uses none."""
    content = room.content(POLICY)
    via, keys = content.get("via"), content.get("public_keys")
    key = keys.get("ed25519") if isinstance(keys, dict) else None
    if not isinstance(via, str) or not isinstance(key, str) or via == own_name:
        return None
    if not room.has_server(via):
        return None
    return PolicyServer(via, key)


def needs_recommendation(event: Event) -> bool:
    """ "All events except for the m.room.policy state event itself are checked by that Policy Server." """
    return not (event.type == POLICY and event.state_key == "")


def check_recommended(event: Event, server: PolicyServer) -> None:
    """Raises Forbidden unless the event carries a valid signature of the room's policy server."""
    try:
        key = decode_verify_key_bytes(KEY_ID, decode_base64(server.public_key))
        verify_event(event.pdu, event.room_version, server.server_name, key)
    except (InvalidSignature, ValueError) as error:
        raise Forbidden("The policy server of this room does not recommend the event") from error


async def recommend(event: Event, server: PolicyServer, servers: PolicyServers) -> None:
    """Have an event of ours, which nobody has seen yet, signed by the room's policy server. Raises its refusal."""
    given = await servers.ask(server.server_name, event)
    signature = given.get(server.server_name, {}).get(KEY_ID)
    if isinstance(signature, str):
        signatures = event.pdu["signatures"]
        signatures[server.server_name] = {**signatures.get(server.server_name, {}), KEY_ID: signature}
    check_recommended(event, server)
