"""Passwords: how they are kept and checked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import homeserver
from homeserver.protocol.errors import Unavailable, WeakPassword
from homeserver.users.passwords import Passwords, PasswordSettings
from tests.support.user_server import (
    CHEAP_PASSWORDS,
    PASSWORD,
    UserServer,
    in_place,
    login_body,
    open_user_server,
    settings,
)


async def test_password_is_verified_against_its_own_hash_only() -> None:
    passwords = Passwords(CHEAP_PASSWORDS, in_place)
    first, second = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)
    assert first != second
    assert first.startswith("$argon2id$")
    assert await passwords.verify(PASSWORD, first)
    assert not await passwords.verify(PASSWORD + " ", first)
    assert not await passwords.verify("", first)
    assert not await passwords.verify("x" * 10_000, first)
    assert not await passwords.verify(PASSWORD, "not a hash")


async def test_F07_nobody_costs_as_much_as_somebody() -> None:
    calls = 0

    async def counting(call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        return call()

    passwords = Passwords(CHEAP_PASSWORDS, counting)
    assert not await passwords.verify("nobody's password", None)
    assert not await passwords.verify("x" * 10_000, None)
    assert calls == 2


@pytest.mark.parametrize("password", ["", "seven77", "x" * 513])
async def test_policy_refuses_passwords_that_are_too_short_or_too_long(password: str) -> None:
    passwords = Passwords(CHEAP_PASSWORDS, in_place)
    with pytest.raises(WeakPassword):
        await passwords.hash(password)


async def test_minimum_length_is_a_setting() -> None:
    passwords = Passwords(PasswordSettings(minimum_length=2, memory_kib=8, iterations=1), in_place)
    assert await passwords.hash("ab")


async def test_hashing_leaves_the_loop_to_others_and_is_bounded() -> None:
    running = most = 0
    release = asyncio.Event()

    def waiting(call: Callable[[], Any]) -> Awaitable[Any]:
        async def run() -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return call()

        return run()

    passwords = Passwords(PasswordSettings(memory_kib=8, iterations=1, parallel_hashes=2), waiting)
    tasks = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(6)]
    for _ in range(10):
        await asyncio.sleep(0)  # the loop is free while the hashes wait
    release.set()
    assert len(await asyncio.gather(*tasks)) == 6
    assert most == 2


async def test_hook_decides_before_the_stored_password(server: UserServer) -> None:
    await server.register("alice")
    asked: list[tuple[str, str]] = []

    async def check(user_id: str, password: str) -> bool | None:
        asked.append((user_id, password))
        return {"from the directory": True, PASSWORD: False}.get(password)

    server.hooks.check_password.append(check)
    assert (await server.post("/login", login_body("alice", "from the directory"))).status == 200
    assert (await server.post("/login", login_body("alice", PASSWORD))).status == 403
    assert (await server.post("/login", login_body("alice", "neither"))).status == 403
    assert len(asked) == 3


async def test_F06_no_password_is_anywhere_in_the_database(server: UserServer) -> None:
    alice = await server.register("alice")
    body = {"username": "bob", "password": PASSWORD}
    session = (await server.post("/register", body)).json["session"]
    await server.post("/register", {**body, "auth": {"session": session}})
    await server.post("/register", {**body, "auth": {"type": "m.login.dummy", "session": session}})
    change = {"new_password": "new " + PASSWORD}
    asked = await server.post("/account/password", change, token=alice.token)
    auth = {"type": "m.login.password", "session": asked.json["session"], "password": "wrong " + PASSWORD}
    await server.post("/account/password", {**change, "auth": auth}, token=alice.token)
    image = server.db._connection.serialize()  # type: ignore[attr-defined]
    assert b"argon2id" in image
    assert b"interactive_sessions" in image
    assert PASSWORD.encode() not in image
    assert asked.json["session"].encode() not in image


def sources() -> dict[str, str]:
    root = Path(homeserver.__file__).parent
    files = [*(root / "users").glob("*.py"), *(root / "admin").glob("*.py"), *(root / "client_api").glob("*.py")]
    return {str(file): file.read_text() for file in files}


def test_F01_chance_comes_from_secrets_alone() -> None:
    for file, text in sources().items():
        assert re.search(r"^\s*(import random|from random|import uuid|from uuid)\b", text, re.M) is None, file


def test_F11_proofs_are_compared_in_constant_time() -> None:
    """Whoever computes an HMAC compares it with compare_digest; tokens are looked up by their hash."""
    computing = {file: text for file, text in sources().items() if "hmac.new(" in text}
    assert len(computing) >= 2
    for file, text in computing.items():
        assert "hmac.compare_digest(" in text, file
        assert re.search(r"(mac|digest|expected) [!=]= ", text) is None, file


async def test_a_hash_of_other_cost_is_renewed_at_the_next_login() -> None:
    server = open_user_server()
    await server.register("alice")
    costly = replace(CHEAP_PASSWORDS, iterations=2)
    later = open_user_server(server.db, settings(passwords=costly))
    old = await later.services.accounts.find_account("@alice:halfdoor.test")
    assert (await later.post("/login", login_body("alice", "wrong"))).status == 403
    assert await later.services.accounts.find_account("@alice:halfdoor.test") == old
    await later.log_in("alice")
    new = await later.services.accounts.find_account("@alice:halfdoor.test")
    assert old is not None
    assert new is not None
    assert "t=1," in str(old.password_hash)
    assert "t=2," in str(new.password_hash)
    await later.log_in("alice")
    assert await later.services.accounts.find_account("@alice:halfdoor.test") == new


async def test_a_password_that_is_too_short_today_still_logs_in_and_is_renewed() -> None:
    server = open_user_server(chosen=settings(passwords=replace(CHEAP_PASSWORDS, minimum_length=1)))
    await server.register("alice", password="short")
    later = open_user_server(server.db, settings(passwords=replace(CHEAP_PASSWORDS, iterations=2)))
    await later.log_in("alice", password="short")
    account = await later.services.accounts.find_account("@alice:halfdoor.test")
    assert account is not None
    assert "t=2," in str(account.password_hash)


async def test_D13_tries_that_nobody_could_judge_are_not_counted_as_wrong() -> None:
    server = open_user_server()
    await server.register("alice")

    async def away(user_id: str, password: str) -> bool | None:
        raise Unavailable("The directory is away.")

    server.hooks.check_password.append(away)
    for _ in range(10):
        assert (await server.post("/login", login_body("alice"))).status == 503
    server.hooks.check_password.clear()
    await server.log_in("alice")
