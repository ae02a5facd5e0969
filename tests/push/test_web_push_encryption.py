"""Encryption of Web Push, by the example of RFC 8291 and by a receiver of our tests' own."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from homeserver.push.gateway.web_push_encryption import MAX_PLAINTEXT, encrypt
from tests.push.browser import decrypt, point
from tests.push.tokens import decode64

# RFC 8291, section 5 and appendix A.
PLAINTEXT = decode64("V2hlbiBJIGdyb3cgdXAsIEkgd2FudCB0byBiZSBhIHdhdGVybWVsb24")
SENDER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
MESSAGE = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def private(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(decode64(text)), ec.SECP256R1())


def test_example_of_rfc_8291_is_met_byte_by_byte() -> None:
    body = encrypt(
        PLAINTEXT, decode64(RECEIVER_PUBLIC), decode64(AUTH), salt=decode64(SALT), sender=private(SENDER_PRIVATE)
    )
    assert body == decode64(MESSAGE)
    assert decrypt(decode64(MESSAGE), private(RECEIVER_PRIVATE), decode64(AUTH)) == PLAINTEXT


RECEIVER = ec.generate_private_key(ec.SECP256R1())


@given(st.binary(max_size=MAX_PLAINTEXT), st.binary(min_size=16, max_size=16))
def test_whatever_is_sent_is_what_the_browser_reads_in_4096_bytes(plaintext: bytes, auth: bytes) -> None:
    body = encrypt(plaintext, point(RECEIVER), auth)
    assert len(body) <= 4096
    assert decrypt(body, RECEIVER, auth) == plaintext


def test_two_messages_share_neither_salt_nor_key() -> None:
    one, two = (encrypt(b"same", point(RECEIVER), bytes(16)) for _ in range(2))
    assert one[:16] != two[:16]
    assert one[21:86] != two[21:86]


@pytest.mark.parametrize(
    ("receiver", "auth"),
    [
        (b"", bytes(16)),
        (b"\x04" + bytes(64), bytes(16)),
        (point(RECEIVER)[:-1], bytes(16)),
        (point(RECEIVER), b"short"),
    ],
    ids=["no point", "not on the curve", "short point", "short secret"],
)
def test_keys_that_are_none_are_refused(receiver: bytes, auth: bytes) -> None:
    with pytest.raises(ValueError):
        encrypt(b"x", receiver, auth)


def test_longest_message_is_known() -> None:
    assert len(encrypt(bytes(MAX_PLAINTEXT), point(RECEIVER), bytes(16))) == 4096
    with pytest.raises(ValueError):
        encrypt(bytes(MAX_PLAINTEXT + 1), point(RECEIVER), bytes(16))
