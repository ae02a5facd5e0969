"""The same conversations on Synapse and on Halfdoor: every difference is a bug, or is listed with its reason.

HALFDOOR_COMPARE_WITH=synapse plays them on two Synapses instead, which proves the player: there must be no difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.end_to_end.comparison.comparing import Difference, KnownDifference, differences, read_known
from tests.end_to_end.comparison.conversations import CONVERSATIONS
from tests.end_to_end.comparison.player import Player
from tests.end_to_end.comparison.servers import comparison_server
from tests.support.server_process import ServerProcess

SECOND = os.environ.get("HALFDOOR_COMPARE_WITH", "halfdoor")

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with comparison_server("synapse", tmp_path_factory.mktemp("reference")) as server:
        yield server


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with comparison_server(SECOND, tmp_path_factory.mktemp("subject")) as server:
        yield server


@pytest.fixture(scope="module")
def known() -> list[KnownDifference]:
    return [] if SECOND == "synapse" else read_known()


@pytest.fixture(scope="module")
def found() -> dict[str, list[Difference]]:
    """The differences of each conversation that was played."""
    return {}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation_goes_as_with_synapse(
    name: str,
    reference: ServerProcess,
    subject: ServerProcess,
    known: list[KnownDifference],
    found: dict[str, list[Difference]],
) -> None:
    one = Player(reference, name).play(CONVERSATIONS[name])
    assert not one.aborted, f"the conversation is wrong: on Synapse it ended early, {one.aborted}"
    other = Player(subject, name).play(CONVERSATIONS[name])
    found[name] = differences(name, one, other)
    unlisted = [str(each) for each in found[name] if not any(entry.covers(each) for entry in known)]
    violations = [f"{step.name}: {step.violation}" for step in other.steps if step.violation and SECOND == "halfdoor"]
    assert not unlisted, "\n".join([f"{len(unlisted)} unlisted differences:", *unlisted])
    assert not violations, "\n".join(violations)


def test_no_listed_difference_is_stale(known: list[KnownDifference], found: dict[str, list[Difference]]) -> None:
    if set(found) != set(CONVERSATIONS):
        pytest.skip("not every conversation was played in this run")
    everything = [each for differences_ in found.values() for each in differences_]
    stale = [entry for entry in known if not any(entry.covers(each) for each in everything)]
    assert not stale, f"these listed differences are there no more: {stale}"
