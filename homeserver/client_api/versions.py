"""What this server speaks and can: /versions, /capabilities and the well-known files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.http.request import Request, Response
from homeserver.protocol.errors import NotFound

UNSTABLE_FEATURES = dict.fromkeys(
    (
        "com.beeper.msc4169",
        "fi.mau.msc2659.stable",
        "org.matrix.e2e_cross_signing",
        "org.matrix.msc2285.stable",
        "org.matrix.msc2432",
        "org.matrix.msc3440.stable",
        "org.matrix.msc3771",
        "org.matrix.msc3814",
        "org.matrix.msc3827.stable",
        "org.matrix.msc3881",
        "org.matrix.msc3981",
        "org.matrix.msc4143",
        "org.matrix.msc4155",
        "org.matrix.msc4306",
        "org.matrix.msc4354",
        "org.matrix.msc4380.stable",
        "org.matrix.simplified_msc3575",
        "uk.half-shot.msc2666.query_mutual_rooms",
        "uk.half-shot.msc2666.query_mutual_rooms.stable",
        "uk.tcpip.msc4133",
        "uk.tcpip.msc4133.stable",
    ),
    True,
)
"""Further proposals that every server of this version speaks. docs/msc.md says of each what is answered."""
SPEC_VERSIONS = ["r0.6.1", *(f"v1.{minor}" for minor in range(1, 20))]


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """What is told to anybody. `unstable_features`: for /versions; `room_versions`: the stable ones, by which
    `default_room_version` is chosen; `capabilities`: further ones; `rtc_transports`: what carries calls (MSC4143);
    `support_contacts` and `support_page`: /.well-known/matrix/support; `public_base_url`: /.well-known/matrix/client,
    None: not served; `policy_server_key`: the ed25519 key of the policy server of this name, in unpadded base64;
    `federation_address`: /.well-known/matrix/server."""

    public_base_url: str | None = None
    unstable_features: Mapping[str, bool] = field(default_factory=dict)
    default_room_version: str = "12"
    room_versions: tuple[str, ...] = tuple(str(version) for version in range(1, 13))
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    client_well_known: Mapping[str, Any] = field(default_factory=dict)
    rtc_transports: tuple[Mapping[str, str], ...] = ()
    policy_server_key: str | None = None
    federation_address: str | None = None
    support_contacts: tuple[Mapping[str, str], ...] = ()
    support_page: str | None = None


class VersionApi:
    """/versions, /capabilities, /.well-known/matrix/client, /server and /support."""

    def __init__(self, facts: PublicFacts, *, can_change_threepids: bool) -> None:
        self._facts = facts
        self._can_change_threepids = can_change_threepids

    async def get_versions(self, request: Request) -> Response:
        return Response(
            {"versions": SPEC_VERSIONS, "unstable_features": {**UNSTABLE_FEATURES, **self._facts.unstable_features}}
        )

    async def get_capabilities(self, request: Request) -> Response:
        is_person = request.user.appservice_id is None
        capabilities: dict[str, Any] = {
            "m.change_password": {"enabled": is_person},
            "m.room_versions": {
                "default": self._facts.default_room_version,
                "available": dict.fromkeys(self._facts.room_versions, "stable"),
            },
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.profile_fields": {"enabled": True},
            "m.3pid_changes": {"enabled": self._can_change_threepids and is_person},
            "m.get_login_token": {"enabled": is_person},
            "m.forget_forced_upon_leave": {"enabled": False},
            **self._facts.capabilities,
        }
        if request.user.is_admin:
            capabilities["m.account_moderation"] = {"suspend": True, "lock": True}
        return Response({"capabilities": capabilities})

    async def get_client_well_known(self, request: Request) -> Response:
        if self._facts.public_base_url is None:
            raise NotFound("This server does not say where clients reach it.")
        return Response({"m.homeserver": {"base_url": self._facts.public_base_url}, **self._facts.client_well_known})

    async def get_server_well_known(self, request: Request) -> Response:
        if self._facts.federation_address is None:
            raise NotFound("This server does not say where other servers reach it.")
        return Response({"m.server": self._facts.federation_address})

    async def get_policy_server_well_known(self, request: Request) -> Response:
        if self._facts.policy_server_key is None:
            raise NotFound("This server names no policy server.")
        return Response({"public_keys": {"ed25519": self._facts.policy_server_key}})

    async def get_support_well_known(self, request: Request) -> Response:
        members: dict[str, Any] = {}
        if self._facts.support_contacts:
            members["contacts"] = [dict(contact) for contact in self._facts.support_contacts]
        if self._facts.support_page is not None:
            members["support_page"] = self._facts.support_page
        if not members:
            raise NotFound("The operator of this server has published no contact.")
        return Response(members)
