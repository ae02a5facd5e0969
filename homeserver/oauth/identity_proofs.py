"""How somebody who is logged in proves that it is them: by a password, or on our pages in a browser.

Sessions of the OAuth 2.0 API never give an app a password: "[UIA] can't be used when an access token is obtained with
this API. The only exception to this is the /keys/device_signing/upload endpoint which uses the m.oauth authentication
type." Where people log in by an identity provider there may be no password at all; m.login.sso takes its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.oauth.sessions import OAuthSessions
from homeserver.users.accounts import Accounts
from homeserver.users.interactive_auth import InteractiveAuth, Operation

PASSWORD, SSO, OAUTH = "m.login.password", "m.login.sso", "m.oauth"
OLD_OAUTH = "org.matrix.cross_signing_reset"
"""What m.oauth was called before v1.17. "To prevent breaking clients [...] servers SHOULD offer two flows"."""

HasIdentity = Callable[[str], Awaitable[bool]]
"""Whether an identity provider's account belongs to the user."""


class IdentityProofs:
    """Chooses the flows."""

    def __init__(
        self, sessions: OAuthSessions, browser_sessions: BrowserSessions, accounts: Accounts, has_identity: HasIdentity
    ) -> None:
        self._sessions = sessions
        self._browser_sessions = browser_sessions
        self._accounts = accounts
        self._has_identity = has_identity

    def offer(self, interactive_auth: InteractiveAuth, base_url: str) -> None:
        """Make the stages known."""
        url = f"{base_url}/_halfdoor/account/manage?action=org.matrix.cross_signing_reset"
        for stage in (OAUTH, OLD_OAUTH):
            interactive_auth.offer(stage, out_of_band=self._may_reset, params={"url": url})
        interactive_auth.offer(SSO)
        interactive_auth.identity_flows = self.flows

    async def flows(self, operation: Operation) -> Sequence[Sequence[str]]:
        """What may prove that the operation is its user's own wish."""
        if await self._sessions.is_session(operation.user_id, operation.device_id):
            is_reset = operation.path.endswith("/keys/device_signing/upload")
            return [[OAUTH], [OLD_OAUTH]] if is_reset else [[SSO]]
        account = await self._accounts.find_account(operation.user_id)
        has_password = account is not None and account.password_hash is not None
        if await self._has_identity(operation.user_id):
            return [[PASSWORD], [SSO]] if has_password else [[SSO]]
        return [[PASSWORD]]

    async def _may_reset(self, operation: Operation) -> bool:
        return await self._browser_sessions.take_cross_signing_reset(operation.user_id)
