"""States of branches, stored as what they differ by."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction
from homeserver.storage.event_graph import MAX_HOPS, BranchState, EventGraphStore

ROOM = "!room:here"


async def test_a_state_is_read_back_through_those_that_it_has_grown_from(database: Database) -> None:
    store = EventGraphStore(database)
    states = [BranchState(7, {("m.room.topic", ""): "$topic", ("m.room.name", ""): None})]
    for number in range(MAX_HOPS + 10):
        states.append(states[-1].plus(("m.room.member", f"@user{number % 20}:here"), f"$member{number}"))

    async def job(txn: Transaction) -> None:
        for group, state in enumerate(states, 100):
            store.add_branch_state(txn, ROOM, group, state, None if state.grown is None else group - 1)

    await database.write(job)
    whole = 0
    for group, state in enumerate(states, 100):
        found = await store.get_branch_state(group)
        assert found == state
        assert found.group == group
        assert found.hops <= MAX_HOPS
        whole += found.hops == 0
    assert whole == 2, "most of them are stored by one entry alone"
