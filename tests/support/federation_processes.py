"""A Halfdoor and a Synapse as processes that federate over TLS on this machine's own addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.certificates import self_signed
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProcess, free_port
from tests.support.synapse import synapse


@contextmanager
def federated_pair(directory: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """(Halfdoor, Synapse), both started; each trusts the other's certificate."""
    certificate, key = self_signed(directory, "localhost")
    ours, theirs = directory / "halfdoor", directory / "synapse"
    ours.mkdir()
    theirs.mkdir()
    client_port, federation_port, synapse_port, synapse_client_port = (free_port() for _ in range(4))
    one = halfdoor(
        ours,
        server_name=f"localhost:{federation_port}",
        port=client_port,
        settings={
            "listeners": [
                {"host": "127.0.0.1", "port": client_port, "apis": ["client", "admin"]},
                {
                    "host": "127.0.0.1",
                    "port": federation_port,
                    "apis": ["federation"],
                    "tls_certificate_file": str(certificate),
                    "tls_key_file": str(key),
                },
            ],
            "federation": {"enabled": True},
            "outbound": {"allowed_networks": ["127.0.0.0/8", "::1/128"]},
        },
    )
    one.environment = {**one.environment, "SSL_CERT_FILE": str(certificate)}
    two = synapse(
        theirs,
        server_name=f"localhost:{synapse_port}",
        port=synapse_client_port,
        settings={
            "listeners": [
                {
                    "port": synapse_client_port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "resources": [{"names": ["client"], "compress": False}],
                },
                {
                    "port": synapse_port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": True,
                    "resources": [{"names": ["federation"], "compress": False}],
                },
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(certificate)],
            "federation_domain_whitelist": None,
            "ip_range_blacklist": [],
            "ip_range_whitelist": ["127.0.0.0/8", "::1/128"],
        },
    )
    with one, two:
        yield one, two
