"""The signed tokens that providers ask for: JSON Web Tokens (RFC 7519), ES256 for APNs and VAPID, RS256 for Google."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


class BadKey(ValueError):
    """A configured key is not what it has to be. The text holds nothing of the key."""


def base64url(raw: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """With or without padding. Raises ValueError."""
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def ec_key(text: str) -> ec.EllipticCurvePrivateKey:
    """A private key on P-256: PEM, or its 32 bytes in Base64 as tools for VAPID print it. Raises BadKey."""
    if "-----BEGIN" not in text:
        try:
            raw = from_base64url(text.strip())
        except ValueError:
            raise BadKey("The key is neither PEM nor Base64.") from None
        if len(raw) != 32:
            raise BadKey("The key has not 32 bytes.")
        return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())
    key = _pem(text)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("The key is not one of the curve P-256.")
    return key


def rsa_key(text: str) -> rsa.RSAPrivateKey:
    """A private RSA key in PEM. Raises BadKey."""
    key = _pem(text)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadKey("The key is not an RSA key.")
    return key


def sign_es256(header: Mapping[str, Any], claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """A token in its compact form."""
    signed = _signing_input({"alg": "ES256", "typ": "JWT", **header}, claims)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{base64url(r.to_bytes(32) + s.to_bytes(32))}"


def sign_rs256(header: Mapping[str, Any], claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    """A token in its compact form."""
    signed = _signing_input({"alg": "RS256", "typ": "JWT", **header}, claims)
    return f"{signed}.{base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return f"{base64url(msgspec.json.encode(header))}.{base64url(msgspec.json.encode(claims))}"


def _pem(text: str) -> object:
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        raise BadKey("The key is not a private key in PEM without a password.") from None
