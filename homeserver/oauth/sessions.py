"""Devices whose tokens came by OAuth: what the account pages show of them, and what other parts must know."""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.oauth.clients import OAuthClients
from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import OAuthGrantStore


class OAuthSessions:
    """Asks; nothing is changed here."""

    def __init__(self, store: OAuthGrantStore, clients: OAuthClients) -> None:
        self._store = store
        self._clients = clients

    async def is_session(self, user_id: str, device_id: str | None) -> bool:
        """Whether the device obtained its tokens by OAuth."""
        return device_id is not None and await self._store.find_session(user_id, device_id) is not None

    async def clients_of(self, user_id: str) -> Mapping[str, OAuthClient]:
        """The clients of the user's devices, by device id; devices of the legacy API are absent."""
        found = {}
        for session in await self._store.list_sessions(user_id):
            client = await self._clients.find_client(session.client_id)
            if client is not None:
                found[session.device_id] = client
        return found
