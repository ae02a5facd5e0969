"""Asks the policy servers of rooms to sign our events. Spec: Server-Server API, `POST /_matrix/policy/v1/sign`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from federation.client import FederationClient, RemoteFailed, RemoteRefused
from homeserver.protocol.errors import Forbidden, LimitExceeded
from homeserver.protocol.events import Event

PATH: Final = "/_matrix/policy/v1/sign"
TIMEOUT_SECONDS: Final = 30.0
MAX_BYTES: Final = 65_536
RETRY_MS: Final = 5_000
PASSED_ON: Final = ("M_FORBIDDEN", "M_NOT_FOUND", "M_BAD_JSON", "M_NOT_JSON", "M_UNRECOGNIZED")
"""What a client may be told as another server said it: nothing that it would take for its own session's (B17)."""


class NotRecommended(Forbidden):
    """A policy server refuses an event. "If the Policy Server returned an error, that error SHOULD be provided to the
    client verbatim." """

    def __init__(self, said: Mapping[str, Any]) -> None:
        error = said.get("error")
        super().__init__(error if isinstance(error, str) else "The policy server of this room refuses the event")
        self._remote_errcode = said.get("errcode")

    def body(self) -> dict[str, Any]:
        errcode = self._remote_errcode if self._remote_errcode in PASSED_ON else self.errcode
        return {"errcode": errcode, "error": self.message}


class FederatedPolicyServers:
    """Implements `homeserver.rooms.policy_servers.PolicyServers`."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def ask(self, server_name: str, event: Event) -> Mapping[str, Mapping[str, str]]:
        """The signatures that it gives. Raises NotRecommended, LimitExceeded, Forbidden when it does not answer."""
        try:
            answer = await self._client.request(
                server_name, "POST", PATH, body=event.pdu, timeout=TIMEOUT_SECONDS, max_bytes=MAX_BYTES
            )
        except RemoteRefused as refusal:
            if refusal.status == 429:
                wait = refusal.remote_body.get("retry_after_ms")
                after = wait if isinstance(wait, int) and not isinstance(wait, bool) and wait > 0 else RETRY_MS
                raise LimitExceeded("The policy server of this room has much to do", retry_after_ms=after) from None
            raise NotRecommended(refusal.remote_body) from refusal
        except RemoteFailed as failure:
            raise Forbidden("The policy server of this room does not answer, so nothing is sent") from failure
        signatures = answer if isinstance(answer, dict) else {}
        return {name: each for name, each in signatures.items() if isinstance(each, dict)}
