"""The first day of two people who use Element in a browser, by what is on the screen (`element.py` says which Element).

Room list, invitations, messages and verification are Element's own; only hidden inputs for files are filled by script.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.element import Element, build_element, served
from tests.support.browser import chromium
from tests.support.server_process import ServerProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

PASSWORD = "a long enough Passw0rd!"
NUMBERS = itertools.count(1)
Open = Callable[[], Awaitable[Element]]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(build_element()) as address:
        yield address


@pytest.fixture
async def open_element(site: str, server: ServerProcess, tmp_path: Path) -> AsyncIterator[Open]:
    async with chromium(tmp_path) as browser:

        async def make() -> Element:
            return await Element.open(browser, site, server.base_url, server.server_name)

        yield make


async def test_the_first_day_with_element(open_element: Open, server: ServerProcess) -> None:
    number = next(NUMBERS)
    ann_name, ben_name = f"element-ann{number}", f"element-ben{number}"
    ann, ben = await open_element(), await open_element()
    await ann.register(ann_name, PASSWORD)
    await ben.register(ben_name, PASSWORD)

    room_id = await ann.create_room("Kitchen")
    await ann.invite(f"@{ben_name}:{server.server_name}")
    await ben.accept_invitation(room_id)
    await ann.say("Good mornign")
    await ben.sees("Good mornign")
    await ann.edit_last("Good morning 你好")
    await ben.sees("Good morning 你好")
    await ben.send_picture()
    await ann.sees_picture()
    await ben.react("Good morning", "👍")
    await ann.sees("👍", ".mx_ReactionsRowButton")
    await ben.answer_in_thread("Good morning", "In the thread")
    await ann.sees("In the thread", ".mx_ThreadSummary")
    assert "Good morning 你好" in await ann.search("morning")

    await ben.log_out()
    await ben.log_in(ben_name, PASSWORD)
    # What Element shows then depends on whether it had made keys before: it asks for another device, or not.
    await ben.until(f"window.mxMatrixClientPeg?.get?.()?.getUserId?.() === '@{ben_name}:{server.server_name}'")


async def test_a_second_device_is_verified_by_comparing_emojis(open_element: Open) -> None:
    name = f"element-eve{next(NUMBERS)}"
    first = await open_element()
    await first.register(name, PASSWORD)
    status = await first.crypto("getCrossSigningStatus()")
    assert status["publicKeysOnDevice"]
    second = await open_element()
    await second.log_in(name, PASSWORD)
    await second.press("Verify with another device")
    await first.press("Verify Session")
    await second.press("Start")
    assert await first.emojis() == await second.emojis()
    await first.press("They match")
    await second.press("They match")
    for device in (first, second):
        await device.sees("You've successfully verified", ".mx_Dialog")
    handed_over = "every((given) => given)"  # the first device gives the second one the private keys
    await second.until(
        "mxMatrixClientPeg.get().getCrypto().getCrossSigningStatus()"
        f".then((status) => Object.values(status.privateKeysCachedLocally).{handed_over})"
    )
