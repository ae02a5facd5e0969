"""A double of a browser and its push service: it checks the VAPID token, and decrypts as RFC 8291 tells receivers to.

Written from the RFCs, without our own code, from the receiving side.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from homeserver.outbound.client import OutboundAnswer
from tests.push.tokens import decode64, read_token
from tests.support.outbound import SentRequest


def encode64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def derive(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    """HKDF of RFC 5869, one block."""
    pseudorandom = hmac.new(salt, material, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()[:length]


def decrypt(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """RFC 8291, section 3.4, and RFC 8188, section 2."""
    salt, size, length = body[:16], int.from_bytes(body[16:20]), body[20]
    sender_raw, ciphertext = body[21 : 21 + length], body[21 + length :]
    assert length == 65
    assert 17 <= len(ciphertext) <= size
    sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender_raw)
    secret = key.exchange(ec.ECDH(), sender)
    material = derive(auth, secret, b"WebPush: info\x00" + point(key) + sender_raw, 32)
    content_key = derive(salt, material, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = derive(salt, material, b"Content-Encoding: nonce\x00", 12)
    padded = AESGCM(content_key).decrypt(nonce, ciphertext, None).rstrip(b"\x00")
    assert padded.endswith(b"\x02"), "the delimiter of the last record"
    return padded[:-1]


@dataclass
class Browser:
    """A subscription at `endpoint`. `status`: what the push service answers; `application_key`: the VAPID key that the
    web app subscribed with."""

    application_key: str
    now: Callable[[], float]
    endpoint: str = "https://push.browser.example/send/abc?x=1"
    status: int = 201
    headers: dict[str, str] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = bytes(range(16))
    messages: list[Any] = field(default_factory=list)
    requests: list[SentRequest] = field(default_factory=list)

    @property
    def pushkey(self) -> str:
        return encode64(point(self.key))

    @property
    def data(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint, "auth": encode64(self.auth)}

    def __call__(self, request: SentRequest) -> OutboundAnswer:
        assert (request.method, request.url) == ("POST", self.endpoint)
        assert not request.trusted, "the endpoint is an address that a user gives"
        self.requests.append(request)
        self._check_vapid(request.headers["Authorization"])
        assert request.headers["Content-Encoding"] == "aes128gcm"
        assert int(request.headers["TTL"]) >= 0
        assert request.headers["Urgency"] in ("very-low", "low", "normal", "high")
        assert len(request.body or b"") <= 4096
        if self.status == 201:
            self.messages.append(json.loads(decrypt(request.body or b"", self.key, self.auth)))
        return OutboundAnswer(self.status, self.headers)

    def _check_vapid(self, authorization: str) -> None:
        """RFC 8292, sections 2 and 3."""
        scheme, _, rest = authorization.partition(" ")
        assert scheme.lower() == "vapid"
        members = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert members["k"] == self.application_key
        header, claims, signed, signature = read_token(members["t"])
        assert header["alg"] == "ES256"
        assert len(signature) == 64
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode64(members["k"]))
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        parts = urlsplit(self.endpoint)
        assert claims["aud"] == f"{parts.scheme}://{parts.netloc}"
        assert 0 < claims["exp"] - self.now() <= 24 * 3600
        assert claims["sub"] == "mailto:push@example.org"
