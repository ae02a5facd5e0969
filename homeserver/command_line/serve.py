"""`halfdoor serve`: run the server until it is told to stop."""

from __future__ import annotations

import argparse

import config
from homeserver.command_line.command import Commands, add_command, add_config_option
from homeserver.http.reactor import load_twisted

EXPLANATION = """
Runs in the foreground and logs to standard error. SIGTERM or Ctrl-C stops it: it takes no further requests, ends the
running ones and closes the database.

    halfdoor serve --config /var/lib/halfdoor/halfdoor.yaml
"""


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "serve", "Run the server.", run, EXPLANATION)
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    load_twisted(with_tls=any(listener.tls_certificate_file for listener in settings.listeners))
    from homeserver.app import run as run_server  # here: the other commands need neither the server nor its memory

    return run_server(settings)
