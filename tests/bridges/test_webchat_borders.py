"""What the widget and bridges do not do: upload, be framed, ask strangers, follow forgeries, show secrets."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import pytest

from bridges.kit.testing import FakeHomeserver
from bridges.webchat.pages import WIDGET
from tests.bridges.test_webchat_pages import get
from tests.bridges.webchat_harness import MEI, SITE, Visitor, WebchatHarness, street
from tests.storage.test_sql_injection import Finder

BRIDGES = Path(__file__).parents[2] / "bridges"
CLIENT_ID = "client-0001"


class KitFinder(Finder):
    """The same for the methods of the kit's store."""

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        is_query = name in ("execute", "rows", "row", "value") and node.args
        if is_query and not self.is_constant(node.args[0], frozenset()):
            self.found.append(node.lineno)
        self.generic_visit(node)


def sources() -> list[Path]:
    return sorted(file for file in BRIDGES.rglob("*.py") if "widget" not in file.parts)


@pytest.mark.parametrize("kind", ["file", "upload", "image", "media", "attach"])
async def test_W08_visitors_have_no_way_to_send_files(kind: str) -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.send({"type": kind, "client_id": CLIENT_ID, "name": "x.svg", "data": "PHN2Zz4="})
        assert visitor.wire.closed_with == 4400
    async with street(FakeHomeserver()) as (chat, _):
        for method in ("POST", "PUT"):
            assert (await get(chat, "/webchat/files/x", method=method)).status == 405


async def test_W11_a_sites_key_is_worth_nothing_on_the_page_of_another_site() -> None:
    async with WebchatHarness() as harness:
        stranger = Visitor(harness, site=SITE, origin="https://other.example")
        await stranger.connect()
        assert stranger.wire.closed_with == 4403
        assert not stranger.of_type("welcome")


@pytest.mark.parametrize("path", ["/webchat/demo", "/webchat/widget.js", "/webchat/nothing"])
async def test_W11_no_page_can_be_framed(path: str) -> None:
    async with street(FakeHomeserver()) as (chat, _):
        assert "frame-ancestors 'none'" in (await get(chat, path)).headers["content-security-policy"]


def test_W12_the_widget_takes_no_messages_of_other_windows() -> None:
    source = (WIDGET / "widget.js").read_text()
    assert "postMessage" not in source
    assert "iframe" not in source
    assert not re.search(r"(window|self|globalThis)\.(onmessage|addEventListener\(\s*[\"']message)", source)


async def test_W15_a_visitor_has_nothing_that_opens_matrix() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        harness.homeserver.say(room, MEI, "Good day")
        await visitor.settle()
        told = json.dumps(visitor.wire.frames)
        assert "Good day" in told
        settings = harness.settings
        for secret in (settings.as_token, settings.hs_token, room, MEI, "@_web_", "access_token", "mxc://"):
            assert secret not in told
        for frame in ("invite", "join", "state", "power", "knock"):
            await visitor.connect()
            await visitor.send({"type": frame, "user_id": "@evil:example.org", "room_id": room})
            assert visitor.wire.closed_with == 4400


def test_W16_bridges_ask_their_homeserver_and_nobody_else() -> None:
    """One module makes requests; nothing in it takes an address from a message. A bridge that must fetch what
    strangers name gets a client with the checks of rows C01-C08 first."""
    askers = {"treq", "urllib.request", "http.client", "aiohttp", "requests", "twisted.web.client"}
    found = set()
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if askers & set(names):
                found.add(file.relative_to(BRIDGES).as_posix())
    assert found == {"kit/requests.py"}


def test_W22_the_sql_of_bridges_is_made_of_constants() -> None:
    checked = 0
    for file in sources():
        text = file.read_text()
        if file.name == "store.py" or not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", text):
            continue  # the driver passes on what it is given
        checked += 1
        module = ast.parse(text)
        finder = KitFinder(module)
        finder.visit(module)
        assert not finder.found, f"{file}: lines {finder.found}"
    assert checked >= 2


async def test_W24_a_bridge_follows_no_room_that_only_claims_to_be_the_next_one() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("before", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        trap = harness.homeserver.create_room("@mallory:example.org")
        content = {"body": "moved", "replacement_room": trap}
        harness.homeserver.add_event(room, "m.room.tombstone", MEI, content, state_key="")
        await visitor.settle()
        await visitor.say("after", "client-0002")
        await visitor.settle()
        assert [text for _, text in harness.homeserver.texts(room)] == ["before", "after"]
        assert harness.homeserver.texts(trap) == []


async def test_W25_nobody_ties_a_room_of_his_own_to_the_widget_by_inviting_its_users() -> None:
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect()
        await visitor.say("hello", CLIENT_ID)
        room = await harness.welcome_staff(visitor)
        ghosts = [user for user in harness.homeserver.users if user.startswith("@_web_")]
        assert ghosts
        trap = harness.homeserver.create_room("@mallory:example.org", invite=[harness.bot, *ghosts])
        await visitor.settle()
        harness.homeserver.say(trap, "@mallory:example.org", "come here")
        await visitor.settle()
        assert "come here" not in visitor.texts()
        for user in (harness.bot, *ghosts):
            assert harness.homeserver.rooms[trap].membership(user) != "join"
        await visitor.say("still private", "client-0002")
        await visitor.settle()
        assert harness.homeserver.texts(trap) == [("@mallory:example.org", "come here")]
        assert "still private" in [text for _, text in harness.homeserver.texts(room)]


@pytest.mark.parametrize(
    "address", ["", "mxc://", "mxc://example.org", "https://evil.example/x", "file:///etc/passwd", "mxc://a/../../sync"]
)
async def test_W28_only_media_addresses_lead_to_files(address: str) -> None:
    homeserver = FakeHomeserver()
    homeserver.media = {"mxc://example.org/good": ("image/png", b"\x89PNG\r\n\x1a\n" + b"0" * 20)}
    async with street(homeserver) as (chat, _):
        async with chat.bridge.store.transaction() as txn:
            for name, mxc in (("good-0123456789", "mxc://example.org/good"), ("evil-0123456789", address)):
                await chat.network.conversations.add_file(txn, name, "c", f"${name}", mxc, "../../x.html")
        good = await get(chat, "/webchat/files/good-0123456789")
        assert (good.status, good.headers["content-type"]) == (200, "image/png")
        assert "filename*=UTF-8''..%2F..%2Fx.html" in good.headers["content-disposition"]
        assert (await get(chat, "/webchat/files/evil-0123456789")).status == 404


async def test_W29_no_secret_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "bridges")
    async with WebchatHarness() as harness:
        visitor = Visitor(harness)
        await visitor.connect(email="anna@customer.example")
        await visitor.say("a private matter", CLIENT_ID)
        await visitor.settle()
        await visitor.send(b"\xff no frame")
        await visitor.connect()
        await visitor.settle()
        assert visitor.token is not None
        for secret in (visitor.token, harness.settings.as_token, harness.settings.hs_token, "a private matter"):
            assert secret not in caplog.text


async def test_W31_ids_tell_nothing_of_how_many_there_are() -> None:
    async with WebchatHarness() as harness:
        visitors = [Visitor(harness) for _ in range(5)]
        for number, visitor in enumerate(visitors):
            await visitor.connect()
            await visitor.say("hello", f"client-000{number}")
            await visitor.settle()
        async with harness.bridge.store.transaction() as txn:
            ids = [row[0] for row in await txn.rows("SELECT id FROM conversations")]
        assert len(set(ids)) == 5
        assert all(len(one) >= 16 and not one.isdecimal() for one in ids)
        firsts = [visitor.of_type("event")[0]["seq"] for visitor in visitors]
        assert len(set(firsts)) == 1, "a visitor's numbers depend on other visitors"
