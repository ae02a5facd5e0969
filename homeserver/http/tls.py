"""TLS by files, which can be read again while the server runs (a renewed certificate).

OpenSSL is loaded with the first certificate: it costs 5 MiB, which a server behind a proxy does without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from OpenSSL import SSL


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate followed by its chain, and the private key."""

    certificate_chain: str
    private_key: str


@implementer(IOpenSSLServerConnectionCreator)
class TlsContext:
    """What Twisted asks for every new connection; `reload` changes what later ones get."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises ValueError with a sentence when a file cannot be used."""
        self._files = files
        self._context = _context(files)

    def reload(self) -> None:
        """Read the files again. Raises ValueError, and keeps what it had, when they cannot be used."""
        self._context = _context(self._files)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Called by Twisted for each new connection."""
        from OpenSSL import SSL

        return SSL.Connection(self._context, None)


def _context(files: TlsFiles) -> SSL.Context:
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(
        lambda _, offered: b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    try:
        context.use_certificate_chain_file(files.certificate_chain)
        context.use_privatekey_file(files.private_key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ValueError(
            f"TLS cannot use {files.certificate_chain} with {files.private_key}: are both PEM files that are readable,"
            f" and do they belong together? ({error})"
        ) from error
    return context
