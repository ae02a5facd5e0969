"""Settings: one typed description (`settings.py`), one loader, one documented sample, deployment files in `deploy/`.

Only `homeserver.app`, the command line and `bridges.kit.runner` import this package; every other part receives the few
plain values it needs as constructor arguments.
"""

from __future__ import annotations

from config.loading import load, parse
from config.problems import ConfigurationError, Problem
from config.secret import Secret
from config.settings import Settings

__all__ = ["ConfigurationError", "Problem", "Secret", "Settings", "load", "parse"]
