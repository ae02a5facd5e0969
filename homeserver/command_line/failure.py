"""How a command says that it cannot do what was asked."""

from __future__ import annotations


class CommandFailed(Exception):
    """The message is a sentence for the person at the terminal: what went wrong and what to do."""
