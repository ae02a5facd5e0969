"""Properties of user-interactive authentication, whatever clients do (rows F04 and F05)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.protocol.errors import Forbidden, InteractiveAuthNeeded, MatrixError
from homeserver.storage.interactive_sessions import InteractiveSessionStore
from homeserver.users.interactive_auth import InteractiveAuth, Operation
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory

STAGES = ("a", "b", "c")
FLOWS = (("a", "b"), ("b", "c"))
BODIES = ({"delete": "one"}, {"delete": "two"})
USERS = ("@alice:x", "@mallory:x")


def build() -> InteractiveAuth:
    """Stages that are satisfied by the right key alone."""

    def stage(name: str) -> Any:
        async def check(operation: Operation, auth: Mapping[str, Any]) -> str:
            if auth.get("key") != f"key of {name}":
                raise Forbidden("Wrong key.")
            return name

        return check

    db = open_in_memory()
    stages = {name: stage(name) for name in STAGES}
    return InteractiveAuth(db, InteractiveSessionStore(db), FakeClock(), stages, {})


def operation(body: Mapping[str, Any], auth: Any = None, user: str = USERS[0], path: str = "/delete") -> Operation:
    whole = dict(body) if auth is None else {**body, "auth": auth}
    return Operation("POST", path, whole, "192.0.2.1", user, "DEVICE")


STEP = st.tuples(
    st.sampled_from([*STAGES, "m.login.dummy", None]),  # the stage that is tried
    st.booleans(),  # with the right key
    st.sampled_from([0, 0, 0, 1]),  # for which body
    st.sampled_from([0, 0, 0, 1]),  # by whom
)


@given(st.lists(STEP, max_size=12))
@settings(max_examples=200, deadline=None)
def test_F04_only_a_flow_that_was_wholly_satisfied_for_this_operation_passes(steps: list[Any]) -> None:
    async def play() -> None:
        auth = build()
        with pytest.raises(InteractiveAuthNeeded) as asked:
            await auth.check(operation(BODIES[0]), FLOWS)
        session = asked.value.flows["session"]
        satisfied: dict[str, int] = {}  # stage -> for which body
        for stage, is_right, body, user in steps:
            tried: dict[str, Any] = {"session": session}
            if stage is not None:
                tried |= {"type": stage, "key": f"key of {stage}" if is_right else "no"}
            try:
                await auth.check(operation(BODIES[body], tried, USERS[user]), FLOWS)
            except MatrixError:
                counts = user == 0 and stage in STAGES and is_right and all(b == body for b in satisfied.values())
                if counts:
                    satisfied[stage] = body
                continue
            if stage in STAGES and is_right:
                satisfied[stage] = body
            assert user == 0
            assert set(satisfied.values()) == {body}
            assert any(set(flow) <= satisfied.keys() for flow in FLOWS)
            return

    asyncio.run(play())


async def test_completed_stage_need_not_be_given_again() -> None:
    auth = build()
    with pytest.raises(InteractiveAuthNeeded) as asked:
        await auth.check(operation(BODIES[0], {"type": "a", "key": "key of a"}), FLOWS)
    session = asked.value.flows["session"]
    assert asked.value.flows["completed"] == ["a"]
    with pytest.raises(InteractiveAuthNeeded) as again:
        await auth.check(operation(BODIES[0], {"type": "a", "key": "whatever", "session": session}), FLOWS)
    assert again.value.flows["completed"] == ["a"]
    proved = await auth.check(operation(BODIES[0], {"type": "b", "key": "key of b", "session": session}), FLOWS)
    assert proved.stages == {"a": "a", "b": "b"}


async def test_F05_two_requests_cannot_use_one_session_up_twice() -> None:
    auth = build()
    with pytest.raises(InteractiveAuthNeeded) as asked:
        await auth.check(operation(BODIES[0], {"type": "a", "key": "key of a"}), FLOWS)
    tried = {"type": "b", "key": "key of b", "session": asked.value.flows["session"]}
    outcomes = await asyncio.gather(
        *(auth.check(operation(BODIES[0], tried), FLOWS) for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
