"""The one place where errors become HTTP: status, body and headers of every answer that is not success.

What nobody foresaw becomes 500 with a fixed text; its traceback goes to the log alone (row C09 of the known attacks).
Spec: Client-Server API, "Standard error response", "Common error codes" and the responses of each operation.
"""

from __future__ import annotations

from typing import Final

import msgspec

from homeserver.http.routing import WrongMethod
from homeserver.protocol import errors
from homeserver.protocol.errors import MatrixError

_STATUS: Final[dict[type[MatrixError], int]] = {
    MatrixError: 400,
    errors.Unknown: 400,
    errors.Forbidden: 403,
    errors.UnknownToken: 401,
    errors.MissingToken: 401,
    errors.UserLocked: 401,
    errors.AccountEnded: 403,
    errors.ConsentNotGiven: 403,
    errors.UserSuspended: 403,
    errors.UserDeactivated: 403,
    errors.NotFound: 404,
    errors.AliasTaken: 409,
    errors.LimitExceeded: 429,
    errors.Unrecognized: 404,
    errors.MethodNotAllowed: 405,
    errors.Unauthorized: 401,
    errors.InteractiveAuthNeeded: 401,
    errors.GuestAccessForbidden: 403,
    errors.CaptchaInvalid: 401,
    errors.TooLarge: 413,
    errors.RemoteTooLarge: 502,
    errors.RemoteServerFailed: 502,
    errors.ResourceLimitExceeded: 403,
    errors.CannotLeaveServerNoticeRoom: 403,
    errors.ThreepidDenied: 403,
    errors.ThreepidAuthFailed: 403,
    errors.BadStatus: 502,
    errors.ConnectionFailed: 502,
    errors.ConnectionTimeout: 504,
    errors.NotYetUploaded: 504,
    errors.CannotOverwriteMedia: 409,
    errors.ConflictingUnsubscription: 409,
    errors.WrongRoomKeysVersion: 403,
    errors.Unavailable: 503,
    errors.ControlledByServer: 405,
}
"""Statuses that are not 400. A subclass without a row has the status of its nearest base."""

INTERNAL_ERROR: Final = msgspec.json.encode(
    {"errcode": "M_UNKNOWN", "error": "Something went wrong inside the server; the operator can find it in the log."}
)
"""The whole body of every 500: nothing of the exception is in it."""

UNSUPPORTED_MEDIA_TYPE: Final = msgspec.json.encode(
    {"errcode": "M_NOT_JSON", "error": "This server does not take multipart/form-data bodies; send JSON."}
)
"""The body of the 415 that answers every form upload before it is read (row D01)."""


def status_of(error: MatrixError) -> int:
    """The HTTP status of an error: its class's row in the table, or that of the nearest base."""
    return next(_STATUS[base] for base in type(error).__mro__ if base in _STATUS)


def headers_of(error: MatrixError) -> dict[str, str]:
    """Headers that an error asks for. Retry-After is in whole seconds, rounded up (RFC 9110, section 10.2.3)."""
    if isinstance(error, errors.LimitExceeded):
        return {"Retry-After": str(max(1, -(-error.retry_after_ms // 1000)))}
    if isinstance(error, WrongMethod):
        return {"Allow": ", ".join(error.allowed)}
    return {}
