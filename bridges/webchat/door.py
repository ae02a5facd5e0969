"""The door that all connections come through: which origin may come in, under which token, and how many at once."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from bridges.kit import Bridge
from bridges.webchat.conversations import Conversations, token_hash
from bridges.webchat.doorbell import Doorbell
from bridges.webchat.limits import Buckets, address_key
from bridges.webchat.settings import Limits, Site, normal_origin

log = logging.getLogger(__name__)

MOST_ISSUED = 50_000
MOST_ERRANDS = 500


class Door:
    """What the connections share."""

    def __init__(self, bridge: Bridge, sites: dict[str, Site], doorbell: Doorbell, limits: Limits) -> None:
        self.bridge = bridge
        self.sites = sites
        self.doorbell = doorbell
        self.limits = limits
        self.conversations = Conversations(bridge.store)
        clock = bridge.clock
        self.connects = Buckets(clock, limits.connect_rate, limits.connect_burst)
        self.frames = Buckets(clock, limits.frame_rate, limits.frame_burst)
        self.typing = Buckets(clock, limits.typing_rate, limits.typing_burst)
        self._message_buckets = (
            Buckets(clock, limits.message_rate, limits.message_burst),
            Buckets(clock, limits.address_message_rate, limits.address_message_burst),
        )
        self._conversation_buckets = (
            Buckets(clock, limits.conversation_rate, limits.conversation_burst),
            Buckets(clock, limits.site_conversation_rate, limits.site_conversation_burst),
        )
        self._origins = {site.key: set(site.origins) for site in sites.values()}
        self._present: dict[str, int] = {}
        self._count = 0
        self._issued: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self.errands: set[asyncio.Task[None]] = set()

    # Who may come in.

    def allow_origin(self, site: str, origin: str) -> None:
        """Admit one more origin to a site (the demo page's own, known only once the port is)."""
        self._origins[site].add(origin)

    def knows_origin(self, origin: str | None) -> bool:
        """Whether some site lists this origin: the check at the handshake (W10). `null` and none are no origins."""
        return origin is not None and any(self._matches(origin, site) for site in self._origins)

    def find_site(self, key: str, origin: str | None) -> Site | None:
        """The site of that key, for a page of that origin only."""
        return self.sites.get(key) if origin is not None and self._matches(origin, key) else None

    def _matches(self, origin: str, site: str) -> bool:
        # Exact: neither the browser's spelling nor ours needs interpretation, so no sub- or superdomain slips through.
        return origin in self._origins.get(site, ()) and normal_origin(origin) == origin

    def enter(self, address: str) -> bool:
        """Count a connection in; False when there are too many. Balance with `leave` only when True."""
        key = address_key(address)
        if self._count >= self.limits.connections or self._present.get(key, 0) >= self.limits.connections_per_address:
            return False
        if not self.connects.take(key):
            return False
        self._present[key] = self._present.get(key, 0) + 1
        self._count += 1
        return True

    def leave(self, address: str) -> None:
        key = address_key(address)
        self._count -= 1
        self._present[key] -= 1
        if not self._present[key]:
            del self._present[key]

    # Tokens. A conversation is written down only with its first message (W13), so until then they live here.

    def issue(self, site: str) -> tuple[str, str]:
        """A new token and the id of the conversation it will open: 256 and 128 random bits."""
        token, conversation = secrets.token_urlsafe(32), secrets.token_hex(16)
        self._issued[token_hash(token)] = (site, conversation)
        if len(self._issued) > MOST_ISSUED:
            self._issued.popitem(last=False)
        return token, conversation

    def find_issued(self, token: str, site: str) -> str | None:
        """The id of the conversation that a token, given out by this run for this site, will open."""
        issued_for, conversation = self._issued.get(token_hash(token), ("", None))
        return conversation if issued_for == site else None

    # How much.

    def message_wait(self, conversation: str, address: str, site: str, *, new: bool) -> float:
        """0 when the message may come in (and is counted), else the seconds until it may be tried again."""
        keys = (conversation, address_key(address))
        wanted = list(zip(self._message_buckets, keys, strict=True))
        if new:
            wanted += zip(self._conversation_buckets, (address_key(address), site), strict=True)
        wait = max(bucket.wait_seconds(key) for bucket, key in wanted)
        if wait <= 0:
            for bucket, key in wanted:
                bucket.take(key)
        return wait

    def errand(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that the visitor need not wait for and that may be lost."""
        if len(self.errands) >= MOST_ERRANDS:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self.errands.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.errands.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("an errand failed: %r", task.exception())

    async def close(self) -> None:
        for task in tuple(self.errands):
            task.cancel()
        await asyncio.gather(*self.errands, return_exceptions=True)
