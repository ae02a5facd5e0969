"""The query parameters that operators' tools page and sort with: from, limit, dir, order_by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from homeserver.http.parsing import query_bool, query_int, query_string
from homeserver.http.request import Request
from homeserver.protocol.errors import InvalidParam

MAX_LIMIT = 10_000
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`start` is how many entries lie before the page."""

    start: int
    limit: int

    def next_token(self, given: int, total: int) -> dict[str, str]:
        """The member that says where the next page begins, if there is one."""
        end = self.start + given
        return {"next_token": str(end)} if given and end < total else {}

    def next_number(self, given: int, total: int) -> dict[str, int]:
        """The same as a number, where tools expect one."""
        end = self.start + given
        return {"next_token": end} if given and end < total else {}


def page_of(request: Request) -> PageRequest:
    """Raises InvalidParam. An empty text means nothing, as some tools send it."""
    start = 0 if request.query.get("from") == [""] else query_int(request, "from", 0)
    limit = (
        100 if request.query.get("limit") == [""] else query_int(request, "limit", 100, maximum=MAX_LIMIT, clamp=True)
    )
    return PageRequest(start, limit)


def is_backwards(request: Request, default: str = "f") -> bool:
    """`dir`: b or f. Raises InvalidParam."""
    direction = query_string(request, "dir", default)
    if direction not in ("f", "b"):
        raise InvalidParam("The query parameter 'dir' must be f or b.")
    return direction == "b"


def order_of(request: Request, orders: Collection[str], default: str) -> str:
    """`order_by`. Raises InvalidParam."""
    order = query_string(request, "order_by", default)
    if order not in orders:
        raise InvalidParam(f"The query parameter 'order_by' must be one of: {', '.join(orders)}.")
    return order


def text_of(request: Request, name: str) -> str | None:
    """A text to search for; an empty one is none."""
    return query_string(request, name, None) or None


def flag_of(request: Request, name: str, default: D) -> bool | D:
    """true or false; some tools send an empty text where they mean nothing. Raises InvalidParam."""
    if request.query.get(name) == [""]:
        return default
    return query_bool(request, name, default)
