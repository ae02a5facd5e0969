"""Errors as their meaning. Each carries the spec's errcode; `homeserver/http/errors.py` alone knows HTTP statuses.

The message of an error is read by people: one sentence saying what was wrong and, where it helps, what was expected.
Spec: Client-Server API, "Standard error response" and the error lists of each operation.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MatrixError(Exception):
    """An answer that is not success. `extra` holds further members of the error body (such as `soft_logout`)."""

    errcode: ClassVar[str] = "M_UNKNOWN"

    def __init__(self, message: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.message = message or type(self).__name__
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return {"errcode": self.errcode, "error": self.message, **self.extra}


class Unknown(MatrixError):
    """Something went wrong that has no code of its own."""


class Forbidden(MatrixError):
    errcode = "M_FORBIDDEN"


class InviteBlocked(Forbidden):
    """The one who is invited does not want that (v1.18, "Invite permission")."""

    errcode = "M_INVITE_BLOCKED"


class NotInRoom(Forbidden):
    """The one answer for a room that somebody is not in and for one that does not exist (G12)."""

    def __init__(self, message: str = "You are not in the room") -> None:
        super().__init__(message)


class UnknownToken(MatrixError):
    errcode = "M_UNKNOWN_TOKEN"


class MissingToken(MatrixError):
    errcode = "M_MISSING_TOKEN"


class UserLocked(MatrixError):
    errcode = "M_USER_LOCKED"


class ConsentNotGiven(MatrixError):
    """The operator's documents must be accepted first, at `consent_uri`. Known to clients from Synapse."""

    errcode = "M_CONSENT_NOT_GIVEN"


class AccountEnded(MatrixError):
    """The account must be renewed first. Known to clients from Synapse."""

    errcode = "ORG_MATRIX_EXPIRED_ACCOUNT"


class UserSuspended(MatrixError):
    errcode = "M_USER_SUSPENDED"


class UserDeactivated(MatrixError):
    errcode = "M_USER_DEACTIVATED"


class BadJson(MatrixError):
    errcode = "M_BAD_JSON"


class NotJson(MatrixError):
    errcode = "M_NOT_JSON"


class NotFound(MatrixError):
    errcode = "M_NOT_FOUND"


class LimitExceeded(MatrixError):
    """Too many requests. `retry_after_ms`: how long to wait, in milliseconds (also sent as Retry-After)."""

    errcode = "M_LIMIT_EXCEEDED"

    def __init__(self, message: str = "Too many requests", *, retry_after_ms: int) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms


class Unrecognized(MatrixError):
    """No such endpoint (404)."""

    errcode = "M_UNRECOGNIZED"


class MethodNotAllowed(Unrecognized):
    """The path exists, the method does not (405)."""


class Unauthorized(MatrixError):
    errcode = "M_UNAUTHORIZED"


class UserInUse(MatrixError):
    errcode = "M_USER_IN_USE"


class InvalidUsername(MatrixError):
    errcode = "M_INVALID_USERNAME"


class RoomInUse(MatrixError):
    errcode = "M_ROOM_IN_USE"


class AliasTaken(MatrixError):
    """Another room has this alias already. HTTP 409."""

    errcode = "M_UNKNOWN"


class InvalidRoomState(MatrixError):
    errcode = "M_INVALID_ROOM_STATE"


class UnsupportedRoomVersion(MatrixError):
    errcode = "M_UNSUPPORTED_ROOM_VERSION"


class IncompatibleRoomVersion(MatrixError):
    errcode = "M_INCOMPATIBLE_ROOM_VERSION"


class BadState(MatrixError):
    errcode = "M_BAD_STATE"


class GuestAccessForbidden(MatrixError):
    errcode = "M_GUEST_ACCESS_FORBIDDEN"


class CaptchaNeeded(MatrixError):
    errcode = "M_CAPTCHA_NEEDED"


class CaptchaInvalid(MatrixError):
    errcode = "M_CAPTCHA_INVALID"


class MissingParam(MatrixError):
    errcode = "M_MISSING_PARAM"


class InvalidParam(MatrixError):
    errcode = "M_INVALID_PARAM"


class InvalidKeySignature(MatrixError):
    """A key that was uploaded is not signed by the key that it should be signed by."""

    errcode = "M_INVALID_SIGNATURE"


class TooLarge(MatrixError):
    errcode = "M_TOO_LARGE"


class RemoteTooLarge(TooLarge):
    """Another server's file is larger than this server takes: 502 in the specification, not 413."""


class Exclusive(MatrixError):
    errcode = "M_EXCLUSIVE"


class ResourceLimitExceeded(MatrixError):
    errcode = "M_RESOURCE_LIMIT_EXCEEDED"


class WeakPassword(MatrixError):
    errcode = "M_WEAK_PASSWORD"


class UnableToAuthoriseJoin(MatrixError):
    errcode = "M_UNABLE_TO_AUTHORISE_JOIN"


class UnableToGrantJoin(MatrixError):
    errcode = "M_UNABLE_TO_GRANT_JOIN"


class CannotLeaveServerNoticeRoom(MatrixError):
    errcode = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"


class ThreepidInUse(MatrixError):
    errcode = "M_THREEPID_IN_USE"


class ThreepidNotFound(MatrixError):
    errcode = "M_THREEPID_NOT_FOUND"


class ThreepidAuthFailed(MatrixError):
    """Whose address it is was not shown."""

    errcode = "M_THREEPID_AUTH_FAILED"


class RemoteServerFailed(MatrixError):
    """Another server did not do what was asked of it. For clients that is a 502, whatever the server said (B17)."""


class RefusedElsewhere(MatrixError):
    """Another server, asked on behalf of the client, refused with an error of its own, which is passed on. `status` is
    what it answered."""

    def __init__(self, message: str = "", *, code: str = "M_UNKNOWN", status: int = 400) -> None:
        super().__init__(message[:500] or "The other server refused.")
        self.code = code[:100]
        self.status = status

    def body(self) -> dict[str, Any]:
        return {"errcode": self.code, "error": self.message}


class BadAlias(MatrixError):
    errcode = "M_BAD_ALIAS"


class DuplicateAnnotation(MatrixError):
    errcode = "M_DUPLICATE_ANNOTATION"


class NotInThread(MatrixError):
    """MSC4306: what shall subscribe to a thread is not in it."""

    errcode = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"


class ConflictingUnsubscription(MatrixError):
    """MSC4306: the user has unsubscribed since (409)."""

    errcode = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"


class UrlNotSet(MatrixError):
    errcode = "M_URL_NOT_SET"


class BadStatus(MatrixError):
    errcode = "M_BAD_STATUS"


class ConnectionFailed(MatrixError):
    errcode = "M_CONNECTION_FAILED"


class ConnectionTimeout(MatrixError):
    errcode = "M_CONNECTION_TIMEOUT"


class NotYetUploaded(MatrixError):
    errcode = "M_NOT_YET_UPLOADED"


class CannotOverwriteMedia(MatrixError):
    """An mxc:// address gets its content once (409)."""

    errcode = "M_CANNOT_OVERWRITE_MEDIA"


class UnknownPos(MatrixError):
    errcode = "M_UNKNOWN_POS"


class ThreepidDenied(MatrixError):
    errcode = "M_THREEPID_DENIED"


class ProfileTooLarge(MatrixError):
    errcode = "M_PROFILE_TOO_LARGE"


class KeyTooLarge(MatrixError):
    errcode = "M_KEY_TOO_LARGE"


class WrongRoomKeysVersion(MatrixError):
    errcode = "M_WRONG_ROOM_KEYS_VERSION"


class Unavailable(MatrixError):
    """The server cannot do this now (503), such as a full disk; nothing was changed."""


class InteractiveAuthNeeded(MatrixError):
    """Answered 401 with `flows`, the whole body that User-Interactive Authentication asks for: `flows`, `params`,
    `session`, `completed`, and `errcode`/`error` after a stage that failed.

    Spec: "User-Interactive Authentication API".
    """

    def __init__(self, flows: dict[str, Any]) -> None:
        super().__init__("Further authentication is needed.")
        self.flows = flows

    def body(self) -> dict[str, Any]:
        return self.flows


class UnknownDevice(MatrixError):
    """An application service named a device that the user does not have (v1.17)."""

    errcode = "M_UNKNOWN_DEVICE"


class ThreepidMediumNotSupported(MatrixError):
    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"


class ControlledByServer(BadJson):
    """Account data of a type that clients may not write (405)."""
