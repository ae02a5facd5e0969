"""An encrypted conversation between a client at Halfdoor and one at Synapse, both of matrix-nio (vodozemac)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nio
import pytest
import pytest_asyncio

from tests.end_to_end.federation.people import PATIENCE_SECONDS, Person
from tests.end_to_end.test_matrix_nio_encryption import checked, turn

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

Device = Callable[..., Any]
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@pytest_asyncio.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    """A device of a person with keys published; with `log_in` a further one."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(person: Person, *, log_in: bool = False) -> Any:
            config = nio.AsyncClientConfig(encryption_enabled=True, max_timeouts=0)
            client = nio.AsyncClient(person.server.base_url, person.user_id, store_path=str(tmp_path), config=config)
            stack.push_async_callback(client.close)
            if log_in:
                checked(await client.login(person.account.password))
            else:
                client.restore_login(person.user_id, person.account.device_id, person.account.access_token)
            await turn(client)
            return client

        yield make


async def until(client: Any, check: Callable[[], bool]) -> None:
    """Turn a client's loop until something has come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, "it did not come in time"
        await turn(client, 200)


async def tell(client: Any, room_id: str, body: str) -> str:
    content = {"msgtype": "m.text", "body": body}
    sent = checked(await client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True))
    stored = checked(await client.room_get_event(room_id, sent.event_id)).event
    assert stored.decrypted, "it was sent in the clear"
    return str(sent.event_id)


async def reads(client: Any, room_id: str, event_id: str) -> str:
    """What the device reads in an event that is to arrive."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        synced = await turn(client, 200)
        for event in synced.rooms.join[room_id].timeline.events if room_id in synced.rooms.join else ():
            if event.event_id == event_id:
                assert isinstance(event, nio.RoomMessageText), f"not decrypted: {event}"
                return str(event.body)
    raise AssertionError(f"{event_id} did not arrive")


async def test_encrypted_conversation(host_and_guest: tuple[Person, Person], device: Device) -> None:
    host, guest = host_and_guest
    one, two = await device(host), await device(guest)
    created = checked(await one.room_create(initial_state=[ENCRYPTION], invite=[guest.user_id]))
    room_id = str(created.room_id)
    await until(two, lambda: room_id in two.invited_rooms)
    checked(await two.join(room_id))
    for client, other in ((one, guest), (two, host)):
        await until(client, lambda: room_id in client.rooms and client.rooms[room_id].encrypted)  # noqa: B023
        await until(client, lambda: other.account.device_id in client.device_store[other.user_id])  # noqa: B023
    assert await reads(two, room_id, await tell(one, room_id, "密语")) == "密语"
    assert await reads(one, room_id, await tell(two, room_id, "answered")) == "answered"

    # A device that comes later is told the keys of what is said from then on, by the other server's client too.
    three = await device(guest, log_in=True)
    await until(one, lambda: three.device_id in one.device_store[guest.user_id])
    event_id = await tell(one, room_id, "to the new one too")
    for client in (two, three):
        assert await reads(client, room_id, event_id) == "to the new one too"
    await until(three, lambda: one.device_id in three.device_store[host.user_id])
    assert await reads(one, room_id, await tell(three, room_id, "from the new one")) == "from the new one"

    # And one that is gone is given none.
    checked(await three.logout())
    await until(
        one, lambda: {each.id for each in one.device_store.active_user_devices(guest.user_id)} == {two.device_id}
    )
    assert await reads(two, room_id, await tell(one, room_id, "without it")) == "without it"
