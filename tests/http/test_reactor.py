"""A server without certificates does without OpenSSL until it asks somebody."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from homeserver.http.reactor import load_twisted
load_twisted(with_tls={with_tls})
import homeserver.app
print("OpenSSL" in sys.modules)
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS
wrapClientTLS(optionsForClientTLS("halfdoor.test"), object())
print("OpenSSL" in sys.modules)
"""


def loaded(*, with_tls: bool) -> list[str]:
    """Whether OpenSSL is loaded after the start, and after a connection to somebody else."""
    script = SCRIPT.format(with_tls=with_tls)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_openssl_is_loaded_by_the_first_connection_that_needs_it() -> None:
    assert loaded(with_tls=False) == ["False", "True"]


def test_openssl_is_there_from_the_start_where_a_listener_has_a_certificate() -> None:
    assert loaded(with_tls=True) == ["True", "True"]
