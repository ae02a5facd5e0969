"""Who is asking: the outcome of authenticating a request."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.protocol.errors import UserSuspended


@dataclass(frozen=True, slots=True)
class Requester:
    """`user_id` acts, through `device_id` (None for an application service without one).

    `token_id` is the stored access token's row id (None for application services).
    `appservice_id` is set when an as_token was used, whether as the service's own sender or masquerading.
    `operator` is the administrator who acts as the user (`users/operator_logins.py`).
    """

    user_id: str
    device_id: str | None = None
    token_id: int | None = None
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False
    appservice_id: str | None = None
    operator: str | None = None

    def check_not_suspended(self) -> None:
        """Raises UserSuspended. Spec: "Account suspension" lists what must be refused to a suspended account."""
        if self.is_suspended:
            raise UserSuspended("This account is suspended and cannot do that.")
