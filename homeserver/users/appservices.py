"""What users/ needs to know of application services, as small protocols; appservice_api/ implements them."""

from __future__ import annotations

from typing import Protocol


class Appservice(Protocol):
    """One registered application service."""

    @property
    def id(self) -> str: ...

    @property
    def sender(self) -> str:
        """The user id that its `sender_localpart` stands for."""
        ...

    def may_act_as(self, user_id: str) -> bool:
        """Whether `user_id` is its sender or in one of its user namespaces."""
        ...


class AppserviceRegistry(Protocol):
    """Who holds an as_token."""

    def find_by_token(self, as_token: str) -> Appservice | None:
        """The service with this as_token (hashed or constant-time comparison: row F11), or None."""
        ...


class Namespaces(Protocol):
    """Which user ids only an application service may have."""

    def owner_of_user(self, user_id: str) -> str | None:
        """The id of the service that claims `user_id` exclusively, or None."""
        ...


class NoAppservices:
    """A server without application services."""

    def find_by_token(self, as_token: str) -> Appservice | None:
        return None

    def owner_of_user(self, user_id: str) -> str | None:
        return None
