"""Who is asking: the outcome of authenticating a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requester:
    """`user_id` acts, through `device_id` (None for an application service without one).

    `token_id` is the stored access token's row id (None for application services).
    `appservice_id` is set when an as_token was used, whether as the service's own sender or masquerading.
    """

    user_id: str
    device_id: str | None = None
    token_id: int | None = None
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False
    appservice_id: str | None = None
