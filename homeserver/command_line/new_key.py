"""`halfdoor federation new-key`: another key signs from now on, and what the old one signed stays valid."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import config
from homeserver.command_line.command import Commands, add_command, add_config_option
from homeserver.command_line.failure import CommandFailed
from homeserver.command_line.init import signing_key, write_private

NEW_KEY = """
Stop the server first: what it signs with the old key after this moment is not believed by others.

Keeps the old key beside the new one (signing.key.a_abcd), writes a new one under another name into signing_key_file,
and prints what to add to the configuration, so that others still believe what the old key signed. Then start it again.

    halfdoor federation new-key --config /var/lib/halfdoor/halfdoor.yaml

If the old key has leaked, set expired_ts to a time before the leak, and delete the file of the old key.
"""


def add_to(commands: Commands) -> None:
    add_config_option(add_command(commands, "new-key", "Replace the key that signs.", new_key, NEW_KEY))


def new_key(arguments: argparse.Namespace) -> int:
    from signedjson.key import get_verify_key, read_signing_keys
    from unpaddedbase64 import encode_base64

    file = config.load(arguments.config).signing_key_file
    try:
        with file.open(encoding="ascii") as stream:
            old = read_signing_keys(stream)[0]
    except (OSError, ValueError, IndexError) as error:
        raise CommandFailed(f"the signing key cannot be read: {error}") from None
    kept = file.with_name(f"{file.name}.{old.version}")
    try:
        _replace(file, kept)
    except FileExistsError as error:
        raise CommandFailed(f"{error.filename} exists already") from None
    except OSError as error:
        raise CommandFailed(f"cannot write {error.filename}: {error.strerror}") from None
    print(f"{file} is a new key; the old one is {kept}. Add this to {arguments.config}, then start the server:\n")
    print("federation:")
    print("  old_signing_keys:")
    print(f"    - key_id: {old.alg}:{old.version}")
    print(f"      public_key: {encode_base64(get_verify_key(old).encode())}")
    print(f"      expired_ts: {int(time.time() * 1000)}")
    return 0


def _replace(file: Path, kept: Path) -> None:
    """Whatever falls in between, there is a key in `file`, and the old one is not lost."""
    write_private(kept, file.read_text(encoding="ascii"))
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, signing_key())
    fresh.replace(file)
