"""What an operator sets of each app whose notifications our gateway passes on. Plain values: this is loaded always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

AppKind = Literal["apns", "fcm", "webpush", "unifiedpush"]

APNS_URL = "https://api.push.apple.com"
APNS_SANDBOX_URL = "https://api.sandbox.push.apple.com"
FCM_URL = "https://fcm.googleapis.com"


@dataclass(frozen=True, slots=True)
class AppSettings:
    """`app_id`: a pattern with * and ?. `key`: PEM of the APNs or VAPID key, or the JSON of FCM's service account.

    apns: `key_id`, `team_id`, `topic`, `push_type`, `hex_tokens` (pushkeys are hexadecimal, not Base64). fcm: `options`
    are further members of each message. webpush: `contact` is a mailto: or https: URL, `ttl` in seconds. webpush and
    unifiedpush: `endpoints` are the hosts (patterns) that may be told; empty for all. `url`: of the provider;
    `ca_file`: whom to trust there instead of the public authorities.
    """

    app_id: str
    kind: AppKind
    key: str = field(default="", repr=False)
    key_id: str = ""
    team_id: str = ""
    topic: str = ""
    push_type: str = "alert"
    hex_tokens: bool = False
    contact: str = ""
    ttl: int = 900
    endpoints: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    ca_file: str | None = None
