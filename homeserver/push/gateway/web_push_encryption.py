"""Encryption of Web Push messages, which only the browser reads: RFC 8291 over the coding aes128gcm of RFC 8188."""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_SIZE: Final = 4096
HEADER: Final = 16 + 4 + 1 + 65
MAX_PLAINTEXT: Final = RECORD_SIZE - HEADER - 16 - 1
"""What fits: services need not take more than 4096 bytes (RFC 8030, section 7.2), with header, tag and delimiter."""


def encrypt(
    plaintext: bytes,
    receiver: bytes,
    auth_secret: bytes,
    *,
    salt: bytes | None = None,
    sender: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body of a push message. `receiver`: the browser's public key (65 bytes, uncompressed); `auth_secret`: its 16
    bytes; `salt` and `sender` are new for each message, and given by tests alone. Raises ValueError for keys that are
    none."""
    if len(auth_secret) != 16:
        raise ValueError("The authentication secret has not 16 bytes.")
    if len(plaintext) > MAX_PLAINTEXT:
        raise ValueError("The message is too long.")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), receiver)
    salt = os.urandom(16) if salt is None else salt
    sender = ec.generate_private_key(ec.SECP256R1()) if sender is None else sender
    sender_public = point(sender.public_key())
    secret = sender.exchange(ec.ECDH(), public)
    keys = b"WebPush: info\0" + point(public) + sender_public
    material = _derive(secret, salt=auth_secret, info=keys, length=32)
    key = _derive(material, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _derive(material, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    header = salt + RECORD_SIZE.to_bytes(4) + len(sender_public).to_bytes(1) + sender_public
    # "a single record": the delimiter of the last one is 2 (RFC 8188, section 2).
    return header + AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as browsers write it: uncompressed, 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)
