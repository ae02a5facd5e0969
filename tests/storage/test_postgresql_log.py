"""What the log says of a PostgreSQL that is down: a sentence, no traceback."""

from __future__ import annotations

import logging

import pytest

import homeserver.storage.postgresql_connection  # noqa: F401 - it sets the filter


def test_a_lost_pool_connection_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    pool = logging.getLogger("asyncpg.pool")
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError:
        pool.warning("Failed to restore %s", "the floor", exc_info=True)
    (record,) = caplog.records
    assert record.getMessage() == "Failed to restore the floor: [Errno 111] Connection refused"
    assert record.exc_info is None
