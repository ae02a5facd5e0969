"""Everything of encryption/, built in order from the parts below."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.encryption.cross_signing import CrossSigning
from homeserver.encryption.dehydrated_devices import DehydratedDevices
from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.key_backups import KeyBackups
from homeserver.encryption.key_counts import KeyCounts
from homeserver.encryption.key_queries import KeyQueries
from homeserver.encryption.key_signatures import KeySignatures
from homeserver.encryption.one_time_keys import OneTimeKeys
from homeserver.encryption.remote import NoRemoteKeys, RemoteKeys
from homeserver.storage.cross_signing import CrossSigningStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.dehydrated_devices import DehydratedDeviceStore
from homeserver.storage.device_keys import DeviceKeyStore
from homeserver.storage.devices import DeviceStore
from homeserver.storage.key_backups import KeyBackupStore
from homeserver.storage.one_time_keys import OneTimeKeyStore
from homeserver.stream import Announcer
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class EncryptionServices:
    """The services of encryption/, one a noun. `cross_signing_store` tells /sync whose keys somebody signed."""

    device_keys: DeviceKeys
    one_time_keys: OneTimeKeys
    key_queries: KeyQueries
    key_counts: KeyCounts
    cross_signing: CrossSigning
    key_signatures: KeySignatures
    key_backups: KeyBackups
    dehydrated_devices: DehydratedDevices
    cross_signing_store: CrossSigningStore

    def forget_all(self) -> None:
        """Drop what is in memory, because another process may have changed anything."""
        self.key_counts.forget_all()


def build_encryption_services(
    db: Database, announcer: Announcer, users: UserServices, server_name: str, remote: RemoteKeys | None = None
) -> EncryptionServices:
    """Everything that keeps keys; it hears of devices and accounts that end."""
    remote = remote or NoRemoteKeys()
    device_key_store, one_time_key_store = DeviceKeyStore(db), OneTimeKeyStore(db)
    cross_signing_store, device_store = CrossSigningStore(db), DeviceStore(db)
    counts = KeyCounts(one_time_key_store)
    device_keys = DeviceKeys(
        db, device_key_store, one_time_key_store, cross_signing_store, device_store, users.devices, counts
    )
    services = EncryptionServices(
        device_keys=device_keys,
        one_time_keys=OneTimeKeys(db, one_time_key_store, counts, remote, server_name),
        key_queries=KeyQueries(device_key_store, cross_signing_store, remote, server_name),
        key_counts=counts,
        cross_signing=CrossSigning(db, cross_signing_store, device_store, users.devices),
        key_signatures=KeySignatures(
            db, cross_signing_store, device_key_store, users.devices, announcer, remote, server_name
        ),
        key_backups=KeyBackups(db, KeyBackupStore(db)),
        dehydrated_devices=DehydratedDevices(
            db, DehydratedDeviceStore(db), device_store, users.devices, device_keys, users.to_device
        ),
        cross_signing_store=cross_signing_store,
    )

    async def deactivated(user_id: str, erase: bool) -> None:
        async def remove(txn: Transaction) -> None:
            await services.cross_signing.remove_user(txn, user_id)
            await services.key_backups.remove_user(txn, user_id)

        await db.write(remove)

    users.hooks.device_removed.append(services.device_keys.remove_device)
    users.hooks.device_removed.append(services.dehydrated_devices.remove_device)
    users.hooks.deactivated.append(deactivated)
    return services
