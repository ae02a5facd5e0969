"""Asks and judges: so many requests, several at a time, each answer held against the rules."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.end_to_end.fuzz import nasty
from tests.end_to_end.fuzz.forms import oauth_form, oauth_query
from tests.end_to_end.fuzz.operations import Operation, operations
from tests.end_to_end.fuzz.values import Values
from tests.end_to_end.fuzz.world import Person, World
from tests.support.http import Answer
from tests.support.openapi import validate_answer

WORKERS = 12
SECONDS_FOR_ONE = 60.0
"""Of real time. The server's own clock runs faster: see `_pass_time`."""
LARGE_ANSWER = 30_000
REFURNISH_EVERY = 150
DELIBERATE = {"M_BAD_STATUS", "M_CONNECTION_FAILED", "M_CONNECTION_TIMEOUT", "M_NOT_YET_UPLOADED"}
"""Errors of 502 and 504: a third party is at fault."""

TOLERATED = ("$.algorithm: ",)
"""A key backup may have an algorithm that the specification does not list yet: the server only keeps it."""

OURS = re.compile(r"/(?:homeserver|federation)/(?!.*/(?:homeserver|federation)/)")
"""What comes before the place of a file of the server, in its path."""

_asked: ContextVar[str] = ContextVar("asked", default="(not in a request)")


@dataclass
class Report:
    """What a run found. `findings` by signature, the first of each; `statuses` by operation."""

    seed: int
    requests: int = 0
    seconds: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, signature: str, text: str) -> None:
        self.counts[signature] += 1
        self.findings.setdefault(signature, text)

    def __str__(self) -> str:
        lines = [f"{self.requests} requests in {self.seconds:.0f} s, seed {self.seed}: {len(self.findings)} findings"]
        lines += [f"--- {self.counts[name]} x {name}\n{text}" for name, text in self.findings.items()]
        return "\n".join(lines)


class _Listener(logging.Handler):
    """Every traceback and every error in a log is a finding."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and not record.exc_info and record.name != "py.warnings":
            return
        text = record.getMessage()
        last = text.splitlines()[0][:120] if text else ""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            where = next((one for one in reversed(frames) if OURS.search(one.filename)), None)
            last = (
                f"{type(error).__name__} at {OURS.split(where.filename)[-1]}:{where.lineno}"
                if where
                else repr(error)[:100]
            )
            text += "\n" + "".join(traceback.format_exception(error))[-3_000:]
        self._report.add(f"log: {last}", f"{_asked.get()}\n{text}")


Ask = Callable[[World, Operation, Values, Report], Awaitable[None]]
"""Asks one operation once."""


async def run(
    world: World,
    requests: int,
    seed: int,
    *,
    workers: int = WORKERS,
    table: Sequence[Operation] | None = None,
    ask: Ask | None = None,
) -> Report:
    """Ask `requests` times, by default as clients do. With one worker the same seed asks the same, as far as ids are
    not random."""
    report = Report(seed)
    table, ask = table or operations(world.routes), ask or _ask_as_client
    listener = _Listener(report)
    logging.getLogger().addHandler(listener)
    logging.captureWarnings(True)
    began = time.monotonic()
    clock = asyncio.create_task(_pass_time(world))
    try:
        shares = [requests // workers + (number < requests % workers) for number in range(workers)]
        crew = (_work(world, table, ask, report, f"{seed}/{number}", share) for number, share in enumerate(shares))
        await asyncio.gather(*crew)
        gc.collect()  # "Task exception was never retrieved" is said when the task goes
        _asked.set("(the look at the server's health after the run)")
        try:
            await asyncio.wait_for(world.check_health(), 60)
        except (AssertionError, TimeoutError) as error:
            report.add("health", f"{type(error).__name__}: {error}")
    finally:
        clock.cancel()
        report.seconds = time.monotonic() - began
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(listener)
    return report


async def _pass_time(world: World) -> None:
    """Fifty seconds of the server's in one of ours."""
    world.server.clock.waits_for_databases = False  # somebody always asks
    while True:
        await world.server.clock.advance(1.0)
        await asyncio.sleep(0.02)


async def _work(world: World, table: Sequence[Operation], ask: Ask, report: Report, seed: str, requests: int) -> None:
    chance = random.Random(seed)
    values = Values(chance, world.pool)
    for _ in range(requests):
        await ask(world, chance.choice(table), values, report)
        report.requests += 1
        if report.requests % REFURNISH_EVERY == 0:
            await world.refurnish(chance)


async def _ask_as_client(world: World, operation: Operation, values: Values, report: Report) -> None:
    chance = values.chance
    person = world.somebody(chance, operation.auth)
    if person.is_dead:
        world.server.client.address = f"203.0.113.{chance.randrange(1, 255)}"
        await world.revive(person)
    values.asked_by(person.user_id, person.device_id)
    path, specified, given = path_of(operation, values)
    query = [*person.query, *values.query(operation)]
    method = operation.method
    if path.endswith("/account/authorize") and method == "GET":
        query = oauth_query(world.pool, chance)
    target = path + ("?" + urlencode(query, errors="surrogatepass") if query else "")
    body = _body(operation, values, given)
    form = person.browser.fill_in(operation.paths[0], person.name, chance) if operation.takes_form else None
    if form is not None:
        target, body = form[0], urlencode(form[1], errors="surrogatepass").encode()
    headers = {} if chance.random() < 0.9 else {"content-type": nasty.text(chance)[:100], "range": "bytes=0-5"}
    if operation.takes_form:
        headers["content-type"] = "application/x-www-form-urlencoded"
    if "/_halfdoor/" in target and person.browser.cookie:
        headers["cookie"] = person.browser.cookie
    said = f"{method} {target} as {person.kind} {person.user_id}\nbody {body[:2_000]!r}"
    world.server.client.address = f"2001:db8::{chance.randrange(65_536):x}"
    asking = world.server.client.request(method, target, body=body, token=person.token, headers=headers)
    answer = await answer_of(asking, report, operation, said)
    if answer is None:
        return
    content = judge(method, specified, answer, report, operation, said, chance)
    if answer.headers.get("content-type", "").startswith("text/html"):
        person.browser.learn(answer.body.decode(), answer.headers.get("set-cookie", ""))
    elif "location" in answer.headers:
        person.browser.learn("", answer.headers.get("set-cookie", ""))
        world.pool.add("oauth_code", *re.findall(r"[?&#]code=([\w.~-]+)", answer.headers["location"]))
    if answer.status < 300 and content is not None:
        world.pool.learn(content)
        _learn_rooms(world, operation, person, given.get("room_id"), content)
    elif isinstance(content, dict):
        if content.get("errcode") in ("M_UNKNOWN_TOKEN", "M_USER_LOCKED") and person.kind in ("user", "admin", "guest"):
            person.is_dead = True
        if content.get("errcode") == "M_USER_SUSPENDED" and person.kind in ("user", "admin"):
            person.is_dead = person.is_lost = True
        if "session" in content:
            world.pool.learn(content)


async def answer_of(asking: Awaitable[Answer], report: Report, operation: Operation, said: str) -> Answer | None:
    """What is answered, unless that is none in time."""
    _asked.set(said)
    try:
        async with asyncio.timeout(SECONDS_FOR_ONE):
            answer = await asking
    except TimeoutError:
        report.add(f"hang: {operation.name}", f"{said}\nno answer in {SECONDS_FOR_ONE:.0f} s")
        return None
    except Exception as error:
        report.add(f"raised: {operation.name} {type(error).__name__}", f"{said}\n{traceback.format_exc()[-3_000:]}")
        return None
    report.statuses.setdefault(operation.name, Counter())[answer.status] += 1
    return answer


def _learn_rooms(world: World, operation: Operation, person: Person, room: str | None, content: Any) -> None:
    """Which rooms somebody is in, and which events are in a room."""
    if operation.name in ("createRoom", "joinRoom", "joinRoomById") and person.user_id:
        world.pool.add(f"room of {person.user_id}", content["room_id"])
    if operation.name == "getJoinedRooms":
        world.pool.add(f"room of {person.user_id}", *content["joined_rooms"])
    if room is not None and isinstance(content, dict):
        events = [content, *content.get("chunk", ())] if isinstance(content.get("chunk", ()), list) else [content]
        for event in events:
            if isinstance(event, dict) and isinstance(event.get("event_id"), str):
                world.pool.add(f"event of {room}", event["event_id"])


def path_of(
    operation: Operation, values: Values, known: Mapping[str, str] | None = None
) -> tuple[str, str, dict[str, str]]:
    """The path to ask, the specification's path for the same, and the values in it, of which some may be `known`."""
    given: dict[str, str] = {}
    template = operation.paths[0] if values.chance.random() < 0.8 else values.chance.choice(operation.paths)
    for name in re.findall(r"{(\w+)\??}", template):
        given[name] = known[name] if known and name in known else values.path_value(name)
    filled = {name: quote(value[:3_000], safe="", errors="surrogatepass") for name, value in given.items()}
    specified = operation.paths[0]
    if set(re.findall(r"{(\w+)\??}", specified)) != set(given):
        specified = template
    return _filled(template, filled), _filled(specified, filled), given


def _filled(template: str, values: dict[str, str]) -> str:
    return re.sub(r"{(\w+)\??}", lambda found: values[found[1]], template)


def _body(operation: Operation, values: Values, given: dict[str, str]) -> bytes:
    chance = values.chance
    if operation.takes_file:
        return chance.choice((b"", b"\x89PNG\r\n\x1a\n" + chance.randbytes(50), b"hello", chance.randbytes(10_000)))
    if not operation.bodies:
        return b"" if chance.random() < 0.97 else b"{}"
    if operation.takes_form and chance.random() < 0.95:
        return oauth_form(values.pool, chance)
    made = values.body(operation, given)
    if chance.random() < 0.35:
        made = nasty.spoil(made, chance)
    encoded = json.dumps(made, ensure_ascii=chance.random() < 0.3).encode("utf-8", "surrogatepass")
    return nasty.raw(encoded, chance) if chance.random() < 0.05 else encoded


def judge(
    method: str, path: str, answer: Answer, report: Report, operation: Operation, said: str, chance: random.Random
) -> Any:
    """The decoded answer, or None when it is no JSON."""
    shown = f"{said}\nanswer {answer.status} {answer.body[:1_500]!r}"
    for name, value in answer.headers.items():
        if "\r" in value or "\n" in value or not value.isascii():
            report.add(f"header: {operation.name} {name}", shown)
    content: Any = None
    if answer.headers.get("content-type", "").startswith("application/json"):
        try:
            content = answer.json
        except ValueError:
            report.add(f"not JSON: {operation.name}", shown)
            return None
    if answer.headers.get("content-type", "").startswith("text/html"):
        if b"<script>alert" in answer.body:
            report.add(f"markup that was given: {operation.name}", shown)
        if answer.status < 500:
            return None  # a page for people
    if answer.status >= 500:
        is_deliberate = isinstance(content, dict) and content.get("errcode") in DELIBERATE
        if not is_deliberate:
            report.add(f"{answer.status}: {operation.name}", shown)
        return content
    if answer.status == 206 or (len(answer.body) > LARGE_ANSWER and chance.random() < 0.9):
        return content
    try:
        validate_answer(method, path, answer.status, content if content is not None else answer.body)
    except AssertionError as error:
        problems = str(error).splitlines()[1:]
        if "filter=" in said and all(problem.endswith("is a required property") for problem in problems):
            return content  # `event_fields` leaves out what it likes
        if any(reason in str(error) for reason in TOLERATED):
            return content
        if (
            ("/oauth2/" in path or path.endswith("/backchannel_logout"))
            and isinstance(content, dict)
            and isinstance(content.get("error"), str)
        ):
            return content  # RFC 6749 has another form of errors
        if answer.status == 401 and isinstance(content, dict) and "flows" in content:
            return content  # interactive authentication on a path that the specification does not have
        report.add(f"schema: {operation.name} {answer.status} {str(error).splitlines()[-1][:90]}", f"{shown}\n{error}")
    return content
