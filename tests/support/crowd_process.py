"""Very many homeservers in one process, for tests: `python -m tests.support.crowd_process CERTIFICATE KEY`.

Prints the port that it listens on, of every address of this machine's own network (127.0.0.0/8), so that each address
is a server with a name of its own. An address that ends in an even number answers at once; of the others a third never
speaks, a third speaks TLS and then one byte a second for ever, and a third ends each connection as soon as it begins.
Each transaction is a line of JSON: [address, the bodies of its events, when it came].
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
from typing import Any


def say(line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address = writer.get_extra_info("sockname")[0]
    last = int(address.rpartition(".")[2])
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().split("\r\n")
            lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length")]
            body = json.loads(await reader.readexactly(int(lengths[0]))) if lengths else {}
            if last % 2:
                while True:
                    writer.write(b"H")
                    await writer.drain()
                    await asyncio.sleep(1)
            bodies = [pdu["content"].get("body") for pdu in body.get("pdus", [])]
            say([address, bodies, time.time()])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")
            writer.write(b'{"pdus": {}}')
    writer.close()


async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """What happens before TLS."""
    last = int(writer.get_extra_info("sockname")[0].rpartition(".")[2])
    if last % 2 and last // 2 % 3 == 0:
        await asyncio.sleep(3600)
    if last % 2 and last // 2 % 3 == 1:
        writer.close()
        return
    try:
        await writer.start_tls(context)
    except OSError:
        return
    await answer(reader, writer)


async def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda r, w: front(r, w, context), "0.0.0.0", 0, backlog=4096)
    say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
