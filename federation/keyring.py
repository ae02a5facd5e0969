"""The signing keys of other servers: fetched from themselves or a notary, checked, kept, and handed out by time.

What a key is believed for (B06, B08): a key that its server signed itself, under the name that was asked for, until
`valid_until_ts` and never more than seven days ahead; an old key only for what was signed before it expired. A key that
is known under its id is never replaced by another. Fingerprints that the operator has blocked are nobody's key (B07).

Spec: Server-Server API, "Retrieving server keys".
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec
from signedjson.key import decode_verify_key_bytes
from signedjson.types import VerifyKey
from unpaddedbase64 import decode_base64, encode_base64

from homeserver.clock import Clock
from homeserver.protocol.errors import MatrixError, Unauthorized
from homeserver.protocol.events import Event
from homeserver.protocol.signatures import InvalidSignature, required_signers, verify, verify_event
from homeserver.storage.database import Database, Transaction
from homeserver.storage.server_keys import ServerKey, ServerKeyStore

VALID_MAX_MS: Final = 7 * 24 * 3600 * 1000
FETCH_AGAIN_SECONDS: Final = 60.0
MAXIMUM_KEYS: Final = 100
REMEMBERED_SERVERS: Final = 200
PUBLISHED_SERVERS: Final = 10_000
"""What so many servers have published is stored, for those who ask us as a notary."""
KEPT_SERVERS: Final = 10_000
"""Of so many servers the keys, and when they were asked, stay in memory: anybody may name any (B08)."""
PUBLISHED_LENGTH: Final = 64 * 1024
_KEY_ID: Final = re.compile(r"ed25519:[!-~]{1,128}")

_log = logging.getLogger("federation.keyring")


class KeyFetcher(Protocol):
    """Asks for keys. Raises MatrixError when there is no answer."""

    async def fetch_keys(self, server_name: str, *, patient: bool = False) -> Any:
        """`GET /_matrix/key/v2/server` of a server."""
        ...

    async def query_notary(self, notary: str, server_name: str, key_ids: Collection[str]) -> Any:
        """`POST /_matrix/key/v2/query` of a notary."""
        ...


@dataclass(frozen=True, slots=True)
class Notary:
    """A server that is asked for the keys of others, and its own key, by which it signs them."""

    server_name: str
    keys: Mapping[str, VerifyKey]


class NoKey(Unauthorized):
    """A signing key that is needed cannot be had, or is not valid."""


class Keyring:
    """Keys by server and id."""

    def __init__(
        self,
        *,
        db: Database,
        store: ServerKeyStore,
        fetcher: KeyFetcher,
        clock: Clock,
        own_name: str,
        own_keys: Mapping[str, VerifyKey],
        own_old_keys: Mapping[str, tuple[VerifyKey, int]] | None = None,
        notaries: Sequence[Notary] = (),
        blocked: Collection[str] = (),
    ) -> None:
        self._db = db
        self._store = store
        self._fetcher = fetcher
        self._clock = clock
        self._own_name = own_name
        self._own_keys = own_keys
        self._own_old_keys = own_old_keys or {}
        self._notaries = notaries
        self._blocked = frozenset(blocked)
        self._known: dict[str, dict[str, ServerKey]] = {}
        self._writes = 0
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._fetched: dict[str, float] = {}
        self._published: dict[str, dict[str, Any]] = {}

    async def key_for_request(self, server_name: str, key_id: str) -> VerifyKey:
        """A key that is valid now. Raises NoKey."""
        return await self._key(server_name, key_id, self._clock.now_ms(), strict=True)

    async def check_event(self, event: Event, reference: bytes | None = None) -> None:
        """Check the signatures of every server that must have signed an event. Raises InvalidSignature, NoKey.

        "The signing key used must be valid at the time the event was signed", since room version 5. `reference`: the
        event's `reference_bytes`, where they are at hand.
        """
        version = event.room_version
        for signer in required_signers(event):
            signatures = event.pdu.get("signatures", {}).get(signer)
            if not isinstance(signatures, dict) or not signatures:
                raise InvalidSignature(f"The event is not signed by {signer}")
            failure: MatrixError = InvalidSignature(f"No signature of {signer} is valid")
            for key_id in list(signatures)[:10]:
                try:
                    key = await self._key(signer, key_id, event.origin_server_ts, strict=version.enforces_key_validity)
                    verify_event(event.pdu, version, signer, key, reference)
                except MatrixError as error:
                    failure = error
                else:
                    break
            else:
                raise failure

    async def _key(self, server_name: str, key_id: str, at_ms: int, *, strict: bool) -> VerifyKey:
        if server_name == self._own_name:
            return self._own_key(key_id, at_ms, strict=strict)
        if not _KEY_ID.fullmatch(key_id):
            raise NoKey("Only ed25519 keys sign anything here")
        for attempt in range(2):
            known = await self._keys_of(server_name)
            key = known.get(key_id)
            if key is not None and (not strict or at_ms <= key.valid_until_ts):
                return _verify_key(key)
            if attempt == 0 and not await self._fetch(server_name, key_id):
                break
        if key is None:
            raise NoKey(f"The key {key_id} of {server_name} cannot be had")
        raise NoKey(f"The key {key_id} of {server_name} was not valid at that time")

    def _own_key(self, key_id: str, at_ms: int, *, strict: bool) -> VerifyKey:
        own = self._own_keys.get(key_id)
        if own is None:
            old, expired = self._own_old_keys.get(key_id, (None, 0))
            if old is None or (strict and at_ms > expired):
                raise NoKey(f"{key_id} is no key of this server")
            return old
        return own

    async def prepare(self, server_name: str, key_ids: Collection[str]) -> bool:
        """Have these keys at hand, if they can be had; whether there are any of this server."""
        if server_name == self._own_name:
            return True
        known = await self._keys_of(server_name)
        missing = next((key_id for key_id in key_ids if key_id not in known and _KEY_ID.fullmatch(key_id)), None)
        if missing is not None:
            await self._fetch(server_name, missing, patient=True)
        return bool(await self._keys_of(server_name))

    async def find_published(self, server_name: str, wanted: Mapping[str, int | None]) -> dict[str, Any] | None:
        """What another server itself has published and signed, for us as a notary; None when we do not have it.

        `wanted`: by key id, until when it should be valid at least (milliseconds; None: now). It is asked for again
        when what we have does not do, and what we have is told when there is nothing better.
        """
        now = self._clock.now_ms()
        until = max([now if one is None else one for one in wanted.values()], default=now)
        said = await self._said_by(server_name)
        if said is None or said["valid_until_ts"] < until or not (wanted.keys() - {""}) <= _key_ids(said):
            await self._fetch(server_name, next(iter(wanted), ""))
            said = await self._said_by(server_name)
        return said

    async def _said_by(self, server_name: str) -> dict[str, Any] | None:
        """What we were told last, perhaps by an earlier run."""
        if server_name not in self._published:
            text = await self._store.find_published(server_name)
            if text is None:
                return None
            body = msgspec.json.decode(text)
            if not self.read(server_name, body):
                return None  # its keys have been blocked since
            _remember(self._published, server_name, body)
        found: dict[str, Any] = self._published[server_name]
        return found

    async def _keys_of(self, server_name: str) -> dict[str, ServerKey]:
        while (known := self._known.get(server_name)) is None:
            writes = self._writes
            known = {key.key_id: key for key in await self._store.list_keys(server_name)}
            if writes != self._writes:
                continue  # keys came meanwhile, and what was read may be older
            known = {key_id: key for key_id, key in known.items() if key.verify_key not in self._blocked}
            if len(self._known) >= KEPT_SERVERS:
                self._known.pop(next(iter(self._known)))
            self._known[server_name] = known
            break
        return known

    async def _fetch(self, server_name: str, key_id: str, *, patient: bool = False) -> bool:
        """Ask for a server's keys, once at a time and not again at once; whether anybody was asked. `patient`: ask
        again, and also who has not answered for a while."""
        task = self._fetching.get(server_name)
        if task is None:
            last = self._fetched.get(server_name)
            if not patient and last is not None and last + FETCH_AGAIN_SECONDS > self._clock.monotonic():
                return False
            task = self._fetching[server_name] = asyncio.ensure_future(self._ask(server_name, key_id, patient=patient))
            task.add_done_callback(lambda _: self._fetching.pop(server_name, None))
        await asyncio.shield(task)
        return True

    async def _ask(self, server_name: str, key_id: str, *, patient: bool) -> None:
        self._fetched.pop(server_name, None)
        if len(self._fetched) >= KEPT_SERVERS:
            self._fetched.pop(next(iter(self._fetched)))
        self._fetched[server_name] = self._clock.monotonic()
        keys: list[ServerKey] = []
        said: dict[str, Any] | None = None
        try:
            body = await self._fetcher.fetch_keys(server_name, patient=patient)
            keys = self.read(server_name, body)
            said = body if keys else None
        except MatrixError as error:
            _log.info("The keys of %s cannot be had from itself: %s", server_name, error)
        if key_id and key_id not in {key.key_id for key in keys}:
            told = await self._ask_notaries(server_name, key_id)
            keys += [key for key, _ in told]
            if said is None and told:
                said = max((body for _, body in told), key=lambda body: int(body["valid_until_ts"]))
        if not keys:
            return
        text = None if said is None else msgspec.json.encode(said).decode()
        if text is not None and len(text) > PUBLISHED_LENGTH:
            text = None

        async def keep(txn: Transaction) -> None:
            await self._store.set_keys(txn, keys)
            if text is not None:
                now = self._clock.now_ms()
                await self._store.set_published(txn, server_name, text, now, keep=PUBLISHED_SERVERS)

        await self._db.write(keep)
        self._writes += 1
        self._known.pop(server_name, None)
        if said is not None:
            _remember(self._published, server_name, said)

    async def _ask_notaries(self, server_name: str, key_id: str) -> list[tuple[ServerKey, dict[str, Any]]]:
        """The keys that a notary knows, each with what the server itself has published and signed."""
        for notary in self._notaries:
            try:
                body = await self._fetcher.query_notary(notary.server_name, server_name, [key_id])
                told = body.get("server_keys") if isinstance(body, dict) else None
                found: list[tuple[ServerKey, dict[str, Any]]] = []
                for one in told[:MAXIMUM_KEYS] if isinstance(told, list) else ():
                    if isinstance(one, dict) and _is_signed_by(one, notary):
                        found += [(key, one) for key in self.read(server_name, one)]
            except MatrixError as error:
                _log.info("The notary %s does not tell of %s: %s", notary.server_name, server_name, error)
                continue
            if found:
                return found
        return []

    def read(self, server_name: str, body: Any) -> list[ServerKey]:
        """The keys that a server publishes, checked. Raises InvalidSignature."""
        if not isinstance(body, dict) or body.get("server_name") != server_name:
            raise InvalidSignature(f"These are not the keys of {server_name}")
        valid_until = body.get("valid_until_ts")
        published = body.get("verify_keys")
        if not isinstance(valid_until, int) or not isinstance(published, dict) or len(published) > MAXIMUM_KEYS:
            raise InvalidSignature(f"The keys of {server_name} cannot be read")
        valid_until = min(valid_until, self._clock.now_ms() + VALID_MAX_MS)
        keys = [key for key_id, said in published.items() if (key := _read_key(server_name, key_id, said, valid_until))]
        for key in keys:  # "signed by" each of them, so that nobody publishes keys that they do not have
            verify(body, server_name, _verify_key(key))
        if not keys:
            raise InvalidSignature(f"{server_name} publishes no key that can be used")
        old = body.get("old_verify_keys")
        current = {key.key_id for key in keys}
        for key_id, said in list(old.items())[:MAXIMUM_KEYS] if isinstance(old, dict) else ():
            expired = said.get("expired_ts") if isinstance(said, dict) else None
            if not isinstance(expired, int) or key_id in current or expired > self._clock.now_ms():
                continue
            key_then = _read_key(server_name, key_id, said, expired, is_old=True)
            if key_then is not None:
                keys.append(key_then)
        return [key for key in keys if key.verify_key not in self._blocked]


def _remember(memory: dict[str, Any], server_name: str, value: Any) -> None:
    """Keep what is newest of `REMEMBERED_SERVERS`: anybody may name servers."""
    memory.pop(server_name, None)
    if len(memory) >= REMEMBERED_SERVERS:
        memory.pop(next(iter(memory)))
    memory[server_name] = value


def _key_ids(body: Mapping[str, Any]) -> set[str]:
    old = body.get("old_verify_keys")
    return set(body["verify_keys"]) | set(old if isinstance(old, dict) else ())


def _read_key(server_name: str, key_id: Any, said: Any, valid_until: int, *, is_old: bool = False) -> ServerKey | None:
    text = said.get("key") if isinstance(said, dict) else None
    if not isinstance(text, str) or not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        return None
    if not 0 <= valid_until < 2**53:
        return None
    try:
        raw = decode_base64(text)
    except ValueError:
        return None
    if len(raw) != 32:
        return None
    # One spelling for each key: Base64 has several, and a blocked key must not come back under another (B07).
    return ServerKey(server_name, key_id, encode_base64(raw), valid_until, is_old)


@lru_cache(KEPT_SERVERS)
def _verify_key(key: ServerKey) -> VerifyKey:
    return decode_verify_key_bytes(key.key_id, decode_base64(key.verify_key))


def _is_signed_by(body: dict[str, Any], notary: Notary) -> bool:
    for key in notary.keys.values():
        try:
            verify(body, notary.server_name, key)
        except InvalidSignature:
            continue
        return True
    return False
