"""E-mails about what stays unread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homeserver.push.services import PushSettings
from homeserver.storage.push_queue import PusherKey
from homeserver.storage.threepids import Threepid, ThreepidStore
from tests.push.phones import Phones, open_phones, pusher
from tests.support.mail import Outbox
from tests.support.server import User

ADDRESS = "bob@example.org"
MINUTE, HOUR = 60.0, 3600.0


async def give_address(user: User, address: str = ADDRESS) -> None:
    homeserver = user.server.homeserver
    threepid = Threepid("email", address, user.user_id, 1, 1)
    await homeserver.db.write(lambda txn: ThreepidStore(homeserver.db).add_threepid(txn, threepid))


def email_pusher(**changes: object) -> dict[str, object]:
    return {**pusher(ADDRESS), "app_id": "m.email", "kind": "email", "data": {"brand": "App"}, **changes}


@asynccontextmanager
async def open_mailing(push: PushSettings | None = None) -> AsyncIterator[tuple[Phones, Outbox]]:
    outbox = Outbox()
    async with open_phones(mailer=outbox, push=push) as phones:
        yield phones, outbox


async def test_unread_messages_come_in_one_email_after_ten_minutes() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
        await alice.say(room_id, "first <script>")
        await phones.pass_time(5 * MINUTE)
        await alice.say(room_id, "second\nline")
        await phones.pass_time(4 * MINUTE)
        assert outbox.sent == []
        await phones.pass_time(2 * MINUTE)
        mail = outbox.take()
        assert (mail.to, mail.subject) == (ADDRESS, "2 unread on halfdoor.test")
        assert "Tea (2 unread)\n  Alice: first <script>\n  Alice: second line\n" in mail.text
        assert mail.html is not None
        assert "first &lt;script&gt;" in mail.html
        assert "<script>" not in mail.html
        assert phones.gateway.requests == []


async def test_who_reads_in_time_gets_no_email() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        event_id = await alice.say(room_id, "one")
        await phones.pass_time(5 * MINUTE)
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
        await phones.pass_time(HOUR)
        assert outbox.sent == []


async def test_emails_become_rare_while_nothing_is_read_and_begin_anew_then() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        waits: list[int] = []
        for _ in range(4):
            event_id = await alice.say(room_id, "hello")
            minutes = 0
            while not outbox.sent:
                await phones.pass_time(10 * MINUTE)
                minutes += 10
            waits.append(minutes)
            outbox.take()
        assert waits == [10, 60, 360, 1440]
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
        await alice.say(room_id, "hello")
        await phones.pass_time(10 * MINUTE)
        outbox.take()


async def test_mail_server_that_is_away_is_tried_again_and_nothing_is_lost() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        outbox.failing = True
        await alice.say(room_id, "one")
        await phones.pass_time(HOUR)
        outbox.failing = False
        await phones.pass_time(HOUR)
        assert "one" in outbox.take().text


async def test_G10_email_keeps_messages_at_home_where_that_is_asked() -> None:
    async with open_mailing(PushSettings(includes_content=False)) as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        await alice.say(room_id, "a secret")
        await phones.pass_time(HOUR)
        mail = outbox.take()
        for told in (mail.text, mail.html or ""):
            assert "secret" not in told
            assert "Tea" not in told
            assert alice.user_id not in told
        assert "A conversation (1 unread)" in mail.text


async def test_G10_email_of_the_format_event_id_only_has_no_content() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher(data={"format": "event_id_only"}))
        await alice.say(room_id, "a secret")
        await phones.pass_time(HOUR)
        mail = outbox.take()
        assert "secret" not in mail.text + (mail.html or "")


async def test_G04_redacted_messages_are_in_no_email() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        event_id = await alice.say(room_id, "a regretted secret")
        await alice.say(room_id, "good morning")
        await phones.pass_time(5 * MINUTE)
        await alice.put(f"/rooms/{room_id}/redact/{event_id}/1")
        await phones.pass_time(HOUR)
        mail = outbox.take()
        assert "secret" not in mail.text + (mail.html or "")
        assert "good morning" in mail.text


async def test_chinese_and_encrypted_messages_and_invitations() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher(lang="zh-CN"))
        await alice.send(room_id, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})
        private = await alice.create_room(preset="private_chat", name="秘密")
        await alice.invite(private, bob)
        await phones.pass_time(HOUR)
        mail = outbox.take()
        assert mail.subject == "您在 halfdoor.test 有 2 条未读消息"
        assert "发送了一条加密消息" in mail.text
        assert "秘密（1 条未读）" in mail.text
        assert "邀请您加入" in mail.text
        assert 'lang="zh-Hans"' in (mail.html or "")


async def test_link_in_the_email_ends_them_after_a_question() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        await alice.say(room_id, "one")
        await phones.pass_time(HOUR)
        link = outbox.take().links[-1]
        assert link.startswith("https://matrix.halfdoor.test/_halfdoor/push/unsubscribe?token=")
        path, _, token = link.removeprefix("https://matrix.halfdoor.test").partition("?token=")
        client = phones.server.client
        page = await client.request("GET", path, query={"token": token})
        assert page.status == 200
        assert ADDRESS in page.body.decode()
        assert len((await bob.get("/pushers"))["pushers"]) == 1
        for wrong in ("", "x", token[:-2] + "xx", "A" + token):
            refused = await client.request("POST", path, query={"token": wrong})
            assert refused.status == 400
        done = await client.request("POST", path, query={"token": token}, headers={"Accept-Language": "zh"})
        assert (done.status, "将不再" in done.body.decode()) == (200, True)
        assert (await bob.get("/pushers"))["pushers"] == []
        await alice.say(room_id, "two")
        await phones.pass_time(HOUR)
        assert outbox.sent == []


async def test_token_of_one_pusher_ends_no_other() -> None:
    async with open_mailing() as (phones, _):
        links = phones.server.homeserver.push.unsubscribe_links
        key = PusherKey("@bob:halfdoor.test", "m.email", ADDRESS)
        assert links.read(links.token(key)) == key
        other = links.token(PusherKey("@eve:halfdoor.test", "m.email", ADDRESS))
        code, told = other[:20], links.token(key)[20:]
        assert links.read(code + told) is None


@pytest.mark.parametrize(
    "changes", [{"pushkey": "eve@example.org"}, {"app_id": "org.example"}, {"pushkey": "not an address"}]
)
async def test_C04_only_own_addresses_get_emails(changes: dict[str, object]) -> None:
    async with open_mailing() as (phones, _):
        _, bob, _ = await phones.pair()
        await give_address(bob)
        answer = await bob.request("POST", "/pushers/set", email_pusher(**changes))
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_emails_outlive_the_session_but_not_the_address() -> None:
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher(pushkey="Bob@Example.org"))
        await bob.post("/logout")
        await alice.say(room_id, "one")
        await phones.pass_time(HOUR)
        assert outbox.take().to == ADDRESS
        db = phones.server.homeserver.db
        await db.write(lambda txn: txn.execute("DELETE FROM threepids"))
        await alice.say(room_id, "two")
        await phones.pass_time(24 * HOUR)
        assert outbox.sent == []
        assert await db.fetch_all("SELECT 1 FROM pushers") == []


async def test_long_absence_is_one_email_about_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.push.deliveries.READ", 10)
    async with open_mailing() as (phones, outbox):
        alice, bob, room_id = await phones.pair()
        await give_address(bob)
        await bob.post("/pushers/set", email_pusher())
        for number in range(25):
            await alice.say(room_id, f"message {number}.")
        await phones.pass_time(HOUR)
        mail = outbox.take()
        assert "message 24." in mail.text
        assert "message 3." not in mail.text
        assert "and 4 more" in mail.text
