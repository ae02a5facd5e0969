"""The running server of the end-to-end tests: Halfdoor, or Synapse for reference.

HALFDOOR_END_TO_END_SERVER=synapse runs the same tests against Synapse.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.javascript import node_with_library
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess
from tests.support.synapse import synapse

KIND = os.environ.get("HALFDOOR_END_TO_END_SERVER", "halfdoor")
PEOPLE = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests; each test makes accounts and rooms of its own."""
    make = {"halfdoor": halfdoor, "synapse": synapse}[KIND]
    with make(tmp_path_factory.mktemp(KIND)) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, with matrix-js-sdk installed."""
    return node_with_library()


@pytest.fixture
def person(server: ServerProcess) -> Callable[[str], Account]:
    """Makes a fresh account on the server."""

    def make(name: str) -> Account:
        return server.register(f"{name}{next(PEOPLE)}", display_name=name.capitalize())

    return make
