"""The store's interface: one Protocol for each room's needs, and `Store`, which has them all.

Every method is a coroutine, so that PostgreSQL fits behind the same interface; the embedded store answers
point reads without suspending. A write that returns is durable: it survives `kill -9` and power loss.
Methods: `find_x` gives None where there is nothing, `get_x` raises NotFound, `add_x` raises AlreadyExists
with the constraint's name, `list_x` gives a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from thingpass.store.rows import (
    Activation,
    Attribute,
    Claim,
    Credentials,
    Customer,
    CustomerPage,
    DataPoint,
    Device,
    DeviceCredentials,
    DeviceEvent,
    DeviceProfile,
    DeviceState,
    DeviceStateChange,
    OtaAnnouncement,
    OtaData,
    OtaPackage,
    OtaPackagePage,
    OtaRollout,
    OtaTarget,
    Page,
    ProfileName,
    ProfilePage,
    RpcCall,
    RpcPage,
    Tenant,
    User,
    UserPage,
    Value,
)


class TenantStore(Protocol):
    async def add_tenant(self, tenant: Tenant, default_profile: DeviceProfile) -> None: ...
    async def list_tenants(self) -> tuple[Tenant, ...]: ...


class UserStore(Protocol):
    async def add_user(self, user: User) -> None: ...
    async def update_user(self, user: User) -> None:
        """E-mail, names, phone and additional information; what else a user has is set by itself.

        So a change that was read before another one cannot bring a password or a permission back.
        """

    async def set_user_password(self, user_id: str, password_hash: str) -> None: ...
    async def set_user_enabled(self, user_id: str, enabled: bool) -> None: ...
    async def find_user_by_email(self, email: str) -> User | None: ...
    async def find_user(self, user_id: str) -> User | None: ...
    async def count_users(self) -> int: ...
    async def list_users(
        self,
        tenant_id: str,
        *,
        customer_id: str | None = None,  # only this customer's
        limit: int,
        offset: int = 0,
        text_search: str | None = None,  # part of the e-mail address
        sort_by: str = "created_at_ms",  # or "email", "first_name", "last_name"
        descending: bool = False,
    ) -> UserPage: ...
    async def remove_user(self, user_id: str, *, never_the_last: str) -> bool:
        """False, and nothing happened, for the tenant's last user of the authority `never_the_last`."""

    async def save_activation(self, activation: Activation) -> None:
        """In the place of the user's earlier one."""

    async def find_activation(self, token_sha256: str) -> Activation | None: ...
    async def activate_user(self, token_sha256: str, password_hash: str) -> User | None:
        """Sets the password and uses the activation up, both or neither; None when there is no such one."""


class CustomerStore(Protocol):
    async def add_customer(self, customer: Customer) -> None: ...
    async def update_customer(self, customer: Customer) -> Customer:
        """`customer.version` is the one that was read, as with `update_device`."""

    async def remove_customer(self, customer_id: str) -> tuple[str, ...]:
        """With its users; gives the ids of its devices, which are nobody's from now on."""

    async def find_customer(self, customer_id: str) -> Customer | None: ...
    async def find_customer_by_title(self, tenant_id: str, title: str) -> Customer | None: ...
    async def list_customers(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,  # part of the title
        sort_by: str = "created_at_ms",  # or "title", "email", "country", "city"
        descending: bool = False,
    ) -> CustomerPage: ...


class ClaimStore(Protocol):
    async def add_claim(self, claim: Claim, now_ms: int) -> bool:
        """False, and nothing happened, while the device has one that has not ended."""

    async def find_claim(self, device_id: str) -> Claim | None: ...
    async def take_claim(self, device_id: str, customer_id: str) -> Device | None:
        """Gives the device to the customer and uses the claim up; None when it is somebody's already."""

    async def remove_claim(self, device_id: str) -> None: ...


class ProfileStore(Protocol):
    async def add_profile(self, profile: DeviceProfile) -> None: ...
    async def update_profile(self, profile: DeviceProfile) -> DeviceProfile:
        """All but tenant, time and `is_default`, under the next version; NotFound, `version-conflict`."""

    async def remove_profile(self, profile_id: str) -> None:
        """Raises NotFound, also for a tenant's default one, and Invalid while devices have it."""

    async def set_default_profile(self, tenant_id: str, profile_id: str) -> None:
        """The tenant's default from now on; raises NotFound."""

    async def find_profile(self, profile_id: str) -> DeviceProfile | None: ...
    async def find_profile_by_name(self, tenant_id: str, name: str) -> DeviceProfile | None: ...
    async def find_profile_by_provision_key(self, provision_key: str) -> DeviceProfile | None: ...
    async def get_default_profile(self, tenant_id: str) -> DeviceProfile: ...
    async def profile_is_used(self, profile_id: str) -> bool:
        """Whether a device has it."""

    async def list_profiles(self, tenant_id: str, *, used_only: bool = False) -> tuple[ProfileName, ...]:
        """All by name; `used_only`: those that devices have."""

    async def list_profile_page(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,  # a part of the name
        sort_by: str = "created_at_ms",  # or "name", "type", "transport_type", "description", "is_default"
        descending: bool = False,
        transport_type: str | None = None,
    ) -> ProfilePage: ...


class DeviceStore(ProfileStore, Protocol):
    async def add_device(
        self, device: Device, credentials: Credentials, server_attributes: Mapping[str, Value] | None = None
    ) -> Device:
        """All in one transaction; gives the device with its number."""

    async def update_device(self, device: Device) -> Device: ...
    async def remove_device(self, device_id: str) -> None:
        """With its credentials and attributes; its series go with the next fold."""

    async def find_device(self, device_id: str) -> Device | None: ...
    async def find_device_by_name(self, tenant_id: str, name: str) -> Device | None: ...
    async def list_devices(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        customer_id: str | None = None,  # only this customer's
        sort_by: str = "created_at_ms",  # or "name", "label", "profile_name", "customer_title"
        descending: bool = False,
        profile_id: str | None = None,  # only devices of this profile
    ) -> Page: ...


class CredentialStore(Protocol):
    @property
    def answers_at_once(self) -> bool:
        """Whether the methods that find one row never suspend, so that a caller needs no task for them."""

    async def find_credentials(self, credentials_id: str) -> DeviceCredentials | None:
        """By the exact `credentials_id`; the look-up of every CONNECT."""

    async def find_credentials_of_device(self, device_id: str) -> Credentials | None: ...
    async def update_credentials(self, credentials: Credentials) -> Credentials:
        """Replaces the device's credentials; raises AlreadyExists when another device holds that id."""


class SeriesStore(Protocol):
    async def append_samples(self, encoded: Sequence[tuple[int, bytes]]) -> None:
        """Stores one batch of (device number, `store.samples.encode_sample(...)`), in arrival order.

        Returns when it is durable. Only `telemetry.ingest` calls it, one batch at a time.
        """

    async def latest(self, device_number: int, keys: Iterable[str] | None) -> dict[str, DataPoint]:
        """The newest point of each key (of all keys when None); a later arrival wins at the same time."""

    async def series(
        self,
        device_number: int,
        keys: Sequence[str],
        *,
        start_ms: int,
        end_ms: int,
        limit: int,
        descending: bool = True,
    ) -> dict[str, list[DataPoint]]:
        """Points with start_ms <= ts < end_ms, at most `limit` a key; keys without points are left out."""

    async def series_keys(self, device_number: int) -> list[str]: ...


class AttributeStore(Protocol):
    async def save_attributes(
        self, device_id: str, scope: str, values: Mapping[str, Value], updated_at_ms: int
    ) -> None: ...
    async def add_attribute(
        self, device_id: str, scope: str, key: str, value: Value, updated_at_ms: int
    ) -> bool:
        """False, and nothing happened, when there is one of this key: who asks first has it alone."""

    async def remove_attributes(self, device_id: str, scope: str, keys: Sequence[str]) -> None: ...
    async def find_attributes(
        self, device_id: str, scope: str, keys: Sequence[str] | None
    ) -> list[Attribute]: ...


class OtaUpload(Protocol):
    """A package's bytes on their way into the store; they are nothing to anybody before `commit`."""

    @property
    def size(self) -> int: ...
    async def write(self, data: bytes) -> None:
        """Raises Unavailable (code `store-full` when the disk is)."""

    async def checksum(self, algorithm: str) -> str:
        """Of what was written, in lower-case hexadecimal; `algorithm` is one of `store.checksums`."""

    async def commit(self, data: OtaData) -> OtaPackage:
        """Durable with its row. Raises NotFound, and Invalid when the package has data already."""

    async def discard(self) -> None:
        """Forgets what was written; after `commit` it does nothing."""


class OtaPackageStore(Protocol):
    async def add_ota_package(self, package: OtaPackage) -> None:
        """Raises AlreadyExists("ota_packages.title") when title and version are taken."""

    async def update_ota_package(self, package: OtaPackage) -> OtaPackage:
        """Its additional information; nothing else of a package changes. Raises NotFound."""

    async def remove_ota_package(self, package_id: str) -> None:
        """With its bytes. Raises NotFound, and Invalid while a device or a profile has it."""

    async def find_ota_package(self, package_id: str) -> OtaPackage | None: ...
    async def find_ota_package_of_device(self, device_id: str, kind: str) -> OtaPackage | None:
        """Its own, else that of its profile."""

    async def list_ota_packages(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,  # a part of the title
        sort_by: str = "created_at_ms",  # or "title", "version", "kind", "size"
        descending: bool = False,
        fitting: tuple[str, str] | None = None,  # (profile id, kind): only what its devices could be given
    ) -> OtaPackagePage: ...
    async def begin_ota_upload(self, package_id: str) -> OtaUpload: ...
    async def read_ota_data(self, package_id: str, offset: int, size: int) -> bytes:
        """Less than `size` at the end. Raises NotFound when there is no such package or it has no bytes."""

    async def count_devices_without_ota_package(
        self, profile_id: str, kind: str, customer_id: str | None = None
    ) -> int:
        """Devices of the profile, or those that the customer has, that have none of their own, and so follow
        the profile's."""


class OtaRolloutStore(Protocol):
    """What is still to be told to devices; noted in the transaction that changes an assignment."""

    async def list_ota_changes(self, keys: Sequence[str], *, limit: int) -> tuple[OtaTarget, ...]:
        """Devices that changed by themselves, oldest first, with those of `keys` that they were told."""

    async def find_ota_rollout(self) -> OtaRollout | None:
        """The oldest that has not ended."""

    async def list_ota_targets(
        self, rollout: OtaRollout, keys: Sequence[str], *, limit: int
    ) -> tuple[OtaTarget, ...]:
        """The next devices of a rollout; none: all were looked at."""

    async def save_ota_announcements(
        self,
        announcements: Sequence[OtaAnnouncement],
        *,
        at_ms: int,
        looked_at: Sequence[OtaTarget],
        rollout: OtaRollout | None = None,
    ) -> None:
        """Shared attributes and progress in one transaction; devices that are gone are passed over.

        `looked_at` are all targets of the page; none for a rollout: it has ended.
        """

    async def list_ota_rollouts(self, tenant_id: str, *, limit: int) -> tuple[OtaRollout, ...]:
        """Newest first; of those that ended, the newest hundred of a profile are kept."""


class DeviceStateStore(Protocol):
    async def save_device_states(self, changes: Sequence[DeviceStateChange], *, alive_at_ms: int) -> None:
        """Stores what became of devices, and that the server ran at `alive_at_ms`.

        Devices that do not exist are passed over.
        """

    async def find_device_state(self, device_id: str) -> DeviceState | None:
        """None for a device that does not exist; one that was never heard of is not active."""

    async def find_device_states(self, device_ids: Sequence[str]) -> list[DeviceState]:
        """As `find_device_state`, for many; those that do not exist are left out."""

    async def list_active_states(self, *, limit: int, after_number: int = 0) -> list[DeviceState]:
        """Devices that are stored as active, by number; the next page begins after the last one's."""

    async def end_open_connections(self, *, kind: str, sentence: str, at_ms: int | None = None) -> int:
        """Notes of every device that is stored as connected that it is not, with an event; gives how many.

        They ended at `at_ms`; None: when the server was last known to run.
        """


class DeviceEventStore(Protocol):
    async def append_device_events(self, events: Sequence[DeviceEvent], *, kept: int) -> None:
        """In this order; of each device the newest `kept` stay. Devices that do not exist are passed over."""

    async def list_device_events(
        self,
        device_id: str,
        *,
        limit: int,
        before_id: int | None = None,
        kind: str | None = None,
        since_ms: int = 0,
    ) -> list[DeviceEvent]:
        """Newest first; the next page begins before the last one's id."""

    async def remove_device_events(self, *, before_ms: int, limit: int) -> int:
        """Removes at most `limit` of the oldest, as far as they are older; gives how many."""


class RpcStore(Protocol):
    """Calls to devices that outlive the server. They go with their device."""

    async def add_rpc_call(self, call: RpcCall, *, most_live: int) -> None:
        """Raises AlreadyExists, NotFound (no such device), Unavailable when the device has so many live."""

    async def update_rpc_call(self, call: RpcCall) -> bool:
        """Writes status, attempts, liveness and response, if the stored one is live. Whether it was."""

    async def find_rpc_call(self, call_id: str) -> RpcCall | None: ...
    async def find_live_rpc_call(self, device_id: str, request_id: int) -> RpcCall | None: ...
    async def list_live_rpc_calls(self, device_id: str, *, now_ms: int, limit: int) -> list[RpcCall]:
        """The oldest that are live and not past their time."""

    async def list_rpc_calls(
        self, device_id: str, *, limit: int, offset: int = 0, status: str | None = None, descending: bool
    ) -> RpcPage:
        """In the order of their making."""

    async def remove_rpc_call(self, call_id: str) -> None: ...
    async def expire_rpc_calls(self, now_ms: int, *, status: str, limit: int) -> int:
        """Gives live calls past their time this status, at most `limit` of them; how many there were."""

    async def remove_ended_rpc_calls(self, before_ms: int, *, limit: int) -> int:
        """Removes calls that have ended and whose time was over before this moment; how many there were."""


class Store(
    TenantStore,
    UserStore,
    CustomerStore,
    DeviceStore,
    CredentialStore,
    ClaimStore,
    SeriesStore,
    AttributeStore,
    OtaPackageStore,
    OtaRolloutStore,
    DeviceStateStore,
    DeviceEventStore,
    RpcStore,
    Protocol,
):
    async def open(self) -> None:
        """Opens or creates, migrates, and rebuilds what is kept in memory."""

    async def close(self) -> None: ...
    async def check(self) -> None:
        """Raises Unavailable when a write could not be stored now; for `/readyz`."""
