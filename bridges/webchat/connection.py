"""One visitor's connection, without the network: frames in, frames out. `websocket.py` carries it over Autobahn.

The server derives everything from the token of the first frame: no later frame can name a conversation or a room (W02).
Frames are handled one after the other; events go out from the connection's own place (`sent`), whoever rings the bell.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import replace
from typing import Any, Protocol

from bridges.kit import RemoteMessage
from bridges.kit.store import StoreUnavailable
from bridges.kit.text import clean_name, clean_text
from bridges.webchat import frames
from bridges.webchat.conversations import Conversation
from bridges.webchat.door import Door
from bridges.webchat.network import person_of
from bridges.webchat.projection import visitor_message
from bridges.webchat.settings import Site

log = logging.getLogger(__name__)

LONGEST_HISTORY = 500
CHUNK = 100
MOST_WAITING = 400
_numbers = itertools.count()


class Wire(Protocol):
    """What a connection needs of its WebSocket."""

    def send(self, data: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class VisitorConnection:
    """From the handshake on. `offer` takes frames, `closed` ends it; `run` does the work."""

    def __init__(self, door: Door, origin: str | None, address: str, wire: Wire) -> None:
        self._door = door
        self._origin = origin
        self._address = address
        self._wire = wire
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._key = str(next(_numbers))
        self._rung = False
        self._open = True
        self._site: Site | None = None
        self._token = ""
        self._conversation: Conversation | None = None
        self._stored = False
        self._sent = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def greeted(self) -> bool:
        """Whether the first frame was a valid hello."""
        return self._conversation is not None

    def offer(self, data: bytes) -> None:
        """A frame came."""
        if not self._open:
            return
        if self._waiting.qsize() > MOST_WAITING or not self._door.frames.take(self._key):
            self._close(frames.CLOSE_TOO_MUCH, "too many frames")
        else:
            self._waiting.put_nowait(data)

    def ring(self) -> None:
        """There may be new events."""
        if not self._rung and self._open:
            self._rung = True
            self._waiting.put_nowait(None)

    def tell(self, frame: dict[str, Any]) -> None:
        """Send something that has no number."""
        if self._open:
            self._wire.send(frames.encode(frame))

    def closed(self) -> None:
        """The socket is gone."""
        if not self._open:
            return
        self._open = False
        if self._conversation is not None:
            self._door.doorbell.remove(self._conversation.id, self)
        # What was accepted is finished; only then the task ends.
        self._waiting.put_nowait(None)

    async def idle(self) -> None:
        """Wait until everything that came has been handled."""
        await self._waiting.join()

    @property
    def is_ended(self) -> bool:
        return self._task.done()

    async def ended(self) -> None:
        await asyncio.gather(self._task, return_exceptions=True)

    def _close(self, code: int, reason: str) -> None:
        if self._open:
            self._wire.close(code, reason)
            self._open = False
            if self._conversation is not None:
                self._door.doorbell.remove(self._conversation.id, self)
            self._waiting.put_nowait(None)

    async def _run(self) -> None:
        while self._open or not self._waiting.empty():
            data = await self._waiting.get()
            try:
                if data is not None:
                    await self._receive(data)
                elif self._open:
                    self._rung = False
                    await self._send_events()
            except frames.BadFrame as error:
                self.tell(frames.error_frame("bad_frame", str(error)))
                self._close(frames.CLOSE_BAD_FRAME, "bad frame")
            except StoreUnavailable as error:
                log.error("a visitor's frame was not taken: %s", error)
                self._close(frames.CLOSE_FAILED, "try again")
            except Exception:
                log.exception("a visitor's frame failed")
                self._close(frames.CLOSE_FAILED, "internal error")
            finally:
                self._waiting.task_done()

    async def _receive(self, data: bytes) -> None:
        frame = frames.decode(data)
        if isinstance(frame, frames.Ping):
            self.tell({"type": "pong"})
        elif isinstance(frame, frames.Hello):
            await self._hello(frame)
        elif self._conversation is None or self._site is None:
            self._close(frames.CLOSE_HELLO_FIRST, "hello comes first")
        elif isinstance(frame, frames.Message):
            await self._message(frame, self._conversation, self._site)
        elif isinstance(frame, frames.Label):
            await self._label(frame, self._conversation)
        elif not self._stored:
            return  # nothing was said yet, so there is nothing to read and nobody to show typing to
        elif isinstance(frame, frames.Typing):
            if self._door.typing.take(self._conversation.id):
                person = person_of(self._conversation)
                self._door.errand(self._door.bridge.set_typing(self._conversation.id, person, frame.typing))
        elif isinstance(frame, frames.Ack):
            await self._door.conversations.set_acked(self._conversation.id, frame.seq)
        else:
            await self._read(frame.seq, self._conversation)

    async def _hello(self, frame: frames.Hello) -> None:
        if self._conversation is not None:
            raise frames.BadFrame("hello comes once")
        site = self._door.find_site(frame.site, self._origin)
        if site is None:
            self.tell(frames.error_frame("forbidden", "This chat is not available on this page."))
            self._close(frames.CLOSE_FORBIDDEN, "origin or site")
            return
        conversation = await self._conversation_of(frame, site)
        since = frame.since if frame.since <= conversation.seq else 0
        self._sent = max(since, conversation.seq - LONGEST_HISTORY)
        self._site, self._conversation = site, conversation
        self._door.doorbell.add(conversation.id, self)
        self.tell(
            {
                "type": "welcome",
                "token": self._token,
                "start": self._sent,
                "seq": conversation.seq,
                "read": conversation.visitor_read,
                "site": {"title": site.title, "greeting": site.greeting, "colour": site.colour},
                "longest_text": self._door.limits.longest_text,
            }
        )
        await self._send_events()

    async def _conversation_of(self, frame: frames.Hello, site: Site) -> Conversation:
        """The conversation that the token opens; a token that the server does not know gets a new one (W09)."""
        issued = None
        if frame.token is not None:
            found = await self._door.conversations.find_by_token(site.key, frame.token)
            if found is not None:
                self._token, self._stored = frame.token, True
                return found
            issued = self._door.find_issued(frame.token, site.key)
        if frame.token is not None and issued is not None:
            self._token, identity = frame.token, issued
        else:
            self._token, identity = self._door.issue(site.key)
        return Conversation(
            id=identity,
            site=site.key,
            name=clean_name(frame.name, 60),
            email=clean_name(frame.email, 120),
            page_title=clean_name(frame.page.title, 120),
            page_url=clean_name(frame.page.url, 500),
            lang=clean_name(frame.lang, 20),
        )

    async def _message(self, frame: frames.Message, conversation: Conversation, site: Site) -> None:
        key = f"c:{frame.client_id}"
        text = clean_text(frame.text).strip()
        door, bridge = self._door, self._door.bridge
        async with bridge.store.transaction() as txn:
            known = await door.conversations.find_event(txn, conversation.id, key)
        if known is not None:
            self.tell({"type": "ack", "client_id": frame.client_id, "seq": known[0]})
            return
        if not text or len(text) > door.limits.longest_text:
            code, why = (
                ("too_long", f"At most {door.limits.longest_text} characters.") if text else ("empty", "No text.")
            )
            self.tell(frames.error_frame(code, why, client_id=frame.client_id))
            return
        wait = door.message_wait(conversation.id, self._address, site.key, new=not self._stored)
        if wait > 0:
            more = {"client_id": frame.client_id, "retry_after_ms": round(wait * 1000) + 1}
            self.tell(frames.error_frame("too_fast", "Too many messages at once.", **more))
            return
        now = bridge.clock.now_ms()
        async with bridge.store.transaction() as txn:
            if await txn.value("SELECT 1 FROM conversations WHERE id = ?", (conversation.id,)) is None:
                await door.conversations.add(txn, conversation, self._token, now)
            body = visitor_message(text, frame.client_id, now)
            seq, new = await door.conversations.append(txn, conversation.id, key, "message", body)
            if new:
                sender = person_of(conversation)
                event = RemoteMessage(conversation.id, key, sender, text, timestamp_ms=now)
                await bridge.receive(event, txn)
        self._stored = True
        self.tell({"type": "ack", "client_id": frame.client_id, "seq": seq})
        bridge.wake(conversation.id)
        door.doorbell.ring(conversation.id)

    async def _label(self, frame: frames.Label, conversation: Conversation) -> None:
        """Name and e-mail are labels: they name this conversation and find no other (W01)."""
        name, email = clean_name(frame.name, 60), clean_name(frame.email, 120)
        if (name, email) == (conversation.name, conversation.email):
            return
        self._conversation = replace(conversation, name=name, email=email)
        if self._stored:
            await self._door.conversations.set_labels(conversation.id, name, email)
            if email and email != conversation.email:
                text = f"The visitor gave an e-mail address (not verified): {email}"
                self._door.errand(self._door.bridge.notice(conversation.id, text, f"email {email}"))

    async def _read(self, seq: int, conversation: Conversation) -> None:
        key = await self._door.conversations.set_read(conversation.id, seq)
        if key is not None:
            work = self._door.bridge.mark_read(conversation.id, person_of(conversation), key)
            self._door.errand(work)

    async def _send_events(self) -> None:
        """Everything after the connection's place, in order; the place moves with what was sent."""
        if self._conversation is None:
            return
        while self._open:
            events = await self._door.conversations.list_events(self._conversation.id, self._sent, CHUNK)
            for event in events:
                self.tell(event)
                self._sent = event["seq"]
            if len(events) < CHUNK:
                return
