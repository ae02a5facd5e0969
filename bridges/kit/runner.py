"""Run a bridge as a process of its own: `python -m bridges.<name> --config FILE`, or `… --registration` for the file
that the homeserver's operator installs. Twisted's reactor runs on asyncio over uvloop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import uvloop

from bridges.kit.reactor import install_reactor
from bridges.kit.registration import registration_file
from bridges.kit.settings import BadSettings, BridgeSettings, load_settings

Settings = TypeVar("Settings")


class Runnable(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def main(
    kind: type[Settings],
    build: Callable[[Settings], Runnable],
    bridge_of: Callable[[Settings], BridgeSettings],
    arguments: list[str] | None = None,
) -> int:
    """The command line of a bridge; the exit code. `kind` is the type of its settings file."""
    parser = argparse.ArgumentParser(description="Run a bridge beside a Matrix homeserver.")
    parser.add_argument("--config", type=Path, required=True, help="the bridge's settings, a YAML file")
    parser.add_argument("--registration", action="store_true", help="print the registration file and end")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.config, kind)
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.registration:
        sys.stdout.write(registration_file(bridge_of(settings)))
        return 0
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(lambda: build(settings))
    return 0


def run(build: Callable[[], Runnable]) -> None:
    """Start what `build` makes (inside the loop), serve until SIGINT or SIGTERM, stop in good order."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    reactor = install_reactor(loop)
    loop.run_until_complete(_serve(build))
    reactor.fireSystemEvent("shutdown")
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def _serve(build: Callable[[], Runnable]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    bridge = build()
    await bridge.start()
    try:
        await ended.wait()
    finally:
        await bridge.stop()
