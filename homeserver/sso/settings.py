"""What an operator says of an identity provider."""

from __future__ import annotations

from dataclasses import dataclass

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures that are believed: those of a key pair. `none` and shared secrets are not among them."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`id` stands in addresses and must never change; `issuer` is the provider's own name for itself, to the letter.

    `localpart`, `display_name` and `email` are templates over the claims ("{preferred_username}"). `allows_existing`:
    who comes with the name of an account that is here already gets that account. `registers`: others get a new one.
    """

    id: str
    name: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    brand: str | None = None
    icon: str | None = None
    localpart: str = "{preferred_username}"
    display_name: str = "{name}"
    email: str = "{email}"
    allows_existing: bool = False
    registers: bool = True
    asks_userinfo: bool = True
    algorithms: tuple[str, ...] = ALGORITHMS

    def shown(self) -> dict[str, str]:
        """As a member of `identity_providers`."""
        members = {"id": self.id, "name": self.name}
        if self.icon is not None:
            members["icon"] = self.icon
        if self.brand is not None:
            members["brand"] = self.brand
        return members
