"""Talks to the server that a configuration describes, on its own listener."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import ssl
from typing import Any

import config
from homeserver.command_line.failure import CommandFailed

REGISTER = "/_synapse/admin/v1/register"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 (asked for, not bound)


class NotRunning(Exception):
    """Nobody answers at the listener."""


class NameTaken(CommandFailed):
    """There is an account of that name already."""


class RunningServer:
    """A server as its own machine reaches it."""

    def __init__(self, settings: config.Settings, *, timeout_seconds: float = 30) -> None:
        self.settings = settings
        self.timeout_seconds = timeout_seconds

    def call(self, method: str, path: str, body: Any = None, *, api: str = "client") -> tuple[int, Any]:
        """One request; status and decoded answer. Raises NotRunning when nobody answers."""
        with contextlib.closing(self._connection(api)) as connection:
            try:
                headers = {"Content-Type": "application/json", "Connection": "close"}
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise NotRunning(str(error)) from None
        try:
            return status, json.loads(text)
        except ValueError:
            raise CommandFailed(f"{connection.host}:{connection.port} answered, but not as a Matrix server") from None

    def call_as(self, token: str, method: str, target: str, content: bytes | None) -> tuple[int, bytes]:
        """One request at the operators' API; status and body. Raises NotRunning when nobody answers."""
        with contextlib.closing(self._connection("admin")) as connection:
            try:
                headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
                if content is not None:
                    headers["Content-Type"] = "application/json"
                connection.request(method, target, content, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise NotRunning(str(error)) from None

    def _connection(self, api: str) -> http.client.HTTPConnection:
        listener = next((listener for listener in self.settings.listeners if api in listener.apis), None)
        if listener is None:
            raise CommandFailed(f"no listener serves the {api} API: add {api} to listeners[].apis")
        host = ANY_ADDRESS.get(listener.host, listener.host)
        if listener.tls_certificate_file is None:
            return http.client.HTTPConnection(host, listener.port, timeout=self.timeout_seconds)
        # By its address, which no certificate names; what must not be read by others never leaves this machine.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, listener.port, timeout=self.timeout_seconds, context=context)

    def register(self, localpart: str, password: str, *, admin: bool, display_name: str = "") -> str:
        """Make an account with the shared secret; its user id.

        The MAC is Synapse's: HMAC-SHA1 over nonce, name, password and admin or notadmin, joined by zero bytes.
        """
        secret = self.settings.registration.shared_secret
        if secret is None:
            raise CommandFailed("registration.shared_secret is not set: set it, restart the server and try again")
        status, answer = self.call("GET", REGISTER, api="admin")
        if status != 200:
            raise CommandFailed(f"the server gave no nonce: {answer.get('error', status)}")
        parts = (answer["nonce"], localpart, password, "admin" if admin else "notadmin")
        mac = hmac.new(secret.reveal().encode(), b"\0".join(part.encode() for part in parts), hashlib.sha1).hexdigest()
        body = {"nonce": answer["nonce"], "username": localpart, "password": password, "admin": admin, "mac": mac}
        if display_name:
            body["displayname"] = display_name
        status, answer = self.call("POST", REGISTER, body, api="admin")
        if answer.get("errcode") == "M_USER_IN_USE":
            raise NameTaken(f"there is an account {localpart} already")
        if status != 200:
            raise CommandFailed(f"the server made no account: {answer.get('error', status)}")
        return str(answer["user_id"])
