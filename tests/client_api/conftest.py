"""A server of users for every test that asks for one."""

from __future__ import annotations

import pytest

from tests.support.user_server import UserServer, open_user_server


@pytest.fixture
async def server() -> UserServer:
    return open_user_server()
