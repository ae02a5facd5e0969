"""Every request that nine real clients made in a recorded day is answered as it was then, or better."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client_api.replayed_clients import BETTER, in_order, rows, set_stage
from tests.support.clock import settle

REQUESTS = rows()


@pytest.mark.parametrize("client", sorted({row.client for row in REQUESTS}))
async def test_requests_of_a_client_are_answered_as_it_expects(client: str, tmp_path: Path) -> None:
    stage = await set_stage(tmp_path)
    unexpected: list[str] = []
    for asked in in_order([row for row in REQUESTS if row.client == client]):
        answer = await stage.ask(asked)
        better = BETTER.get(asked.name, (0, ""))[0]
        if answer.status not in asked.statuses and answer.status != better:
            unexpected.append(f"{asked.method} {asked.path}: {answer.status} {answer.body[:200]!r}")
    await settle()
    await stage.server.close()
    assert unexpected == []


def test_every_exception_is_of_a_request_that_is_made() -> None:
    assert set(BETTER) <= {row.name for row in REQUESTS}
