"""`halfdoor federation check`: whether other servers can find, reach and trust this one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING

import config
from homeserver.command_line import destinations, new_key
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group
from homeserver.command_line.failure import CommandFailed

if TYPE_CHECKING:
    from signedjson.types import VerifyKey

    from federation.own_set_up import Finding

CHECK = """
Goes the way that other servers go, from the server name of the configuration to this server's keys: the name itself,
/.well-known/matrix/server, SRV records, addresses, the port, the certificate, the keys, the version, and whether a
proxy changes paths or refuses large transactions. Each step is a line, OK or WRONG; below what is wrong stands what to
do. Exit status 1 when anything is wrong. Addresses in outbound.allowed_networks count as reached.

The server must run. From inside a network it may look reachable although it is not from outside: to be sure, run the
command on a machine elsewhere with a copy of the configuration and of the key, and delete both afterwards.

    halfdoor federation check --config /var/lib/halfdoor/halfdoor.yaml

docs/federation.md explains names, delegation, certificates and proxies.
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "federation", "See whether other servers reach this one, and it them; replace its key.")
    add_config_option(add_command(group, "check", "Check the set-up as other servers see it.", check, CHECK))
    new_key.add_to(group)
    destinations.add_to(group)


def check(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    from signedjson.key import get_verify_key, read_signing_keys

    try:
        with settings.signing_key_file.open(encoding="ascii") as file:
            key = get_verify_key(read_signing_keys(file)[0])
    except (OSError, ValueError, IndexError) as error:
        raise CommandFailed(f"the signing key cannot be read: {error}") from None
    with contextlib.closing(_event_loop()) as loop:
        return loop.run_until_complete(_report(settings, key))


async def _report(settings: config.Settings, key: VerifyKey) -> int:
    from federation import own_set_up

    wrong = 0
    if not settings.federation.enabled:
        wrong += 1
        _say(own_set_up.Finding(False, "federation is switched off", "Set federation.enabled: true, and restart."))
    advertised = settings.federation.advertised_address
    private = settings.outbound.allowed_networks
    async for finding in own_set_up.check_set_up(settings.server_name, key, advertised, private=private):
        wrong += not finding.is_good
        _say(finding)
    return 1 if wrong else 0


def _say(finding: Finding) -> None:
    print(f"{'OK   ' if finding.is_good else 'WRONG'}  {finding.text}", flush=True)
    if finding.advice:
        print(f"       {finding.advice}", flush=True)


def _event_loop() -> asyncio.AbstractEventLoop:
    """A loop that Twisted, which looks up SRV records, runs on too."""
    from twisted.internet import asyncioreactor
    from twisted.internet.error import ReactorAlreadyInstalledError

    loop = asyncio.new_event_loop()
    with contextlib.suppress(ReactorAlreadyInstalledError):
        asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    return loop
