"""Keys as clients make them: devices and cross-signing identities that can really sign."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.protocol import canonical_json


class Signer:
    """One ed25519 key of a user, made from a seed so that every run has the same."""

    def __init__(self, user_id: str, seed: str, name: str = "") -> None:
        self.user_id = user_id
        self._key = SigningKey(seed.encode().ljust(32, b".")[:32])
        self.public_key = encode_base64(bytes(self._key.verify_key))
        self.key_id = f"ed25519:{name or self.public_key}"

    def signed(self, obj: dict[str, Any]) -> dict[str, Any]:
        """A copy with this key's signature added."""
        covered = {name: value for name, value in obj.items() if name not in ("signatures", "unsigned")}
        signature = encode_base64(self._key.sign(canonical_json.encode(covered)).signature)
        signatures = {user_id: dict(each) for user_id, each in obj.get("signatures", {}).items()}
        signatures.setdefault(self.user_id, {})[self.key_id] = signature
        return {**obj, "signatures": signatures}


class DeviceMaterial(Signer):
    """A device's identity."""

    def __init__(self, user_id: str, device_id: str, seed: str = "") -> None:
        super().__init__(user_id, seed or device_id, device_id)
        self.device_id = device_id

    def device_keys(self) -> dict[str, Any]:
        return self.signed(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    f"curve25519:{self.device_id}": encode_base64(self.device_id.encode().ljust(32, b"-")[:32]),
                    self.key_id: self.public_key,
                },
            }
        )

    def one_time_keys(self, first: int, count: int, *, fallback: bool = False) -> dict[str, Any]:
        """`count` keys named by numbers from `first` on."""
        return {
            f"signed_curve25519:AAAA{number}": self.signed(
                {
                    "key": encode_base64(f"{self.device_id}{number}".encode().ljust(32, b"+")[:32]),
                    **({"fallback": True} if fallback else {}),
                }
            )
            for number in range(first, first + count)
        }


class Identity:
    """A user's three cross-signing keys."""

    def __init__(self, user_id: str, seed: str = "") -> None:
        self.user_id = user_id
        self.master = Signer(user_id, f"{seed}master{user_id}")
        self.self_signing = Signer(user_id, f"{seed}self{user_id}")
        self.user_signing = Signer(user_id, f"{seed}user{user_id}")

    def key(self, usage: str) -> dict[str, Any]:
        """The object as it is uploaded: the master key bare, the others signed by it."""
        signer: Signer = getattr(self, usage)
        obj = {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{signer.public_key}": signer.public_key}}
        return obj if usage == "master" else self.master.signed(obj)

    def upload(self) -> dict[str, Any]:
        """The body of /keys/device_signing/upload."""
        return {f"{usage}_key": self.key(usage) for usage in ("master", "self_signing", "user_signing")}
