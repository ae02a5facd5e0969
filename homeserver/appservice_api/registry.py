"""All application services of this server: who holds which token, and whose names are whose (F10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from homeserver.appservice_api.registration import Appservice, RegistrationRefused


class Registry:
    """Implements `AppserviceRegistry` and `Namespaces` of users/, and in part `AliasNamespaces` of rooms/."""

    def __init__(self, appservices: Iterable[Appservice] = ()) -> None:
        self.appservices: list[Appservice] = []
        self._by_token: dict[bytes, Appservice] = {}
        for appservice in appservices:
            self.add(appservice)

    def add(self, appservice: Appservice) -> None:
        """Raises RegistrationRefused when another service has the same id, token or sender."""
        for other in self.appservices:
            for name in ("id", "as_token", "hs_token", "sender"):
                if getattr(other, name) == getattr(appservice, name):
                    raise RegistrationRefused(f"application services {other.id} and {appservice.id}: the same {name}")
        self.appservices.append(appservice)
        self._by_token[_digest(appservice.as_token)] = appservice

    def find_by_token(self, as_token: str) -> Appservice | None:
        """The service with this as_token. Looked up by its hash, so that timing tells nothing (F11)."""
        return self._by_token.get(_digest(as_token))

    def find(self, appservice_id: str) -> Appservice | None:
        return next((one for one in self.appservices if one.id == appservice_id), None)

    def owner_of_user(self, user_id: str) -> str | None:
        """The id of the service that claims a user exclusively."""
        for appservice in self.appservices:
            if user_id == appservice.sender or appservice.users.reserves(user_id):
                return appservice.id
        return None

    def owner_of_alias(self, alias: str) -> Appservice | None:
        """The service that claims an alias exclusively."""
        return next((one for one in self.appservices if one.aliases.reserves(alias)), None)

    def alias_is_reserved(self, alias: str, user_id: str) -> bool:
        """Whether `user_id` may not use an alias because a service keeps it."""
        owner = self.owner_of_alias(alias)
        return owner is not None and not owner.may_act_as(user_id)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
