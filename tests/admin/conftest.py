"""A server and its administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.server import Server, User, open_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    opened = open_server()
    yield opened
    await opened.homeserver.admin.stop()
    await opened.close()


@pytest.fixture
async def admin(server: Server) -> User:
    return await server.register("admin", admin=True)
