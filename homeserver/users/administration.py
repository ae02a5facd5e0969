"""What operators may do to accounts: one bundle beside `services.py`, tied to the users that it acts on."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.clock import Clock
from homeserver.storage.account_listing import AccountListingStore
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database
from homeserver.storage.operator_logins import OperatorLoginStore
from homeserver.storage.rate_limit_overrides import RateLimitOverrideStore
from homeserver.users.operator_logins import OperatorLogins
from homeserver.users.rate_limit_overrides import RateLimitOverrides
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class UserAdministration:
    """The services, one a noun."""

    listing: AccountListingStore
    operator_logins: OperatorLogins
    rate_limits: RateLimitOverrides


def build_user_administration(db: Database, clock: Clock, users: UserServices) -> UserAdministration:
    """Build it, and let log-outs reach the operators' tokens."""
    operator_logins = OperatorLogins(db, OperatorLoginStore(db), AccountStore(db), users.tokens, clock)
    users.logins.operator_logins = operator_logins
    return UserAdministration(
        listing=AccountListingStore(db),
        operator_logins=operator_logins,
        rate_limits=RateLimitOverrides(db, RateLimitOverrideStore(db)),
    )
