"""matrix-nio with its encryption (vodozemac): two people with two devices each in an encrypted room."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nio
import pytest
import pytest_asyncio

from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

Device = Callable[..., Any]
ROUNDS = 20


@pytest_asyncio.fixture
async def device(server: ServerProcess, tmp_path: Path) -> AsyncIterator[Device]:
    """A device of an account with keys published; with `log_in` a further one."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(account: Account, *, log_in: bool = False) -> Any:
            config = nio.AsyncClientConfig(encryption_enabled=True, max_timeouts=0)
            client = nio.AsyncClient(server.base_url, account.user_id, store_path=str(tmp_path), config=config)
            stack.push_async_callback(client.close)
            if log_in:
                checked(await client.login(account.password))
            else:
                client.restore_login(account.user_id, account.device_id, account.access_token)
            await turn(client)
            return client

        yield make


def checked(answer: Any) -> Any:
    """The answer of nio when it is a success."""
    assert not isinstance(answer, nio.ErrorResponse), f"nio: {answer}"
    return answer


async def turn(client: Any, timeout_ms: int = 0) -> Any:
    """One turn of a client's loop: sync, then what encryption wants done."""
    synced = checked(await client.sync(timeout=timeout_ms, full_state=client.next_batch is None))
    if client.should_upload_keys:
        checked(await client.keys_upload())
    if client.should_query_keys:
        checked(await client.keys_query())
    if client.should_claim_keys:
        checked(await client.keys_claim(client.get_users_for_key_claiming()))
    await client.send_to_device_messages()
    return synced


async def reads(client: Any, room_id: str, event_id: str) -> str:
    """What the device reads in an event that is to arrive."""
    for _ in range(ROUNDS):
        synced = await turn(client)
        for event in synced.rooms.join[room_id].timeline.events if room_id in synced.rooms.join else ():
            if event.event_id == event_id:
                assert isinstance(event, nio.RoomMessageText), f"not decrypted: {event}"
                assert event.decrypted
                return str(event.body)
    raise AssertionError(f"{event_id} did not arrive")


async def test_encrypted_message_is_read_by_every_device(device: Device, person: Callable[[str], Account]) -> None:
    ann_account, ben_account = person("ann"), person("ben")
    ann, ben = await device(ann_account), await device(ben_account)
    tablet, phone = await device(ann_account, log_in=True), await device(ben_account, log_in=True)
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    created = await ann.room_create(initial_state=[encryption], invite=[ben_account.user_id])
    room_id = str(checked(created).room_id)
    checked(await ben.join(room_id))
    for _ in range(2):
        for client in (ann, tablet, ben, phone):
            await turn(client)
    assert ann.rooms[room_id].encrypted
    assert set(ann.device_store[ben_account.user_id]) == {ben.device_id, phone.device_id}
    sent = await ann.room_send(
        room_id, "m.room.message", {"msgtype": "m.text", "body": "你好, in secret"}, ignore_unverified_devices=True
    )
    event_id = checked(sent).event_id
    stored = checked(await ann.room_get_event(room_id, event_id)).event
    assert stored.decrypted, "it was sent in the clear"
    for client in (tablet, ben, phone):
        assert await reads(client, room_id, event_id) == "你好, in secret"


async def test_device_that_goes_is_told_to_the_others(device: Device, person: Callable[[str], Account]) -> None:
    ann_account, ben_account = person("ann"), person("ben")
    ann, ben = await device(ann_account), await device(ben_account)
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    created = await ann.room_create(initial_state=[encryption], invite=[ben_account.user_id])
    checked(await ben.join(checked(created).room_id))
    phone = await device(ben_account, log_in=True)
    for _ in range(2):
        await turn(ann)
    assert ann.device_store[ben_account.user_id][phone.device_id].deleted is False
    checked(await phone.logout())
    await turn(ann)
    still = {each.id for each in ann.device_store.active_user_devices(ben_account.user_id)}
    assert still == {ben.device_id}
