"""SRV records, asked of the machine's resolvers by Twisted; a Deferred is turned into a coroutine here."""

from __future__ import annotations

import asyncio
from typing import Any

from federation.server_discovery import ServiceRecord


async def look_up_services(name: str) -> list[ServiceRecord]:
    """The SRV records of a name; empty when there are none, or nobody can say."""
    from twisted.internet.error import DNSLookupError
    from twisted.names import client, dns
    from twisted.names.error import DNSQueryTimeoutError, DomainError, ResolverError

    try:
        looking: Any = client.lookupService(name, timeout=(2, 4))  # type: ignore[no-untyped-call]
        answers, _, _ = await looking.asFuture(asyncio.get_running_loop())
    except (DNSLookupError, DNSQueryTimeoutError, DomainError, ResolverError, OSError, UnicodeError):
        return []  # a part of a name may also be too long for DNS, or empty
    return [
        ServiceRecord(str(answer.payload.target), answer.payload.port, answer.payload.priority, answer.payload.weight)
        for answer in answers
        if answer.type == dns.SRV and str(answer.payload.target) not in ("", ".")
    ]
