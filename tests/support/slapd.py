"""A real LDAP directory on this machine: OpenLDAP's slapd, with a few people in it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import self_signed
from tests.support.server_process import free_port

SLAPD = shutil.which("slapd") or shutil.which("/usr/sbin/slapd")
SLAPADD = shutil.which("slapadd") or shutil.which("/usr/sbin/slapadd")
BASE = "ou=people,dc=example,dc=org"
SERVICE = "cn=halfdoor,dc=example,dc=org"
SERVICE_PASSWORD = "the service's password"

_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
allow bind_anon_cred bind_anon_dn
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by * none
database mdb
suffix "dc=example,dc=org"
directory {folder}/data
"""

_PEOPLE = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {base}
objectClass: organizationalUnit
ou: people

dn: {service}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: halfdoor
userPassword: {service_password}

dn: uid=ada,{base}
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
sn: Lovelace
mail: Ada@Example.org
employeeType: chat
userPassword: ada's password

dn: uid=bob,{base}
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
employeeType: cook
userPassword: bob's password
"""


@dataclass(frozen=True)
class Directory:
    """A running slapd. `ca_file` vouches for it."""

    uri: str
    tls_uri: str
    ca_file: Path


@contextmanager
def slapd(folder: Path) -> Iterator[Directory]:
    """Run one below `folder` until the block ends."""
    certificate, key = self_signed(folder, "localhost")
    (folder / "data").mkdir()
    configuration = folder / "slapd.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, certificate=certificate, key=key, service=SERVICE))
    people = _PEOPLE.format(base=BASE, service=SERVICE, service_password=SERVICE_PASSWORD).lstrip()
    subprocess.run([str(SLAPADD), "-f", str(configuration)], input=people, text=True, check=True, capture_output=True)
    port, tls_port = free_port(), free_port()
    uris = f"ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
    process = subprocess.Popen([str(SLAPD), "-f", str(configuration), "-h", uris, "-d", "0"], stderr=subprocess.DEVNULL)
    try:
        _wait_for(tls_port)
        yield Directory(f"ldap://localhost:{port}", f"ldaps://localhost:{tls_port}", certificate)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
