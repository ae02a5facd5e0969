"""A network with two servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.federation.big_rooms import Gate
from tests.federation.lies import Scene, open_scene
from tests.support.federation import FederatedServer, Network, open_federated


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    network = Network()
    yield network
    for server in network.servers.values():
        await server.close()


@pytest.fixture
async def one(network: Network) -> FederatedServer:
    return await open_federated(network, "one.test")


@pytest.fixture
async def two(network: Network) -> FederatedServer:
    return await open_federated(network, "two.test")


@pytest.fixture
async def scene(network: Network, one: FederatedServer) -> Scene:
    return await open_scene(network, one)


@pytest.fixture
def gate(network: Network) -> Gate:
    return Gate(network)
