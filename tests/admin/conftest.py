"""A server and its administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.media.services import MediaSettings
from tests.support.server import Server, User, open_server, server_settings


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    opened = open_server(settings=server_settings(media=MediaSettings(folder=tmp_path / "media")))
    yield opened
    await opened.homeserver.admin.stop()
    await opened.close()


@pytest.fixture
async def admin(server: Server) -> User:
    return await server.register("admin", admin=True)
