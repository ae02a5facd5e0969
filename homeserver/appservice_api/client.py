"""Calls to application services, over treq; a Deferred is turned into a coroutine here and nowhere else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from homeserver.appservice_api.registration import Appservice

TIMEOUT_SECONDS: Final = 60.0
MAX_ANSWER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AppserviceAnswer:
    """What a service answered; `status` 0: it could not be reached, and `error` says why."""

    status: int
    body: bytes = b""
    error: str = ""
    timed_out: bool = False


class AppserviceCalls(Protocol):
    """The requests that this server makes."""

    async def send(self, appservice: Appservice, txn_id: int, content: dict[str, Any]) -> AppserviceAnswer: ...

    async def ask_user(self, appservice: Appservice, user_id: str) -> AppserviceAnswer: ...

    async def ask_alias(self, appservice: Appservice, alias: str) -> AppserviceAnswer: ...

    async def ping(self, appservice: Appservice, transaction_id: str | None) -> AppserviceAnswer: ...

    async def ask_network(self, appservice: Appservice, path: str) -> AppserviceAnswer:
        """`path` is below /_matrix/app/v1/thirdparty, encoded."""
        ...


class AppserviceClient:
    """The calls over HTTP. The reactor must be installed before the first of them."""

    async def send(self, appservice: Appservice, txn_id: int, content: dict[str, Any]) -> AppserviceAnswer:
        return await self._call(appservice, "PUT", f"/_matrix/app/v1/transactions/{txn_id}", content)

    async def ask_user(self, appservice: Appservice, user_id: str) -> AppserviceAnswer:
        return await self._call(appservice, "GET", f"/_matrix/app/v1/users/{quote(user_id, safe='')}", None)

    async def ask_alias(self, appservice: Appservice, alias: str) -> AppserviceAnswer:
        return await self._call(appservice, "GET", f"/_matrix/app/v1/rooms/{quote(alias, safe='')}", None)

    async def ping(self, appservice: Appservice, transaction_id: str | None) -> AppserviceAnswer:
        body = {} if transaction_id is None else {"transaction_id": transaction_id}
        return await self._call(appservice, "POST", "/_matrix/app/v1/ping", body)

    async def ask_network(self, appservice: Appservice, path: str) -> AppserviceAnswer:
        return await self._call(appservice, "GET", f"/_matrix/app/v1/thirdparty/{path}", None)

    async def _call(
        self, appservice: Appservice, method: str, path: str, body: dict[str, Any] | None
    ) -> AppserviceAnswer:
        import treq  # costs memory that servers without application services keep

        if appservice.url is None:
            return AppserviceAnswer(0, error="the application service has no url")
        headers: dict[bytes | str, bytes | str] = {"Authorization": f"Bearer {appservice.hs_token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = msgspec.json.encode(body)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await treq.request(
                    method, appservice.url + path, headers=headers, data=data, allow_redirects=False
                ).asFuture(loop)
                content = bytearray()

                def collect(part: bytes) -> None:
                    if len(content) < MAX_ANSWER_BYTES:
                        content.extend(part)

                await treq.collect(response, collect).asFuture(loop)
        except TimeoutError:
            return AppserviceAnswer(0, error=f"no answer within {TIMEOUT_SECONDS:.0f} s", timed_out=True)
        except Exception as error:  # Twisted has no common class for what can go wrong on the way
            return AppserviceAnswer(0, error=type(error).__name__)
        return AppserviceAnswer(response.code, bytes(content))
