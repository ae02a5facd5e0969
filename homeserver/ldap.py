"""Passwords that an LDAP directory keeps: a plugin for `Hooks.check_password`, and nobody's dependency.

Somebody whose name is in the directory logs in with the directory's password alone, and gets an account with the first
login; whoever is not in it logs in as ever. What people type reaches the directory only as an escaped value of a filter
and as the password of a bind (LDAP injection); an empty password is never tried, since a bind without one succeeds.

ldap3 talks in worker threads and is loaded with the first login.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from homeserver.protocol.errors import Forbidden, Unavailable
from homeserver.protocol.identifiers import domain_of, localpart_of

T = TypeVar("T")
RunInThread = Callable[[Callable[[], T]], Awaitable[T]]

MAX_AT_ONCE: Final = 3
"""Conversations with the directory at the same time: one that hangs leaves worker threads to others."""
_SUCCESS: Final = 0
_INVALID_CREDENTIALS: Final = 49

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """`uri`: ldap://host or ldaps://host, with a port if need be. `base`: below which people are searched by
    `name_attribute`, among the entries that `filter` leaves. `bind_dn` and `bind_password`: who searches; None: anybody
    may. `mail_attribute` and `display_name_attribute`: what a new account takes from the entry; "": nothing.
    `ca_file`: who vouches for the server; None: whom the machine trusts. `timeout` in seconds, for each step."""

    uri: str
    base: str
    name_attribute: str = "uid"
    mail_attribute: str = "mail"
    display_name_attribute: str = "cn"
    filter: str = ""
    bind_dn: str | None = None
    bind_password: str | None = None
    start_tls: bool = True
    ca_file: Path | None = None
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody in the directory."""

    dn: str
    display_name: str | None
    emails: tuple[str, ...]


class Accounts(Protocol):
    """What the plugin needs of the homeserver's accounts."""

    async def is_local(self, user_id: str) -> bool:
        """Whether there is an account with a password of its own, or one of a bridge."""
        ...

    async def make(self, user_id: str, display_name: str | None, emails: tuple[str, ...]) -> None:
        """See that there is an account. Raises what a registration raises."""
        ...


class DirectoryFailed(Exception):
    """The directory cannot be asked, or answers nonsense. The text is for the log."""


class LdapPasswords:
    """`check_password` and `check_new_password` are hooks."""

    def __init__(
        self, settings: LdapSettings, server_name: str, accounts: Accounts, run_in_thread: RunInThread[Any]
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._accounts = accounts
        self._run_in_thread = run_in_thread
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)

    async def check_password(self, user_id: str, password: str) -> bool | None:
        """The directory's word; None for those whom it does not know. When it cannot be asked, accounts with a password
        of their own are not its business; for all others raises Unavailable."""
        localpart = self._name_of(user_id)
        if localpart is None:
            return None
        try:
            async with self._turn:
                entry: Entry | bool | None = await self._run_in_thread(lambda: self._authenticate(localpart, password))
        except DirectoryFailed as error:
            _log.warning("The directory cannot be asked: %s", error)
            if await self._accounts.is_local(user_id):
                return None
            raise Unavailable("Passwords cannot be checked at the moment; please try again later.") from None
        if isinstance(entry, Entry):
            await self._accounts.make(user_id, entry.display_name, entry.emails)
            return True
        return entry

    async def check_new_password(self, user_id: str) -> None:
        """Raises Forbidden for those whose password the directory keeps: one kept here, too, would still open the
        account when the directory does not know them any more."""
        localpart = self._name_of(user_id)
        if localpart is None:
            return
        try:
            async with self._turn:
                found = await self._run_in_thread(lambda: self._look_up(localpart))
        except DirectoryFailed as error:
            _log.warning("The directory cannot be asked: %s", error)
            raise Unavailable("Passwords cannot be changed at the moment; please try again later.") from None
        if found is not None:
            raise Forbidden("Your password is kept by your organisation's directory; change it there.")

    def _name_of(self, user_id: str) -> str | None:
        """What to search for. The directory does not tell capitals apart, user ids do: only one spelling is asked."""
        localpart = localpart_of(user_id)
        is_ours = domain_of(user_id) == self._server_name and localpart == localpart.lower()
        return localpart if is_ours and localpart else None

    # ---- on a worker thread

    def _authenticate(self, localpart: str, password: str) -> Entry | bool | None:
        """The entry when the password is right, False when it is not, None when there is no entry."""
        entry = self._look_up(localpart)
        if entry is None:
            return None
        if not password or "\0" in password:
            return False
        with self._connected(entry.dn, password) as connection:
            is_right: bool = connection.bind()
            if not is_right and connection.result["result"] != _INVALID_CREDENTIALS:
                _log.info("The directory refuses %s: %s", entry.dn, connection.result["description"])
        return entry if is_right else False

    def _look_up(self, localpart: str) -> Entry | None:
        with self._connected(self._settings.bind_dn, self._settings.bind_password) as connection:
            if not connection.bind():
                raise DirectoryFailed(f"{self._settings.bind_dn or 'Anonymous'} cannot bind.")
            return self._search(connection, localpart)

    @contextlib.contextmanager
    def _connected(self, user: str | None, password: str | None) -> Iterator[Any]:
        """A connection that is encrypted as the settings say, yet to be bound as `user`, and closed in every case
        (ldap3 leaves sockets open when something fails). What ldap3 raises inside becomes DirectoryFailed."""
        import ldap3
        from ldap3.core.exceptions import LDAPException

        settings = self._settings
        parts = urlsplit(settings.uri)
        is_tls = parts.scheme == "ldaps"
        tls = _tls_of(settings.ca_file) if is_tls or settings.start_tls else None
        sockets: list[Any] = []
        connection: Any = None
        try:
            server = ldap3.Server(
                parts.hostname or "",
                port=parts.port or (636 if is_tls else 389),
                use_ssl=is_tls,
                tls=tls,
                get_info=ldap3.NONE,
                connect_timeout=settings.timeout,
            )
            connection = ldap3.Connection(
                server,
                user=user,
                password=password,
                authentication=ldap3.ANONYMOUS if user is None else ldap3.SIMPLE,
                receive_timeout=math.ceil(settings.timeout),  # ldap3 packs it as a whole number
                auto_referrals=False,
                read_only=True,
            )
            connection.open()
            sockets.append(connection.socket)
            if settings.start_tls and not is_tls and not connection.start_tls():
                raise DirectoryFailed("StartTLS was refused.")
            sockets.append(connection.socket)
            yield connection
            connection.unbind()
        except (LDAPException, OSError) as error:
            raise DirectoryFailed(type(error).__name__) from error
        finally:
            for each in (*sockets, None if connection is None else connection.socket):
                if each is not None:
                    each.close()

    def _search(self, connection: Any, localpart: str) -> Entry | None:
        """The one entry of that very name. The directory takes more for equal than we do (spaces, accents, …), so its
        answer is compared with what was asked."""
        from ldap3.core.exceptions import LDAPException
        from ldap3.utils.conv import escape_filter_chars

        settings = self._settings
        name, mail, title = settings.name_attribute, settings.mail_attribute, settings.display_name_attribute
        wanted = f"(&{settings.filter}({name}={escape_filter_chars(localpart)}))"
        attributes = [each for each in (name, mail, title) if each]
        try:
            connection.search(settings.base, wanted, attributes=attributes, size_limit=2)
        except LDAPException as error:
            raise DirectoryFailed(type(error).__name__) from error
        if connection.result["result"] != _SUCCESS:
            raise DirectoryFailed(f"The search failed: {connection.result['description']}")
        found = [each for each in connection.response if each.get("type") == "searchResEntry"]
        exact = [
            each for each in found if localpart in (value.lower() for value in _texts(each["attributes"].get(name)))
        ]
        if len(exact) != 1:
            return None
        told = exact[0]["attributes"]
        names = _texts(told.get(title)) if title else ()
        return Entry(exact[0]["dn"], names[0] if names else None, _texts(told.get(mail)) if mail else ())


def _texts(value: object) -> tuple[str, ...]:
    """An attribute's values that are text."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(each for each in values if isinstance(each, str) and each)


def _tls_of(ca_file: Path | None) -> Any:
    """ldap3's TLS, with certificate and name checked by `ssl` itself: ldap3 asks a function that Python has dropped."""
    import ldap3

    class Tls(ldap3.Tls):
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            context = ssl.create_default_context(cafile=ca_file)
            connection.socket = context.wrap_socket(
                connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=do_handshake
            )

    return Tls(validate=ssl.CERT_REQUIRED)
