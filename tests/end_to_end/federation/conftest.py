"""One federation for all tests of this folder: Halfdoor, Synapse and another Halfdoor; each test has its own people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.end_to_end.federation.people import Person
from tests.support.federation_processes import Federation, federation
from tests.support.server_process import ServerProcess

PEOPLE = itertools.count(1)


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("federation")) as running:
        yield running


def somebody(server: ServerProcess, name: str) -> Person:
    """A fresh account at a server."""
    return Person(server, server.register(f"{name}{next(PEOPLE)}", display_name=name.capitalize()))


@pytest.fixture
def alice(servers: Federation) -> Person:
    """At Halfdoor."""
    return somebody(servers.halfdoor, "alice")


@pytest.fixture
def bob(servers: Federation) -> Person:
    """At Synapse."""
    return somebody(servers.synapse, "bob")


@pytest.fixture
def carol(servers: Federation) -> Person:
    """At the second Halfdoor."""
    return somebody(servers.third, "carol")


@pytest.fixture(params=[True, False], ids=["made-here", "made-at-synapse"])
def host_and_guest(request: pytest.FixtureRequest, alice: Person, bob: Person) -> tuple[Person, Person]:
    """Who makes the room, and who comes: in both directions."""
    return (alice, bob) if request.param else (bob, alice)
