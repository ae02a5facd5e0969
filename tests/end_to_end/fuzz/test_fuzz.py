"""A run of the fuzzer on each database, as clients ask and as servers do; docs/attacks.tsv knows it as D06. Longer ones
are made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeserver.storage.database import Database
from tests.end_to_end.fuzz.federation_world import make_federation_world
from tests.end_to_end.fuzz.operations import operations
from tests.end_to_end.fuzz.run import run
from tests.end_to_end.fuzz.server_requests import ask_as_server
from tests.end_to_end.fuzz.world import make_world
from tests.support.openapi import requests_of_the_specification

pytestmark = pytest.mark.end_to_end

REQUESTS = 10_000
SERVER_REQUESTS = 2_500
SEED = 20_261_124


@pytest.mark.timeout(300)
async def test_D06_no_request_makes_the_server_fail_hang_or_disagree_with_itself(
    database: Database, tmp_path: Path
) -> None:
    world = await make_world(database, tmp_path)
    try:
        report = await run(world, REQUESTS, SEED)
    finally:
        await world.server.homeserver.close()
    assert not report.findings, str(report)
    asked = set(report.statuses)
    missed = {operation.name for operation in operations(world.routes)} - asked
    assert not missed, f"never asked: {missed}"
    assert len(asked) >= len(requests_of_the_specification()) - 1
    successful = {name for name, statuses in report.statuses.items() if any(status < 400 for status in statuses)}
    assert len(successful) > len(asked) // 2, "the requests do not get past the door any more"


@pytest.mark.timeout(300)
async def test_D06_no_request_of_another_server_makes_ours_fail_hang_or_disagree_with_itself(
    database: Database,
) -> None:
    world = await make_federation_world(database, SEED)
    table = operations(world.routes, "server-server")
    try:
        report = await run(world, SERVER_REQUESTS, SEED, table=table, ask=ask_as_server)
    finally:
        await world.server.close()
    assert not report.findings, str(report)
    missed = {operation.name for operation in table} - set(report.statuses)
    assert not missed, f"never asked: {missed}"
    assert len(table) >= len(requests_of_the_specification("server-server")) - 1
    successful = {name for name, statuses in report.statuses.items() if any(status < 400 for status in statuses)}
    assert len(successful) > len(table) // 2, "the requests do not get past the door any more"
