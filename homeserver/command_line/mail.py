"""`halfdoor mail test`: whether e-mails can be sent, before people wait for one."""

from __future__ import annotations

import argparse
import asyncio

import config
from homeserver.clock import SystemClock
from homeserver.command_line.command import Commands, add_command, add_config_option, add_group
from homeserver.command_line.failure import CommandFailed
from homeserver.mail import messages
from homeserver.mail.mailer import MailFailed

TEST = """
Sends an e-mail through the mail server of the configuration (mail.smtp_host), and says why when it is not taken. The
server need not run.

    halfdoor mail test you@example.org
"""


def add_to(commands: Commands) -> None:
    group = add_group(commands, "mail", "See whether e-mails can be sent.")
    parser = add_command(group, "test", "Send an e-mail.", test, TEST)
    parser.add_argument("address", help="where to")
    add_config_option(parser)


def test(arguments: argparse.Namespace) -> int:
    settings = config.load(arguments.config)
    from homeserver.configured import mailer_of  # loads the whole server

    mailer = mailer_of(settings, SystemClock())
    message = messages.TEST.write(settings.mail.language, settings.server_name)
    try:
        asyncio.run(mailer.send(arguments.address, message.subject, message.text, message.html))
    except MailFailed as error:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise CommandFailed(f"{error}{cause}") from None
    print(f"{settings.mail.smtp_host} has taken an e-mail to {arguments.address}.")
    return 0
