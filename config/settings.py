"""Every setting, with its type, its meaning and its default. The sample, the reference page and the loader's messages
are all made from this file, so a setting that is not here does not exist.

Files are relative to the configuration file's folder. A field of type `Secret` may be written in the file, named as
`<setting>_file`, or given in the environment as `HALFDOOR_<PATH>` or `HALFDOOR_<PATH>_FILE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from config.secret import Secret

Api = Literal["client", "admin", "federation"]
Level = Literal["debug", "info", "warning", "error"]
RoomVersionId = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]
WebAddress = Annotated[str, Meta(pattern=r"^https?://")]
Days = Annotated[float, Meta(gt=0)]
HostAndPort = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?$")]
Ed25519Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/_-]{43}$")]


def doc(text: str, *examples: Any, **bounds: Any) -> Meta:
    """A setting's description, what a sample may show for it where the default says little, and its bounds."""
    return Meta(description=text, examples=list(examples) or None, **bounds)


class Listener(Struct, frozen=True, kw_only=True):
    """An address that the server answers on."""

    host: Annotated[str, doc("Address to bind: 127.0.0.1 behind a proxy on this machine, 0.0.0.0 or :: for all.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, doc("TCP port.", ge=1, le=65535)] = 8008
    tls_certificate_file: Annotated[
        Path | None,
        doc("PEM file with the certificate chain, for TLS without a proxy.", "/etc/ssl/halfdoor/fullchain.pem"),
    ] = None
    tls_key_file: Annotated[
        Path | None, doc("PEM file with the certificate's key.", "/etc/ssl/halfdoor/privkey.pem")
    ] = None
    trusted_proxies: Annotated[
        list[str],
        doc("Addresses or networks of reverse proxies. Only their X-Forwarded-For is believed.", ["127.0.0.1", "::1"]),
    ] = field(default_factory=list)
    apis: Annotated[
        list[Api],
        doc(
            "What is served here: client (Client-Server API, application services' calls, well-known), admin "
            "(operators' API under /_synapse/admin), federation (what other servers ask, when federation is enabled)."
        ),
    ] = field(default_factory=lambda: ["client", "admin", "federation"])


class Database(Struct, frozen=True, kw_only=True):
    """Where everything is kept: an SQLite file, or PostgreSQL when `url` is set."""

    sqlite_file: Annotated[Path, doc("The embedded database.")] = Path("halfdoor.db")
    url: Annotated[
        Secret | None,
        doc(
            "PostgreSQL instead of SQLite, as postgresql://user:password@host:5432/database.",
            "secrets/database_url",
        ),
    ] = None


class Terms(Struct, frozen=True, kw_only=True):
    """A document that people must accept when they register."""

    name: Annotated[str, doc("Identifier of the policy.", "privacy", pattern=r"^[a-zA-Z0-9_.-]+$")]
    version: Annotated[str, doc("Version of the policy.", "1.0", min_length=1)]
    language: Annotated[str, doc("Language of the document.")] = "en"
    title: Annotated[str, doc("What it is called.", "Privacy policy", min_length=1)]
    url: Annotated[WebAddress, doc("Where it can be read.", "https://example.org/privacy")]


class Recaptcha(Struct, frozen=True, kw_only=True):
    """Google's reCAPTCHA as a stage of registration; used when both keys are set."""

    site_key: Annotated[str | None, doc("The public key, shown to clients.", "6Lc-public-key")] = None
    secret_key: Annotated[Secret | None, doc("The private key.", "secrets/recaptcha_secret_key")] = None
    verify_url: Annotated[WebAddress, doc("Where answers are verified.")] = (
        "https://www.google.com/recaptcha/api/siteverify"
    )


class Registration(Struct, frozen=True, kw_only=True):
    """Who may make an account."""

    enabled: Annotated[bool, doc("Whether clients may register accounts. Operators always may.")] = False
    open_without_verification: Annotated[
        bool,
        doc(
            "Registration with neither token nor recaptcha nor e-mail attracts spammers within days. The server "
            "refuses to start with such a registration unless this says that it is meant."
        ),
    ] = False
    token_required: Annotated[
        bool, doc("Ask for a registration token, which an operator hands out (halfdoor token add).")
    ] = False
    guests: Annotated[bool, doc("Whether guest accounts may be made.")] = False
    shared_secret: Annotated[
        Secret | None,
        doc(
            "Lets whoever knows it register accounts, also administrators, at /_synapse/admin/v1/register. "
            "halfdoor user add uses it.",
            "secrets/registration_shared_secret",
        ),
    ] = None
    email_required: Annotated[
        bool, doc("Ask for an e-mail address, and that it is confirmed. Needs mail.smtp_host.")
    ] = False
    email_patterns: Annotated[
        list[str],
        doc(
            "Regular expressions; a whole e-mail address (in lower case) must match one of them to be added to an "
            "account. Empty: every address may.",
            ["[^@]+@example[.]org"],
        ),
    ] = field(default_factory=list)
    terms: Annotated[
        list[Terms], doc("Documents to accept. One in several languages is several entries of one name and version.")
    ] = field(default_factory=list)
    terms_enforced: Annotated[
        bool,
        doc(
            "Whoever has not accepted today's versions, as after a change, cannot send anything before they do so on a "
            "page that their client is told."
        ),
    ] = False
    recaptcha: Annotated[Recaptcha, doc("reCAPTCHA's keys.")] = Recaptcha()


class AccountValidity(Struct, frozen=True, kw_only=True):
    """Accounts that end unless they are renewed, by a link in an e-mail or by an operator. Administrators' do not."""

    enabled: Annotated[
        bool, doc("Whether accounts end. Those that exist get their full time when it is switched on.")
    ] = False
    period_days: Annotated[int, doc("How long an account lasts, and by how much it is renewed.", ge=1, le=36500)] = 365
    renew_days: Annotated[int, doc("How long before its end the owner gets an e-mail.", ge=0, le=3650)] = 14


class Passwords(Struct, frozen=True, kw_only=True):
    """What a password must be, and how it is stored (argon2id)."""

    minimum_length: Annotated[int, doc("Characters a new password must have at least.", ge=1, le=512)] = 8
    argon2_memory_kib: Annotated[int, doc("Memory that one hash takes, in KiB.", ge=8192, le=4194304)] = 19456
    argon2_iterations: Annotated[int, doc("Passes over that memory.", ge=1, le=100)] = 2


class Ldap(Struct, frozen=True, kw_only=True):
    """Passwords that an LDAP directory keeps; whoever is in it gets an account with the first login. Used when `uri` is
    set; needs the package ldap3 (pip install "halfdoor[ldap]")."""

    uri: Annotated[
        str | None,
        doc("The directory: ldap://host or ldaps://host.", "ldap://ldap.example.org"),
    ] = None
    start_tls: Annotated[
        bool, doc("Encrypt connections to ldap:// addresses. False sends passwords for all to read.")
    ] = True
    ca_file: Annotated[
        Path | None, doc("PEM file with the authority of the directory's certificate.", "/etc/ssl/halfdoor/ldap_ca.pem")
    ] = None
    base: Annotated[str, doc("Below which people are searched.", "ou=people,dc=example,dc=org")] = ""
    name_attribute: Annotated[
        str, doc("Holds the part of the user id before the colon.", pattern=r"^[A-Za-z0-9;-]+$")
    ] = "uid"
    mail_attribute: Annotated[
        str, doc("Holds e-mail addresses that a new account gets; empty for none.", pattern=r"^[A-Za-z0-9;-]*$")
    ] = "mail"
    display_name_attribute: Annotated[
        str, doc("Holds the display name that a new account gets; empty for none.", pattern=r"^[A-Za-z0-9;-]*$")
    ] = "cn"
    filter: Annotated[
        str,
        doc("Who of them may log in, in brackets; empty for all.", "(memberOf=cn=chat,ou=groups,dc=example,dc=org)"),
    ] = ""
    bind_dn: Annotated[
        str | None, doc("Who searches, where not everybody may.", "cn=halfdoor,ou=services,dc=example,dc=org")
    ] = None
    bind_password: Annotated[Secret | None, doc("That entry's password.", "secrets/ldap_bind_password")] = None
    timeout_seconds: Annotated[float, doc("How long each step may take.", ge=1, le=120)] = 10.0


class Sessions(Struct, frozen=True, kw_only=True):
    """How long a login lasts."""

    access_token_lifetime_seconds: Annotated[
        int, doc("Lifetime of access tokens of clients that do not refresh; 0 is for ever.", ge=0)
    ] = 0
    refreshable_access_token_lifetime_seconds: Annotated[
        int, doc("Lifetime of access tokens of clients that refresh them.", ge=10)
    ] = 300
    refresh_token_lifetime_seconds: Annotated[int, doc("Lifetime of unused refresh tokens; 0 is for ever.", ge=0)] = 0


class RateLimit(Struct, frozen=True, kw_only=True):
    """A bucket: `burst` calls at once, refilled by `per_second`."""

    per_second: Annotated[float, doc("Calls a second in the long run.", gt=0)]
    burst: Annotated[int, doc("Calls at once.", ge=1)]


class RateLimits(Struct, frozen=True, kw_only=True):
    """How often one account (where nobody is logged in: one address) or one room may do what. Administrators are not
    limited, nor are application services whose registration says so."""

    enabled: Annotated[bool, doc("False switches every limit off, for tests and benchmarks.")] = True
    read: Annotated[RateLimit, doc("Reading.")] = RateLimit(per_second=50, burst=200)
    message: Annotated[RateLimit, doc("Sending events.")] = RateLimit(per_second=5, burst=30)
    message_in_room: Annotated[RateLimit, doc("Sending events, of everybody in one room.")] = RateLimit(
        per_second=50, burst=300
    )
    login: Annotated[RateLimit, doc("Logging in.")] = RateLimit(per_second=0.2, burst=10)
    registration: Annotated[RateLimit, doc("Registering; one registration asks up to ten times.")] = RateLimit(
        per_second=0.2, burst=10
    )
    join: Annotated[RateLimit, doc("Joining and knocking.")] = RateLimit(per_second=0.5, burst=20)
    invite: Annotated[RateLimit, doc("Inviting.")] = RateLimit(per_second=0.5, burst=20)
    invite_in_room: Annotated[RateLimit, doc("Inviting, of everybody in one room.")] = RateLimit(per_second=1, burst=50)
    create_room: Annotated[RateLimit, doc("Creating rooms.")] = RateLimit(per_second=0.2, burst=10)
    report: Annotated[RateLimit, doc("Reporting.")] = RateLimit(per_second=0.1, burst=5)
    search: Annotated[RateLimit, doc("Searching.")] = RateLimit(per_second=1, burst=10)
    typing: Annotated[RateLimit, doc("Typing notices.")] = RateLimit(per_second=2, burst=20)
    upload: Annotated[RateLimit, doc("Uploading files.")] = RateLimit(per_second=2, burst=50)
    media_create: Annotated[RateLimit, doc("Making addresses for later uploads.")] = RateLimit(per_second=10, burst=10)
    preview: Annotated[RateLimit, doc("Previews of links.")] = RateLimit(per_second=1, burst=50)


class Rooms(Struct, frozen=True, kw_only=True):
    """Rooms that are made here."""

    default_version: Annotated[
        RoomVersionId,
        doc("Version of new rooms. Some older clients cannot read the room ids of version 12; 11 suits them."),
    ] = "12"
    creation_for_everyone: Annotated[bool, doc("False: only administrators create rooms.")] = True
    directory_for_everyone: Annotated[bool, doc("False: only administrators publish rooms in the directory.")] = True
    invites_by_address: Annotated[
        bool,
        doc(
            "Invites by e-mail address reach the account here that has the address; whoever invites learns which. "
            "False: only the identity server that the client names is asked."
        ),
    ] = True
    invites_at_creation_max: Annotated[int, doc("People whom one createRoom may invite.", ge=0, le=10000)] = 100


class Previews(Struct, frozen=True, kw_only=True):
    """Previews of links: the server asks the pages that people link to, as outbound says, and keeps a small picture."""

    enabled: Annotated[
        bool, doc("Whether previews are made. Pages then see requests from this server when people link to them.")
    ] = False
    allowed_hosts: Annotated[
        list[str], doc("Hosts, each with all names below it, that alone are asked; empty for all.", ["example.org"])
    ] = field(default_factory=list)
    denied_hosts: Annotated[
        list[str], doc("Hosts, each with all names below it, that are not asked.", ["intranet.example.org"])
    ] = field(default_factory=list)
    lifetime_seconds: Annotated[int, doc("How long a page is not asked again.", ge=60, le=2592000)] = 3600
    max_bytes: Annotated[int, doc("Size of a page or picture that is read.", ge=65536, le=1024**3)] = 10 * 1024 * 1024
    languages: Annotated[
        str, doc("What pages are asked for, as browsers write it.", min_length=1, pattern=r"^[A-Za-z0-9,;=.* -]+$")
    ] = "en,zh;q=0.9,*;q=0.5"


class S3(Struct, frozen=True, kw_only=True):
    """Files in an object store that speaks Amazon's S3 instead of the folder. It needs the package obstore
    (pip install 'halfdoor[s3]')."""

    bucket: Annotated[str | None, doc("Its name; with it, files are kept there.", "halfdoor-media")] = None
    endpoint: Annotated[
        WebAddress | None, doc("Address of the store; left out: Amazon's.", "https://s3.example.org")
    ] = None
    region: Annotated[str, doc("Region of the bucket.", min_length=1)] = "us-east-1"
    prefix: Annotated[str, doc("What all names in the bucket begin with.", pattern=r"^([A-Za-z0-9_.-]+/)*$")] = ""
    access_key_id: Annotated[str | None, doc("Who asks. Left out: as the environment says (AWS_*).", "AKIA")] = None
    secret_access_key: Annotated[Secret | None, doc("The secret to it.", "secrets/s3_secret_access_key")] = None


class Media(Struct, frozen=True, kw_only=True):
    """Files that people upload."""

    path: Annotated[Path, doc("Folder that they are kept in; made with the first one. Part of every backup.")] = Path(
        "media"
    )
    max_upload_bytes: Annotated[int, doc("Size of one file.", ge=1024, le=10 * 1024**3)] = 50 * 1024 * 1024
    user_quota_bytes: Annotated[
        int, doc("Size of all files of one account; 0 for no bound. Bridges have none.", ge=0, le=2**53 - 1)
    ] = 10 * 1024**3
    pending_uploads_max: Annotated[
        int, doc("Addresses that one account may have made without uploading to them.", ge=1, le=10000)
    ] = 50
    pending_upload_lifetime_seconds: Annotated[
        int, doc("How long such an address waits for its file.", ge=60, le=2592000)
    ] = 86400
    thumbnail_max_pixels: Annotated[int, doc("Images with more pixels have no thumbnails.", ge=10000, le=100000000)] = (
        32000000
    )
    thumbnail_timeout_seconds: Annotated[float, doc("How long making one thumbnail may take.", ge=1, le=300)] = 20.0
    thumbnail_processes: Annotated[int, doc("Thumbnails that are made at the same time.", ge=1, le=64)] = 2
    local_retention_days: Annotated[
        int, doc("Files that nobody opened for so many days are deleted; 0 for never. Pictures of people stay.", ge=0)
    ] = 0
    remote_retention_days: Annotated[
        int, doc("The same for copies of other servers' files, which are fetched again when needed.", ge=0)
    ] = 90
    remote_max_bytes: Annotated[int, doc("Size of another server's file that is fetched.", ge=1024)] = 50 * 1024 * 1024
    previews: Annotated[Previews, doc("Previews of links.")] = Previews()
    s3: Annotated[S3, doc("An object store.")] = S3()


class Presence(Struct, frozen=True, kw_only=True):
    """Who is online."""

    enabled: Annotated[bool, doc("False: nobody's presence is kept or sent.")] = True


class PushApp(Struct, frozen=True, kw_only=True):
    """An app whose notifications this server passes on itself. Which settings a kind needs: docs/push.md."""

    app_id: Annotated[str, doc("What the app calls itself in its pushers; * stands for anything.", "org.example.app*")]
    kind: Annotated[
        Literal["apns", "fcm", "webpush", "unifiedpush"],
        doc("Who delivers: Apple, Google, the browsers' services, or servers of the users' own choice.", "webpush"),
    ]
    key: Annotated[
        Secret | None,
        doc(
            "apns: the .p8 key from Apple. fcm: the JSON file of a service account. webpush: the VAPID key.",
            "secrets/push_key",
        ),
    ] = None
    key_id: Annotated[str, doc("apns: the key's identifier.", "ABC123DEFG")] = ""
    team_id: Annotated[str, doc("apns: the developer team's identifier.", "DEF123GHIJ")] = ""
    topic: Annotated[str, doc("apns: the app's bundle identifier.", "org.example.app")] = ""
    sandbox: Annotated[bool, doc("apns: True for apps that Xcode has installed.")] = False
    push_type: Annotated[Literal["alert", "background", "voip"], doc("apns: the type of each notification.")] = "alert"
    hex_tokens: Annotated[bool, doc("apns: True where the app's pushkeys are hexadecimal, not Base64.")] = False
    message_options: Annotated[
        str, doc("fcm: a JSON object with further members of each message.", '{"android": {"ttl": "3600s"}}')
    ] = ""
    contact: Annotated[
        str, doc("webpush: whom a push service writes to about trouble.", "mailto:admin@example.org")
    ] = ""
    ttl_seconds: Annotated[
        int, doc("webpush, unifiedpush: how long a device may be away and still be told.", ge=0, le=2419200)
    ] = 900
    allowed_endpoints: Annotated[
        list[str],
        doc(
            "webpush, unifiedpush: hosts that may be told, with * for anything. Empty: all public ones.",
            ["fcm.googleapis.com", "*.push.apple.com"],
        ),
    ] = field(default_factory=list)


class PushGateway(Struct, frozen=True, kw_only=True):
    """The push gateway of this server: apps listed here need no other one."""

    apps: Annotated[list[PushApp], doc("The apps.")] = field(default_factory=list)


class Push(Struct, frozen=True, kw_only=True):
    """Notifications to phones, browsers and mailboxes."""

    include_content: Annotated[
        bool,
        doc(
            "Whether push gateways and e-mails are told what messages say, where an app asks for it. Apps that ask for "
            "event ids alone never are."
        ),
    ] = True
    count_rooms: Annotated[
        bool, doc("The number on an app's icon: True counts rooms with unread notifications, False the notifications.")
    ] = True
    allowed_gateways: Annotated[
        list[str],
        doc(
            "Push gateways of your own that may have private addresses and plain http. Others are reached over https, "
            "at public addresses.",
            ["http://10.0.0.5:5000"],
        ),
    ] = field(default_factory=list)
    gateway: Annotated[PushGateway, doc("The gateway of this server.")] = PushGateway()


class UserDirectory(Struct, frozen=True, kw_only=True):
    """Finding people."""

    search_all_users: Annotated[
        bool, doc("True: everybody finds everybody; False: people who share a room or are in a public one.")
    ] = False
    profiles_for_strangers: Annotated[
        bool,
        doc(
            "False: a profile can be read by those alone who share a room with its user. "
            "Names of members are no secret."
        ),
    ] = True


class Sync(Struct, frozen=True, kw_only=True):
    """Bounds of /sync and its relatives."""

    timeout_max_ms: Annotated[int, doc("Longest wait of a long poll, in milliseconds.", ge=0, le=600000)] = 120000
    timeline_limit_default: Annotated[int, doc("Events of a room where the client names no limit.", ge=1, le=100)] = 10
    timeline_limit_max: Annotated[int, doc("Most events of a room in one answer.", ge=1, le=1000)] = 100
    websocket_enabled: Annotated[
        bool, doc("Whether clients may sync over WebSocket (docs/sync_over_websocket.md).")
    ] = True
    websocket_origins: Annotated[
        list[str],
        doc(
            "Origins of the pages that may sync over WebSocket; none: all, as everywhere in the Client-Server API.",
            ["https://chat.example.org"],
        ),
    ] = field(default_factory=list)
    websockets_per_user: Annotated[int, doc("Most WebSockets of one user.", ge=1, le=1000)] = 20


class Logging(Struct, frozen=True, kw_only=True):
    """What is written to standard error."""

    format: Annotated[Literal["console", "json"], doc("console for people, json for collectors.")] = "console"
    level: Annotated[Level, doc("What is written.")] = "info"
    levels: Annotated[
        dict[str, Level], doc("Levels of single parts, by logger name.", {"homeserver.sync": "debug"})
    ] = field(default_factory=dict)


class Metrics(Struct, frozen=True, kw_only=True):
    """Prometheus metrics, at an address of their own and without authentication: keep it private."""

    enabled: Annotated[bool, doc("Whether metrics are served.")] = False
    host: Annotated[str, doc("Address to bind.")] = "127.0.0.1"
    port: Annotated[int, doc("TCP port; metrics are at /metrics.", ge=1, le=65535)] = 9108


class AppServices(Struct, frozen=True, kw_only=True):
    """Application services (bridges)."""

    registration_files: Annotated[list[Path], doc("Their registration files.", ["bridges/irc.yaml"])] = field(
        default_factory=list
    )


class WebchatSite(Struct, frozen=True, kw_only=True):
    """A website with the chat widget on it."""

    key: Annotated[
        str,
        doc("Public name of the site: it stands in the page, as data-site.", "shop", pattern=r"^[a-zA-Z0-9_-]{1,64}$"),
    ]
    title: Annotated[str, doc("What the widget is headed with.", "Example shop")] = ""
    origins: Annotated[
        list[str],
        doc("Origins that may open the widget: scheme, host and port.", ["https://shop.example.org"], min_length=1),
    ]
    staff: Annotated[
        list[str],
        doc("Accounts of this server whom each visitor's room invites.", ["@staff:example.org"], min_length=1),
    ]
    greeting: Annotated[str, doc("What visitors read first; empty for nothing.", "How can we help?")] = ""
    colour: Annotated[str, doc("The widget's colour.", pattern=r"^#[0-9a-fA-F]{6}$")] = "#1f6f5c"


class Webchat(Struct, frozen=True, kw_only=True):
    """The website widget: visitors talk with staff in ordinary rooms. It has an address of its own, apart from the
    server's; a reverse proxy may show it below any name as /webchat."""

    enabled: Annotated[bool, doc("Whether the widget is served.")] = False
    host: Annotated[str, doc("Address to bind.")] = "127.0.0.1"
    port: Annotated[int, doc("TCP port that browsers' requests for /webchat go to.", ge=1, le=65535)] = 8009
    public_url: Annotated[
        str, doc("Where browsers reach it, without /webchat. Left out: the address above.", "https://chat.example.org")
    ] = ""
    trusted_proxies: Annotated[
        list[str], doc("Addresses of reverse proxies. Only their X-Forwarded-For is believed.", ["127.0.0.1"])
    ] = field(default_factory=list)
    demo_site: Annotated[str | None, doc("Key of a site that is shown on a page to try it, /webchat/demo.", "shop")] = (
        None
    )
    sites: Annotated[list[WebchatSite], doc("The websites.")] = field(default_factory=list)


class OAuth(Struct, frozen=True, kw_only=True):
    """The OAuth 2.0 API, by which today's clients log in: on pages of this server, where people also look after their
    account. Logging in by a password in the client itself goes on beside it."""

    enabled: Annotated[bool, doc("Whether clients may log in by OAuth 2.0.")] = True


class IdentityProvider(Struct, frozen=True, kw_only=True):
    """A service that logs people in by OpenID Connect: Keycloak, Entra ID, GitLab and the like (docs/oauth.md)."""

    id: Annotated[
        str,
        doc("Stands in addresses; must never change.", "company", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"),
    ]
    name: Annotated[str, doc("What people see on the button.", "Company login", min_length=1, max_length=64)]
    issuer: Annotated[
        WebAddress,
        doc("The provider's name for itself, to the letter.", "https://login.example.org/realms/company"),
    ]
    client_id: Annotated[str, doc("What the provider calls this server.", "halfdoor", min_length=1)]
    client_secret: Annotated[
        Secret | None, doc("The secret that the provider gave this server.", "secrets/company_client_secret")
    ] = None
    scopes: Annotated[list[str], doc("What is asked for; openid is needed.")] = field(
        default_factory=lambda: ["openid", "profile", "email"]
    )
    brand: Annotated[
        str | None,
        doc("How clients show the button: one of the brands of the specification.", "github"),
    ] = None
    icon: Annotated[str | None, doc("A picture on the button.", "mxc://example.org/abc")] = None
    localpart_template: Annotated[
        str, doc("The user name of somebody new, made of claims. If it is taken they choose another.")
    ] = "{preferred_username}"
    display_name_template: Annotated[str, doc("Their display name.")] = "{name}"
    email_template: Annotated[str, doc("Their e-mail address, taken when the provider has verified it.")] = "{email}"
    allow_existing_users: Annotated[
        bool,
        doc(
            "Whether somebody who comes for the first time, with the name of an account that is here already, gets "
            "that account. Only for a provider whose people cannot choose that name themselves."
        ),
    ] = False
    registration: Annotated[bool, doc("Whether people without an account get one.")] = True
    userinfo: Annotated[bool, doc("Whether the provider is asked for more than its ID token says.")] = True


class Admin(Struct, frozen=True, kw_only=True):
    """The operators' API. Which listeners serve it is said by `listeners[].apis`."""

    networks: Annotated[
        list[str],
        doc(
            "Networks from which it may be called, besides an administrator's token; empty for all. Addresses are the "
            "clients' own, as trusted proxies tell them.",
            ["127.0.0.0/8", "::1", "10.0.0.0/8"],
        ),
    ] = field(default_factory=list)


class ServerNotices(Struct, frozen=True, kw_only=True):
    """What the server tells its users (halfdoor notice), in a room that it makes with each."""

    localpart: Annotated[
        str,
        doc(
            "Name of the account that speaks; nobody else can register it. Choose it before the first notice.",
            pattern=r"^[a-z0-9._=/+-]+$",
        ),
    ] = "server-notices"
    display_name: Annotated[str, doc("What people see it is called.")] = "Server notices"
    avatar_url: Annotated[str | None, doc("Its picture.", "mxc://example.org/abc")] = None
    room_name: Annotated[str, doc("Name of the rooms.")] = "Server notices"


class Retention(Struct, frozen=True, kw_only=True):
    """How long rooms keep messages: what they ask for with m.room.retention, within these bounds."""

    enabled: Annotated[
        bool,
        doc(
            "Whether messages expire. What has expired is hidden at once and deleted for good by the next purge; state "
            "and the newest event of a room stay."
        ),
    ] = False
    default_days: Annotated[Days | None, doc("For rooms that ask for nothing; null keeps everything.", 365)] = None
    minimum_days: Annotated[Days | None, doc("Rooms cannot ask for less.", 1)] = None
    maximum_days: Annotated[Days | None, doc("Rooms cannot ask for more.", 1825)] = None
    purge_interval_seconds: Annotated[int, doc("How often expired messages are deleted.", ge=60)] = 3600


class WellKnown(Struct, frozen=True, kw_only=True):
    """Discovery documents below /.well-known/matrix."""

    enabled: Annotated[bool, doc("Whether this server answers them.")] = True
    policy_server_public_key: Annotated[
        Ed25519Key | None,
        doc(
            "Public key (ed25519, unpadded base64) of a policy server that runs under this server name.",
            "6yhHGKhCiXTSEN2ksjV7kX/N6rBQZ3Xb+M7LlC6NS+s",
        ),
    ] = None


class Contact(Struct, frozen=True, kw_only=True):
    """Somebody to write to about this server."""

    role: Annotated[Literal["m.role.admin", "m.role.security"], doc("What for.")] = "m.role.admin"
    matrix_id: Annotated[str | None, doc("Their Matrix account.", "@admin:example.org")] = None
    email_address: Annotated[str | None, doc("Their mail address.", "admin@example.org")] = None


class Support(Struct, frozen=True, kw_only=True):
    """Whom to ask, answered at /.well-known/matrix/support."""

    contacts: Annotated[list[Contact], doc("People.")] = field(default_factory=list)
    page: Annotated[WebAddress | None, doc("A page about help.", "https://example.org/help")] = None


class Turn(Struct, frozen=True, kw_only=True):
    """Relays for calls between people who cannot reach each other directly (coturn with use-auth-secret)."""

    uris: Annotated[list[str], doc("The relays.", ["turn:turn.example.org"])] = field(default_factory=list)
    shared_secret: Annotated[Secret | None, doc("The relays' static-auth-secret.", "secrets/turn_shared_secret")] = None
    lifetime_seconds: Annotated[int, doc("How long the credentials of a client hold.", ge=60)] = 86400


class Rtc(Struct, frozen=True, kw_only=True):
    """Calls of many (MatrixRTC), as Element Call makes them: a LiveKit server with lk-jwt-service beside it."""

    livekit_service_urls: Annotated[
        list[WebAddress], doc("Where lk-jwt-service answers.", ["https://livekit.example.org/jwt"])
    ] = field(default_factory=list)


class DelayedEvents(Struct, frozen=True, kw_only=True):
    """Events that clients have sent later. Calls need them: whoever vanishes from a call leaves it by one."""

    max_delay_seconds: Annotated[int, doc("The longest delay; 0 delays nothing.", ge=0, le=31_536_000)] = 86400
    max_of_user: Annotated[int, doc("How many of one user may wait at a time.", ge=1, le=10_000)] = 100


class Mail(Struct, frozen=True, kw_only=True):
    """E-mails to people, through an SMTP server of your own choice: to confirm addresses, to reset passwords, to
    notify. Without smtp_host none are sent, and what needs them is not offered."""

    smtp_host: Annotated[str | None, doc("The SMTP server.", "smtp.example.org")] = None
    smtp_port: Annotated[int, doc("Its TCP port: 587 with starttls, 465 with tls.", ge=1, le=65535)] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        doc("starttls and tls check the server's certificate; none is for a mail server on this machine."),
    ] = "starttls"
    ca_file: Annotated[
        Path | None, doc("PEM file with the authority of a certificate of your own.", "/etc/ssl/halfdoor/mail_ca.pem")
    ] = None
    username: Annotated[str | None, doc("The account at the SMTP server, if it wants one.", "halfdoor")] = None
    password: Annotated[Secret | None, doc("Its password.", "secrets/mail_password")] = None
    sender: Annotated[
        str | None,
        doc(
            "The address that e-mails come from, maybe with a name. Left out: noreply@ and the server name.",
            "Example Chat <noreply@example.org>",
        ),
    ] = None
    timeout_seconds: Annotated[float, doc("How long each step of a delivery may take.", ge=1, le=300)] = 30.0
    language: Annotated[
        Literal["en", "zh"], doc("Language of e-mails that nobody has asked for; others are in the reader's.")
    ] = "en"
    per_address_per_hour: Annotated[
        int, doc("Most e-mails with links that one address gets in an hour, whoever asks for them.", ge=1, le=1000)
    ] = 6
    hide_accounts: Annotated[
        bool,
        doc(
            "True: nobody learns which e-mail addresses have accounts here; who asks is told by e-mail. False: clients "
            "are told at once."
        ),
    ] = True
    next_link_hosts: Annotated[
        list[str],
        doc(
            "Hosts of web clients that people may be sent back to after they confirmed an address.", ["app.example.org"]
        ),
    ] = field(default_factory=list)


class Outbound(Struct, frozen=True, kw_only=True):
    """Requests that this server makes to addresses that others name: push gateways, previewed pages. Only the public
    Internet is asked, directly: proxies that the environment names are not used."""

    allowed_networks: Annotated[
        list[str],
        doc("Addresses or networks that are asked although they are private.", ["10.1.2.0/24", "fd12:3456:789a::/48"]),
    ] = field(default_factory=list)
    denied_networks: Annotated[
        list[str], doc("Addresses or networks that are never asked, whatever else allows it.", ["192.0.2.0/24"])
    ] = field(default_factory=list)
    allowed_ports: Annotated[list[int], doc("TCP ports that are asked; an empty list allows all.")] = field(
        default_factory=lambda: [80, 443, 8448]
    )
    user_agent: Annotated[
        str, doc("What the server calls itself.", min_length=1, max_length=200, pattern=r"^[\x20-\x7e]*$")
    ] = "Halfdoor"


class OldSigningKey(Struct, frozen=True, kw_only=True):
    """A key that this server has signed with."""

    key_id: Annotated[str, doc("Its name.", "ed25519:a_old", pattern=r"^ed25519:[A-Za-z0-9_]+$")]
    public_key: Annotated[
        Ed25519Key, doc("Its public half, unpadded base64.", "6yhHGKhCiXTSEN2ksjV7kX/N6rBQZ3Xb+M7LlC6NS+s")
    ]
    expired_ts: Annotated[int, doc("When it was last used, in milliseconds since 1970.", 1767225600000, ge=1)]


class NotaryServer(Struct, frozen=True, kw_only=True):
    """A server that is believed about the keys of others."""

    server_name: Annotated[str, doc("Its name.", "notary.example")]
    public_keys: Annotated[
        dict[str, Ed25519Key],
        doc("Its own keys by their names.", {"ed25519:auto": "6yhHGKhCiXTSEN2ksjV7kX/N6rBQZ3Xb+M7LlC6NS+s"}),
    ]


class Federation(Struct, frozen=True, kw_only=True):
    """Rooms together with other servers. docs/federation.md explains all of it."""

    enabled: Annotated[
        bool,
        doc(
            "Whether this server takes part in rooms with other servers. It asks nobody anything until somebody here"
            " does something that needs another server, or another server asks."
        ),
    ] = True
    advertised_address: Annotated[
        HostAndPort | None,
        doc(
            "Where other servers reach this one (host or host:port), told at https://SERVER_NAME/.well-known/matrix/server."
            " Left out: nothing is told, and they come to port 8448 of the server name or follow its SRV record.",
            "matrix.example.org:443",
        ),
    ] = None
    allowed_servers: Annotated[
        list[str],
        doc(
            "The names of the servers that this one has to do with; * and ? stand for any text and any letter.",
            ["*.example.org", "partner.example"],
        ),
    ] = field(default_factory=lambda: ["*"])
    denied_servers: Annotated[
        list[str], doc("Those that it has nothing to do with, even if the list before has them.", ["*.spam.example"])
    ] = field(default_factory=list)
    old_signing_keys: Annotated[
        list[OldSigningKey],
        doc("Keys that signed this server's events before signing_key_file was replaced; published as old keys."),
    ] = field(default_factory=list)
    notaries: Annotated[
        list[NotaryServer],
        doc("Servers that are asked for the keys of others that cannot be reached themselves."),
    ] = field(default_factory=list)
    blocked_keys: Annotated[
        list[str],
        doc("Public signing keys (unpadded Base64) that nobody is believed by, because they are known to have leaked."),
    ] = field(default_factory=list)


class Settings(Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    server_name: Annotated[
        str,
        doc(
            "The part after the colon in user ids. It can never be changed once people have joined rooms.",
            "example.org",
        ),
    ]
    public_base_url: Annotated[
        str,
        doc(
            "The address that clients use, as seen from outside. Left out: https:// and the server name.",
            "https://matrix.example.org",
        ),
    ] = ""
    signing_key_file: Annotated[
        Path, doc("The key that signs this server's events. halfdoor init makes it. Keep a copy in a safe place.")
    ] = Path("signing.key")
    listeners: Annotated[list[Listener], doc("Where the server answers.", min_length=1)] = field(
        default_factory=lambda: [Listener()]
    )
    database: Annotated[Database, doc("Storage.")] = Database()
    registration: Annotated[Registration, doc("New accounts.")] = Registration()
    account_validity: Annotated[AccountValidity, doc("Accounts that end.")] = AccountValidity()
    passwords: Annotated[Passwords, doc("Passwords.")] = Passwords()
    ldap: Annotated[Ldap, doc("A directory of people.")] = Ldap()
    sessions: Annotated[Sessions, doc("Logins.")] = Sessions()
    rate_limits: Annotated[RateLimits, doc("Rate limits.")] = RateLimits()
    rooms: Annotated[Rooms, doc("Rooms.")] = Rooms()
    media: Annotated[Media, doc("Files.")] = Media()
    mail: Annotated[Mail, doc("E-mail.")] = Mail()
    outbound: Annotated[Outbound, doc("Requests to others.")] = Outbound()
    federation: Annotated[Federation, doc("Other servers.")] = Federation()
    presence: Annotated[Presence, doc("Presence.")] = Presence()
    push: Annotated[Push, doc("Notifications.")] = Push()
    user_directory: Annotated[UserDirectory, doc("User directory.")] = UserDirectory()
    sync: Annotated[Sync, doc("Sync.")] = Sync()
    logging: Annotated[Logging, doc("Logs.")] = Logging()
    metrics: Annotated[Metrics, doc("Metrics.")] = Metrics()
    appservices: Annotated[AppServices, doc("Bridges.")] = AppServices()
    webchat: Annotated[Webchat, doc("The website widget.")] = Webchat()
    admin: Annotated[Admin, doc("The operators' API.")] = Admin()
    server_notices: Annotated[ServerNotices, doc("What the server tells its users.")] = ServerNotices()
    retention: Annotated[Retention, doc("How long messages are kept.")] = Retention()
    turn: Annotated[Turn, doc("Relays for calls.")] = Turn()
    rtc: Annotated[Rtc, doc("Calls of many.")] = Rtc()
    delayed_events: Annotated[DelayedEvents, doc("Events that are sent later.")] = DelayedEvents()
    oauth: Annotated[OAuth, doc("Logging in by OAuth 2.0.")] = OAuth()
    identity_providers: Annotated[list[IdentityProvider], doc("Logging in by other services.")] = field(
        default_factory=list
    )
    well_known: Annotated[WellKnown, doc("Discovery.")] = WellKnown()
    support: Annotated[Support, doc("Contacts.")] = Support()
    shutdown_seconds: Annotated[
        float, doc("How long running requests may take to end when the server is stopped.", ge=0, le=600)
    ] = 10.0
