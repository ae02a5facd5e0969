"""A double of Google's FCM and its OAuth server, behind the outbound client: it checks assertions and tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from homeserver.outbound.client import OutboundAnswer
from tests.push.tokens import read_token
from tests.support.outbound import SentRequest, json_answer

EMAIL = "push@example-project.iam.gserviceaccount.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"
SEND = "https://fcm.googleapis.com/v1/projects/example-project/messages:send"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


@dataclass
class Google:
    """`answers`: by registration token, what the service says instead of yes."""

    public_key: rsa.RSAPublicKey
    now: Callable[[], float]
    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, OutboundAnswer] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    expires_in: int = 3600

    def __call__(self, request: SentRequest) -> OutboundAnswer:
        assert request.trusted
        assert request.method == "POST"
        if request.url == TOKEN_URI:
            return self._token(request)
        assert request.url == SEND
        scheme, _, token = request.headers["Authorization"].partition(" ")
        if scheme != "Bearer" or token not in self.tokens or token in self.revoked:
            return refusal(401, "UNAUTHENTICATED")
        message = request.json["message"]
        assert all(isinstance(value, str) for value in message["data"].values()), "FCM takes texts alone"
        assert message["android"]["priority"] in ("high", "normal")
        size = sum(len(name.encode()) + len(value.encode()) for name, value in message["data"].items())
        assert size <= 4096
        if message["token"] in self.answers:
            return self.answers[message["token"]]
        self.messages.append(message)
        return json_answer({"name": "projects/example-project/messages/1"})

    def _token(self, request: SentRequest) -> OutboundAnswer:
        assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
        form = parse_qs((request.body or b"").decode(), strict_parsing=True)
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        header, claims, signed, signature = read_token(form["assertion"][0])
        assert (header["alg"], header["typ"], header["kid"]) == ("RS256", "JWT", "key-1")
        self.public_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        assert (claims["iss"], claims["scope"], claims["aud"]) == (EMAIL, SCOPE, TOKEN_URI)
        assert abs(claims["iat"] - self.now()) < 60
        assert 0 < claims["exp"] - claims["iat"] <= 3600
        self.tokens.append(f"token-{len(self.tokens)}")
        return json_answer({"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.expires_in})


def refusal(
    status: int, code: str, *, names_token: bool = False, headers: dict[str, str] | None = None
) -> OutboundAnswer:
    """An error as Google writes it."""
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    ]
    if names_token:
        violation = {"field": "message.token", "description": "Invalid registration token"}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    body = msgspec.json.encode({"error": {"code": status, "status": code, "details": details}})
    return OutboundAnswer(status, headers or {}, body)


def service_account(private_key_pem: str) -> str:
    """The file that the console hands out."""
    return msgspec.json.encode(
        {
            "type": "service_account",
            "project_id": "example-project",
            "private_key_id": "key-1",
            "private_key": private_key_pem,
            "client_email": EMAIL,
            "token_uri": TOKEN_URI,
        }
    ).decode()
