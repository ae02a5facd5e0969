"""`halfdoor config check` and `halfdoor config sample`."""

from __future__ import annotations

import argparse
import stat
from pathlib import Path

import config
from config import sample
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group

CHECK = """
Lists everything that is wrong with the configuration, each problem with its path, and ends with status 2; or says
that it is good. Nothing is started or changed.

    halfdoor config check --config /var/lib/halfdoor/halfdoor.yaml
"""

SAMPLE = """
Prints a configuration with every setting, its default and its meaning.

    halfdoor config sample | less
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "config", "Look at the configuration.")
    add_config_option(add_command(group, "check", "Check the configuration.", check, CHECK))
    add_command(group, "sample", "Print every setting.", show_sample, SAMPLE)


def check(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    problems = list(file_problems(settings))
    if problems:
        raise config.ConfigurationError(arguments.config, problems)
    print(f"{arguments.config} is good: {settings.server_name} at {settings.public_base_url}")
    return 0


def file_problems(settings: config.Settings) -> list[config.Problem]:
    """Files that the server would miss when it starts, and a signing key that others can read."""
    wanted = {"signing_key_file": settings.signing_key_file}
    for index, listener in enumerate(settings.listeners):
        for name in ("tls_certificate_file", "tls_key_file"):
            file = getattr(listener, name)
            if file is not None:
                wanted[f"listeners[{index}].{name}"] = file
    authorities = {"mail.ca_file": settings.mail.ca_file, "ldap.ca_file": settings.ldap.ca_file}
    wanted |= {path: file for path, file in authorities.items() if file is not None}
    for index, file in enumerate(settings.appservices.registration_files):
        wanted[f"appservices.registration_files[{index}]"] = file
    found = [config.Problem(path, f"{file} is no file") for path, file in wanted.items() if not file.is_file()]
    if is_readable_by_all(settings.signing_key_file):
        found.append(
            config.Problem("signing_key_file", f"everybody can read it: chmod 600 {settings.signing_key_file}")
        )
    return found


def is_readable_by_all(file: Path) -> bool:
    return file.is_file() and bool(file.stat().st_mode & stat.S_IROTH)


def show_sample(_: argparse.Namespace) -> int:
    print(sample.render(), end="")
    return 0
