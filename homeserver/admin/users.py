"""Accounts as operators see, make and change them: /users, /deactivate, /reset_password and their like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, cast, get_args

import msgspec

from homeserver.admin.paging import flag_of, is_backwards, order_of, page_of, text_of
from homeserver.http.parsing import parse_body, query_list, query_string
from homeserver.http.request import Request, Response
from homeserver.mail.addresses import canonical_address
from homeserver.protocol.errors import InvalidParam, NotFound, ThreepidInUse, UserInUse
from homeserver.protocol.identifiers import domain_of, localpart_of, parse_user_id
from homeserver.storage.account_listing import AccountQuery, ListedAccount, OrderBy
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction
from homeserver.storage.identities import IdentityStore
from homeserver.storage.threepids import Threepid, ThreepidStore
from homeserver.users.administration import UserAdministration
from homeserver.users.registration import RegistrationWish
from homeserver.users.requester import Requester
from homeserver.users.services import UserServices

USER_TYPES: Final = ("bot", "support")


class _Threepid(msgspec.Struct):
    medium: Literal["email", "msisdn"]
    address: str


class _ExternalId(msgspec.Struct):
    auth_provider: str
    external_id: str


class _UserBody(msgspec.Struct):
    """UNSET and, but for `user_type`, null leave a thing as it is."""

    password: str | None = None
    logout_devices: bool = True
    displayname: str | None = None
    avatar_url: str | None = None
    threepids: list[_Threepid] | None = None
    external_ids: list[_ExternalId] | None = None
    admin: bool | None = None
    deactivated: bool | None = None
    locked: bool | None = None
    suspended: bool | None = None
    user_type: str | msgspec.UnsetType | None = msgspec.UNSET


class _DeactivateBody(msgspec.Struct):
    erase: bool = False


class _PasswordBody(msgspec.Struct):
    new_password: str
    logout_devices: bool = True


class _AdminBody(msgspec.Struct):
    admin: bool


class _ValidityBody(msgspec.Struct):
    user_id: str
    expiration_ts: int | None = None
    enable_renewal_emails: bool = True


class _SuspendBody(msgspec.Struct):
    suspend: bool


class UserAdminApi:
    """Accounts of this server."""

    def __init__(
        self,
        db: Database,
        users: UserServices,
        administration: UserAdministration,
        server_name: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._db = db
        self._users = users
        self._administration = administration
        self._threepids = ThreepidStore(db)
        self._identities = IdentityStore(db)
        self._server_name = server_name
        self._now_ms = now_ms

    # ---- reading

    async def list_users(self, request: Request) -> Response:
        """Version 2: without `deactivated=true` and `locked=true` such accounts are left out."""
        deactivated = None if flag_of(request, "deactivated", False) else False
        return await self._list(request, deactivated)

    async def list_users_v3(self, request: Request) -> Response:
        """Version 3: `deactivated` says which, and all without it."""
        return await self._list(request, flag_of(request, "deactivated", None))

    async def _list(self, request: Request, deactivated: bool | None) -> Response:
        page = page_of(request)
        query = AccountQuery(
            name=text_of(request, "name"),
            user_id=text_of(request, "user_id"),
            guests=flag_of(request, "guests", True),
            admins=flag_of(request, "admins", None),
            deactivated=deactivated,
            locked=None if flag_of(request, "locked", False) else False,
            suspended=flag_of(request, "suspended", None),
            not_user_types=query_list(request, "not_user_type"),
            order_by=cast(OrderBy, order_of(request, get_args(OrderBy), "name")),
            descending=is_backwards(request),
            start=page.start,
            limit=page.limit,
        )
        found, total = await self._administration.listing.page(query)
        users = [_listed(account) for account in found]
        return Response({"users": users, "total": total, **page.next_token(len(users), total)})

    async def get_user(self, request: Request) -> Response:
        account = await self._account(request)
        return Response(await self._details(account))

    async def get_admin(self, request: Request) -> Response:
        return Response({"admin": (await self._account(request)).is_admin})

    async def get_whois(self, request: Request) -> Response:
        user_id = request.path_params["user_id"]
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")
        found = await self._users.moderation.who_is(request.user, user_id)
        # Tools look for one nameless device with one session that holds all connections, as Synapse answers.
        connections = [
            connection
            for device in found["devices"].values()
            for session in device["sessions"]
            for connection in session["connections"]
        ]
        return Response({"user_id": user_id, "devices": {"": {"sessions": [{"connections": connections}]}}})

    async def username_available(self, request: Request) -> Response:
        await self._users.registration.check_username(query_string(request, "username"))
        return Response({"available": True})

    async def find_by_threepid(self, request: Request) -> Response:
        medium, address = request.path_params["medium"], request.path_params["address"]
        canonical = canonical_address(address) if medium == "email" else address
        owner = None if canonical is None else await self._threepids.find_owner(medium, canonical)
        if owner is None:
            raise NotFound("User not found")
        return Response({"user_id": owner})

    async def find_by_identity(self, request: Request) -> Response:
        """`provider` is the issuer of an identity provider, as its tokens name it."""
        params = request.path_params
        owner = await self._identities.find_user(params["provider"], params["external_id"])
        if owner is None:
            raise NotFound("User not found")
        return Response({"user_id": owner})

    # ---- changing

    async def put_user(self, request: Request) -> Response:
        """Make an account (201) or change one (200)."""
        user_id = parse_user_id(request.path_params["user_id"])
        if domain_of(user_id) != self._server_name:
            raise InvalidParam("Only users of this server can be made or changed.")
        body = parse_body(request, _UserBody)
        kind = body.user_type
        if kind is not msgspec.UNSET and kind is not None and kind not in USER_TYPES:
            raise InvalidParam(f"'user_type' must be null or one of: {', '.join(USER_TYPES)}.")
        threepids = None if body.threepids is None else [self._canonical(each) for each in body.threepids]
        account = await self._users.accounts.find_account(user_id)
        if account is None:
            await self._make(user_id, body)
        else:
            await self._change(request, account, body)
        await self._change_flags(request, user_id, body)
        if threepids is not None:
            await self._set_threepids(user_id, threepids)
        if body.external_ids is not None:
            await self._set_identities(user_id, {(each.auth_provider, each.external_id) for each in body.external_ids})
        details = await self._details(await self._get(user_id))
        return Response(details, status=201 if account is None else 200)

    async def _make(self, user_id: str, body: _UserBody) -> None:
        if body.password is not None:
            self._users.accounts.check_new_password(body.password)
        kind = None if body.user_type is msgspec.UNSET else body.user_type
        await self._users.registration.register_by_operator(
            RegistrationWish(localpart_of(parse_user_id(user_id)), body.password, None),
            display_name=body.displayname or None,
            is_admin=bool(body.admin),
            user_type=kind,
        )
        if body.avatar_url:
            await self._users.profiles.set_field(_own_name(user_id), user_id, "avatar_url", body.avatar_url)
        if body.deactivated:
            await self._users.accounts.deactivate(user_id, erase=False)

    async def _change(self, request: Request, account: Account, body: _UserBody) -> None:
        user_id = account.user_id
        is_own = user_id == request.user.user_id
        if is_own and (body.admin is False or body.deactivated or body.locked or body.suspended):
            raise InvalidParam("Administrators cannot do this to their own account.")
        if account.is_deactivated and body.deactivated is False:
            await self._users.accounts.activate(user_id, body.password)
        elif body.password is not None and not account.is_deactivated:
            await self._users.accounts.change_password(
                user_id,
                body.password,
                keep_device=request.user.device_id if is_own else None,
                logout_devices=body.logout_devices,
            )
        elif body.password is not None:
            raise InvalidParam("This account is deactivated; send 'deactivated': false to open it again.")
        will_be_active = body.deactivated is False or not account.is_deactivated
        for field, value in (("displayname", body.displayname), ("avatar_url", body.avatar_url)):
            if value is not None and will_be_active:
                await self._users.profiles.set_field(_own_name(user_id), user_id, field, value)
        if body.user_type is not msgspec.UNSET:
            await self._users.accounts.set_user_type(user_id, body.user_type)
        if body.deactivated and not account.is_deactivated:
            await self._users.accounts.deactivate(user_id, erase=False)

    async def _change_flags(self, request: Request, user_id: str, body: _UserBody) -> None:
        account = await self._get(user_id)
        if body.admin is not None and body.admin != account.is_admin and not account.is_deactivated:
            await self._set_admin(user_id, body.admin)
        if body.locked is not None and body.locked != account.is_locked:
            await self._users.accounts.set_flag(user_id, "is_locked", body.locked)
        if body.suspended is not None and body.suspended != account.is_suspended:
            await self._users.accounts.set_flag(user_id, "is_suspended", body.suspended)

    async def _set_admin(self, user_id: str, is_admin: bool) -> None:
        await self._users.accounts.set_flag(user_id, "is_admin", is_admin)
        if not is_admin:
            await self._administration.operator_logins.end_all_of(user_id)

    def _canonical(self, threepid: _Threepid) -> tuple[str, str]:
        address = canonical_address(threepid.address) if threepid.medium == "email" else threepid.address
        if not address or (threepid.medium == "msisdn" and not address.isdigit()):
            raise InvalidParam(f"{threepid.address[:100]!r} is no address of the kind {threepid.medium}.")
        return threepid.medium, address

    async def _set_threepids(self, user_id: str, wanted: list[tuple[str, str]]) -> None:
        """Exactly these, as confirmed ones: the operator answers for them."""
        now = self._now_ms()
        held = {(each.medium, each.address) for each in await self._threepids.list_threepids(user_id)}

        async def write(txn: Transaction) -> None:
            for medium, address in held - set(wanted):
                await self._threepids.remove_threepid(txn, user_id, medium, address)
            for medium, address in wanted:
                if (medium, address) not in held and not await self._threepids.add_threepid(
                    txn, Threepid(medium, address, user_id, now, now)
                ):
                    raise ThreepidInUse("This address belongs to another account.")

        await self._db.write(write)

    async def _set_identities(self, user_id: str, wanted: set[tuple[str, str]]) -> None:
        """Exactly these, each an issuer and whom it means by it."""
        now = self._now_ms()

        async def write(txn: Transaction) -> None:
            held = set(await self._identities.list_identities(user_id, txn))
            for issuer, subject in held - wanted:
                await self._identities.remove_identity(txn, issuer, subject, user_id)
            for issuer, subject in wanted - held:
                if not await self._identities.add_identity(txn, issuer, subject, user_id, now):
                    raise UserInUse("This external identity belongs to another account.")

        await self._db.write(write)

    async def deactivate(self, request: Request) -> Response:
        account = await self._account(request)
        body = parse_body(request, _DeactivateBody, allow_empty=True)
        await self._users.accounts.deactivate(account.user_id, erase=body.erase)
        return Response({"id_server_unbind_result": "success"})

    async def set_suspended(self, request: Request) -> Response:
        account = await self._account(request)
        body = parse_body(request, _SuspendBody)
        if account.user_id == request.user.user_id and body.suspend:
            raise InvalidParam("Administrators cannot do this to their own account.")
        await self._users.accounts.set_flag(account.user_id, "is_suspended", body.suspend)
        return Response({f"user_{account.user_id}_suspended": body.suspend})

    async def reset_password(self, request: Request) -> Response:
        account = await self._account(request)
        body = parse_body(request, _PasswordBody)
        if account.is_deactivated:
            raise InvalidParam("This account is deactivated.")
        await self._users.accounts.change_password(
            account.user_id, body.new_password, keep_device=None, logout_devices=body.logout_devices
        )
        return Response()

    async def renew(self, request: Request) -> Response:
        """Let an account that would end last for another period, or until a time."""
        body = parse_body(request, _ValidityBody)
        await self._get(parse_user_id(body.user_id))
        end = await self._users.account_validity.renew_by_operator(
            body.user_id, body.expiration_ts, sends_mails=body.enable_renewal_emails
        )
        return Response({"expiration_ts": end})

    async def set_admin(self, request: Request) -> Response:
        account = await self._account(request)
        body = parse_body(request, _AdminBody)
        if account.user_id == request.user.user_id and not body.admin:
            raise InvalidParam("You may not demote yourself.")
        if account.is_deactivated or account.is_guest:
            raise InvalidParam("This account cannot be an administrator.")
        await self._set_admin(account.user_id, body.admin)
        return Response()

    # ---- how

    async def _account(self, request: Request) -> Account:
        """The account of this server that the path names. Raises InvalidParam, NotFound."""
        user_id = request.path_params["user_id"]
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")
        return await self._get(user_id)

    async def _get(self, user_id: str) -> Account:
        account = await self._users.accounts.find_account(user_id)
        if account is None:
            raise NotFound("User not found")
        return account

    async def _details(self, account: Account) -> dict[str, Any]:
        profile = await self._users.profiles.find_profile(account.user_id)
        devices = await self._users.devices.list_devices(account.user_id)
        threepids = await self._threepids.list_threepids(account.user_id)
        return {
            "name": account.user_id,
            "displayname": profile.get("displayname"),
            "avatar_url": profile.get("avatar_url"),
            "threepids": [
                {
                    "medium": each.medium,
                    "address": each.address,
                    "added_at": each.added_ts,
                    "validated_at": each.validated_ts,
                }
                for each in threepids
            ],
            "external_ids": [
                {"auth_provider": issuer, "external_id": subject}
                for issuer, subject in await self._identities.list_identities(account.user_id)
            ],
            "is_guest": account.is_guest,
            "admin": account.is_admin,
            "deactivated": account.is_deactivated,
            "erased": account.is_erased,
            "shadow_banned": False,
            "locked": account.is_locked,
            "suspended": account.is_suspended,
            "creation_ts": account.created_ts,
            # A number in every case, since tools take nothing else: 0 for whoever was never seen.
            "last_seen_ts": max((device.last_seen_ts or 0 for device in devices), default=0),
            "appservice_id": account.appservice_id,
            "consent_server_notice_sent": None,
            "consent_version": None,
            "consent_ts": None,
            "user_type": account.user_type,
        }


def _own_name(user_id: str) -> Requester:
    """Profiles are changed in their user's own name."""
    return Requester(user_id)


def _listed(account: ListedAccount) -> dict[str, Any]:
    return {
        "name": account.user_id,
        "is_guest": account.is_guest,
        "admin": account.is_admin,
        "user_type": account.user_type,
        "deactivated": account.is_deactivated,
        "erased": account.is_erased,
        "shadow_banned": False,
        "displayname": account.display_name,
        "avatar_url": account.avatar_url,
        "creation_ts": account.created_ts,
        "last_seen_ts": account.last_seen_ts,
        "locked": account.is_locked,
        "suspended": account.is_suspended,
        "approved": True,
    }
