"""User-interactive authentication: a request that must be backed by more than a token.

A session belongs to one user, device, method and path, and to one body (rows F04 and F05): as long as nothing was
proved in it, it follows the client to a new body (clients ask with an empty one first); once a stage is done, any other
operation is refused. Only stages that were satisfied count, and a session is used up by the request that it lets pass.

Nothing typed by a person is stored (row F06): of the body there is a digest keyed with the session id, and of the
session id its hash. Spec: Client-Server API, "User-Interactive Authentication API".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.clock import Clock
from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson, Forbidden, InteractiveAuthNeeded, InvalidParam, MatrixError
from homeserver.storage.database import Database, Transaction
from homeserver.storage.interactive_sessions import InteractiveSession, InteractiveSessionStore
from homeserver.users.secret_tokens import hash_of, new_token

SESSION_LIFETIME_MS = 3600 * 1000
_SESSION_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be allowed. `body` is the request's whole object with its `auth`; `user_id` and `device_id` are ""
    where nobody is logged in."""

    method: str
    path: str
    body: Mapping[str, Any]
    client_address: str
    user_id: str = ""
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Proved:
    """An operation that may go on: the stages and what each proved."""

    stages: Mapping[str, str] = field(default_factory=dict)


Stage = Callable[[Operation, Mapping[str, Any]], Awaitable[str]]
"""Checks the `auth` object of one stage and returns what it proves (a user id, a token, or "").
Raises an error of the spec when it is not satisfied."""


OutOfBand = Callable[[Operation], Awaitable[bool]]
"""Whether what a stage asks for was done somewhere else: the client repeats its request "with just the session"."""

IdentityFlows = Callable[[Operation], Awaitable[Sequence[Sequence[str]]]]
"""How whoever makes a request can prove that it is them, where more than a password is possible."""

_PASSWORD = [["m.login.password"]]


class InteractiveAuth:
    """Runs the flows. `stages` are the kinds that can be checked; `params` what clients must know of them."""

    def __init__(
        self,
        db: Database,
        store: InteractiveSessionStore,
        clock: Clock,
        stages: Mapping[str, Stage],
        params: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._stages = dict(stages)
        self._params = dict(params)
        self._out_of_band: dict[str, OutOfBand] = {}
        self.identity_flows: IdentityFlows | None = None

    def offer(
        self, stage: str, *, out_of_band: OutOfBand | None = None, params: Mapping[str, Any] | None = None
    ) -> None:
        """A further stage, which is done in a browser: asked of `out_of_band`, or told by `complete_for`."""

        async def refuse(operation: Operation, auth: Mapping[str, Any]) -> str:
            raise Forbidden("This is confirmed in a browser; then send the request with the session alone.")

        self._stages[stage] = refuse
        if out_of_band is not None:
            self._out_of_band[stage] = out_of_band
        if params is not None:
            self._params[stage] = params

    async def check(self, operation: Operation, flows: Sequence[Sequence[str]]) -> Proved:
        """Return when the operation may go on. Raises InteractiveAuthNeeded (401) with what is missing; Forbidden when
        the session belongs to another operation."""
        auth = operation.body.get("auth")
        if self.identity_flows is not None and [list(flow) for flow in flows] == _PASSWORD:
            flows = await self.identity_flows(operation)
        if auth is None:
            session_id = new_token("hdi")
            await self._save(self._new_session(session_id, operation, flows))
            raise self._needed(session_id, flows, {})
        if not isinstance(auth, dict):
            raise BadJson("'auth' must be an object.")
        session_id, session = await self._session(operation, auth, flows)
        session = await self._run_stage(session_id, session, operation, auth)
        session = await self._ask_out_of_band(session, operation)
        if not any(set(flow) <= session.completed.keys() for flow in session.flows):
            await self._save(session)
            raise self._needed(session_id, session.flows, session.completed)
        if not await self._db.write(lambda txn: self._use_up(txn, session)):
            raise Forbidden("This authentication session was used already.")
        return Proved(session.completed)

    async def complete_on_web(self, session_id: str, stage: str, auth: Mapping[str, Any], client_address: str) -> None:
        """A stage that was done on a fallback page. Raises InvalidParam (unknown session), or the stage's error."""
        session = await self._find(session_id)
        if session is None or not any(stage in flow for flow in session.flows):
            raise InvalidParam("This authentication session does not exist any more; go back and start again.")
        method, _, path = session.operation.partition(" ")
        operation = Operation(method, path, {}, client_address, session.user_id, session.device_id)
        proved = await self._stages[stage](operation, auth)
        session_hash = session.session_hash

        async def complete(txn: Transaction) -> None:
            current = await self._store.find_session(session_hash, txn)
            if current is not None:
                await self._store.set_session(txn, replace(current, completed={**current.completed, stage: proved}))

        await self._db.write(complete)

    async def find_operation(self, session_id: str, user_id: str) -> str:
        """What a session of the user is to allow, as `METHOD path`. Raises InvalidParam; Forbidden for others."""
        session = await self._find(session_id)
        if session is None:
            raise InvalidParam("This authentication session does not exist any more; go back and start again.")
        if session.user_id != user_id:
            raise Forbidden("This authentication session belongs to another user.")
        return session.operation

    async def complete_for(self, session_id: str, stage: str, user_id: str) -> None:
        """The user confirmed the operation on a page of ours. Raises InvalidParam, Forbidden."""
        await self.find_operation(session_id, user_id)
        session_hash = hash_of(session_id)

        async def complete(txn: Transaction) -> None:
            current = await self._store.find_session(session_hash, txn)
            if current is None or not any(stage in flow for flow in current.flows):
                raise InvalidParam("This authentication session does not exist any more; go back and start again.")
            await self._store.set_session(txn, replace(current, completed={**current.completed, stage: user_id}))

        await self._db.write(complete)

    def params_of(self, stage: str) -> Mapping[str, Any]:
        """What a fallback page shows of the stage."""
        return self._params.get(stage, {})

    async def _session(
        self, operation: Operation, auth: Mapping[str, Any], flows: Sequence[Sequence[str]]
    ) -> tuple[str, InteractiveSession]:
        session_id = auth.get("session")
        if session_id is None:  # "just the type and session, if provided"
            session_id = new_token("hdi")
            return session_id, self._new_session(session_id, operation, flows)
        if not isinstance(session_id, str):
            raise BadJson("'auth.session' must be a string.")
        session = await self._find(session_id)
        if session is None:
            raise InvalidParam("This authentication session is unknown or too old; start again without 'auth'.")
        if (session.user_id, session.device_id, session.operation) != _owner(operation):
            raise Forbidden("This authentication session was begun for another operation.")
        digest = _digest(session_id, operation.body)
        if not hmac.compare_digest(session.body_digest, digest):
            if session.completed:
                raise Forbidden("The request is not the one that this authentication session was begun for.")
            session = replace(session, body_digest=digest)
        return session_id, session

    async def _run_stage(
        self, session_id: str, session: InteractiveSession, operation: Operation, auth: Mapping[str, Any]
    ) -> InteractiveSession:
        stage = auth.get("type")
        if stage is None or (isinstance(stage, str) and stage in session.completed):
            return session
        if not isinstance(stage, str):
            raise BadJson("'auth.type' must be a string.")
        if stage not in self._stages or not any(stage in flow for flow in session.flows):
            await self._save(session)
            error = InvalidParam(f"{stage[:60]!r} is not a stage of this authentication.")
            raise self._needed(session_id, session.flows, session.completed, error)
        try:
            proved = await self._stages[stage](operation, auth)
        except (Forbidden, InvalidParam, MatrixError) as error:
            if error.errcode in ("M_LIMIT_EXCEEDED", "M_BAD_JSON", "M_MISSING_PARAM"):
                raise
            await self._save(session)
            raise self._needed(session_id, session.flows, session.completed, error) from None
        return replace(session, completed={**session.completed, stage: proved})

    async def _ask_out_of_band(self, session: InteractiveSession, operation: Operation) -> InteractiveSession:
        for stage in {stage for flow in session.flows for stage in flow} & self._out_of_band.keys():
            if stage not in session.completed and await self._out_of_band[stage](operation):
                return replace(session, completed={**session.completed, stage: operation.user_id})
        return session

    async def _use_up(self, txn: Transaction, session: InteractiveSession) -> bool:
        existed = await self._store.remove_session(txn, session.session_hash)
        return existed or session.created_ts == 0

    def _new_session(self, session_id: str, operation: Operation, flows: Sequence[Sequence[str]]) -> InteractiveSession:
        user_id, device_id, name = _owner(operation)
        return InteractiveSession(
            session_hash=hash_of(session_id),
            user_id=user_id,
            device_id=device_id,
            operation=name,
            body_digest=_digest(session_id, operation.body),
            flows=tuple(tuple(flow) for flow in flows),
            completed={},
            created_ts=0,  # not stored yet
        )

    async def _find(self, session_id: str) -> InteractiveSession | None:
        if not 0 < len(session_id) <= _SESSION_LENGTH:
            return None
        session = await self._store.find_session(hash_of(session_id))
        if session is None or session.created_ts + SESSION_LIFETIME_MS <= self._clock.now_ms():
            return None
        return session

    async def _save(self, session: InteractiveSession) -> None:
        now = self._clock.now_ms()
        if session.created_ts == 0:
            session = replace(session, created_ts=now)

        async def save(txn: Transaction) -> None:
            await self._store.remove_sessions_before(txn, now - SESSION_LIFETIME_MS)
            await self._store.set_session(txn, session)

        await self._db.write(save)

    def _needed(
        self,
        session_id: str,
        flows: Sequence[Sequence[str]],
        completed: Mapping[str, str],
        error: MatrixError | None = None,
    ) -> InteractiveAuthNeeded:
        body: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in flows],
            "params": {
                stage: dict(self._params[stage])
                for stage in dict.fromkeys(stage for flow in flows for stage in flow)
                if stage in self._params
            },
            "session": session_id,
        }
        if completed or error is not None:
            body["completed"] = list(completed)
        if error is not None:
            body["errcode"], body["error"] = error.errcode, error.message
        return InteractiveAuthNeeded(body)


def _owner(operation: Operation) -> tuple[str, str, str]:
    return operation.user_id, operation.device_id, f"{operation.method} {operation.path}"


def _digest(session_id: str, body: Mapping[str, Any]) -> str:
    """Of the body without `auth`, keyed with the session id, which is nowhere stored."""
    rest = {name: value for name, value in body.items() if name != "auth"}
    return hmac.new(session_id.encode(), canonical_json.encode(rest), hashlib.sha256).hexdigest()
