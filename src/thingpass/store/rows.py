"""The frozen values that come out of the store. Times are milliseconds since 1970 UTC, ids are UUID texts."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

CREDENTIALS_ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105 (ThingsBoard's name of a kind, not a token)
CREDENTIALS_X509 = "X509_CERTIFICATE"
CREDENTIALS_MQTT_BASIC = "MQTT_BASIC"

TRANSPORT_DEFAULT = "DEFAULT"
TRANSPORT_MQTT = "MQTT"

OTA_FIRMWARE = "FIRMWARE"
OTA_SOFTWARE = "SOFTWARE"
OTA_KINDS = (OTA_FIRMWARE, OTA_SOFTWARE)

PROVISION_DISABLED = "DISABLED"
PROVISION_ALLOW_CREATE = "ALLOW_CREATE_NEW_DEVICES"
PROVISION_CHECK = "CHECK_PRE_PROVISIONED_DEVICES"
PROVISION_X509_CHAIN = "X509_CERTIFICATE_CHAIN"


class JsonText(str):
    """A value that is a JSON object or array, kept as the text that was sent."""

    __slots__ = ()


EventDetail: TypeAlias = str | int | bool

INACTIVITY_TIMEOUT = ("SERVER_SCOPE", "inactivityTimeout")
"""Scope and key of the attribute by which people say how long a device may be silent."""

Value: TypeAlias = bool | int | float | str | JsonText
"""What a data point or an attribute may hold: BOOLEAN, LONG (64 bits), DOUBLE, STRING, JSON."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_at_ms: int
    title: str


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_at_ms: int
    tenant_id: str
    authority: str  # "SYS_ADMIN", "TENANT_ADMIN", "CUSTOMER_USER"
    email: str
    password_hash: str  # PHC string, Argon2id; empty: no password was chosen yet, so none is right
    first_name: str | None = None
    last_name: str | None = None
    enabled: bool = True
    customer_id: str | None = None  # of a "CUSTOMER_USER"
    phone: str | None = None
    additional_info_json: str | None = None


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """The right to choose a user's first password, for whom knows the token of this digest."""

    user_id: str
    token_sha256: str
    expires_at_ms: int


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a tenant gives devices to; its users see these devices and no others."""

    id: str
    created_at_ms: int
    tenant_id: str
    title: str
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    state: str | None = None
    city: str | None = None
    address: str | None = None
    address2: str | None = None
    zip: str | None = None
    additional_info_json: str | None = None
    version: int = 1


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_at_ms: int
    tenant_id: str
    name: str
    is_default: bool
    description: str | None = None
    image: str | None = None
    type: str = "DEFAULT"
    transport_type: str = TRANSPORT_DEFAULT
    transport_json: str | None = None  # ThingsBoard's `transportConfiguration`; None: all of it default
    provision_type: str = PROVISION_DISABLED  # PROVISION_...
    provision_key: str | None = None  # unique over the whole installation
    provision_secret: str | None = None  # PROVISION_X509_CHAIN: the authority's certificates
    provision_pattern: str | None = None  # PROVISION_X509_CHAIN: group 1 of a match is the device's name
    provision_creates: bool = False  # PROVISION_X509_CHAIN: a device that is not known yet is made
    default_firmware_id: str | None = None
    default_software_id: str | None = None
    data_json: str | None = None  # members of `profileData` that no field above holds; None: there are none
    version: int = 1

    def __repr__(self) -> str:
        return f"DeviceProfile({self.id!r}, {self.name!r})"  # never the provisioning secret


class Device(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int  # the store's own short key; series are kept under it. 0 before the device is stored
    created_at_ms: int
    tenant_id: str
    profile_id: str
    profile_name: str  # ThingsBoard's `type`; comes from the profile, is not stored with the device
    name: str
    label: str | None = None
    customer_id: str | None = None
    additional_info_json: str | None = None
    version: int = 1
    firmware_id: str | None = None  # its own OTA packages; None: its profile's
    software_id: str | None = None


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a device proves itself with. `credentials_id` is unique over the whole installation."""

    id: str
    created_at_ms: int
    device_id: str
    kind: str  # CREDENTIALS_...
    credentials_id: str
    credentials_value: str | None = None
    version: int = 1


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A device's word that whom knows its secret may have it, until then."""

    device_id: str
    secret_salt: bytes
    secret_sha256: bytes  # of salt and secret
    expires_at_ms: int


class DeviceCredentials(msgspec.Struct, frozen=True):
    """One look-up's answer: the credentials and the device that they belong to."""

    credentials: Credentials
    device: Device


class Page(msgspec.Struct, frozen=True):
    """One page of a list. `total` counts all rows that match."""

    rows: tuple[Device, ...]
    total: int


class ProfileName(msgspec.Struct, frozen=True):
    """A profile without its texts, which may be long."""

    id: str
    tenant_id: str
    name: str


class CustomerPage(msgspec.Struct, frozen=True):
    rows: tuple[Customer, ...]
    total: int


class UserPage(msgspec.Struct, frozen=True):
    rows: tuple[User, ...]
    total: int


class ProfilePage(msgspec.Struct, frozen=True):
    """One page of a list. `total` counts all rows that match."""

    rows: tuple[DeviceProfile, ...]
    total: int


class DataPoint(msgspec.Struct, frozen=True):
    """One value of one key at one time."""

    ts_ms: int
    value: Value


class Sample(msgspec.Struct, frozen=True):
    """What a device measured at one time: several keys."""

    ts_ms: int
    values: dict[str, Value]


class Attribute(msgspec.Struct, frozen=True):
    key: str
    value: Value
    updated_at_ms: int


class OtaData(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a package's bytes; the bytes themselves are read in pieces."""

    file_name: str
    content_type: str
    size: int
    algorithm: str  # a key of `store.checksums.ALGORITHMS`
    checksum: str  # lower-case hexadecimal


class OtaPackage(msgspec.Struct, frozen=True, kw_only=True):
    """Firmware or software for devices: bytes kept here, or a URL where the device finds them."""

    id: str
    created_at_ms: int
    tenant_id: str
    profile_id: str | None  # None: for devices of every profile
    kind: str  # OTA_...
    title: str
    version: str
    tag: str | None = None
    url: str | None = None
    additional_info_json: str | None = None
    data: OtaData | None = None  # None: a URL, or nothing was uploaded yet


class OtaPackagePage(msgspec.Struct, frozen=True):
    """One page of a list. `total` counts all rows that match."""

    rows: tuple[OtaPackage, ...]
    total: int


class OtaTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A device that may have to be told of a package, and what it was told last."""

    device_id: str
    device_number: int
    kind: str
    since_ms: int  # when the assignment changed
    package: OtaPackage | None  # None: it has none any more
    told: dict[str, Value]  # its shared attributes, of the keys that were asked for
    change_id: int = 0  # of its own change; 0: it is one of a rollout


class OtaAnnouncement(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is told: shared attributes that go and come, in one transaction."""

    target: OtaTarget
    removed: tuple[str, ...]
    values: dict[str, Value]


class OtaRollout(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's package on its way to the profile's devices."""

    id: int
    tenant_id: str
    profile_id: str
    profile_name: str
    kind: str
    package_id: str | None  # None: it was taken away
    created_at_ms: int
    devices: int | None  # None: not counted yet
    after_number: int
    done: int
    told: int
    ended_at_ms: int | None


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows of a device by itself. A time is None when it never came to that."""

    device_id: str
    device_number: int
    device_created_at_ms: int
    active: bool
    connected: bool
    changed_at_ms: int | None  # when `active` changed last
    connected_at_ms: int | None
    disconnected_at_ms: int | None
    activity_at_ms: int | None
    alarm_at_ms: int | None
    inactivity_timeout: Value | None  # the attribute INACTIVITY_TIMEOUT, whatever people wrote there


class DeviceStateChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a device. A time that is None stays as it is stored."""

    device_id: str
    active: bool
    connected: bool
    changed_at_ms: int | None = None
    connected_at_ms: int | None = None
    disconnected_at_ms: int | None = None
    activity_at_ms: int | None = None
    alarm_at_ms: int | None = None


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a device, for people to read later."""

    id: int = 0  # the store's; counts up. 0 before the event is stored
    device_id: str
    at_ms: int
    kind: str
    sentence: str
    details: dict[str, EventDetail]
    payload: bytes | None = None

    def __repr__(self) -> str:
        return f"DeviceEvent({self.id}, {self.device_id!r}, {self.at_ms}, {self.kind!r})"


class RpcCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to a device that is kept until it has ended, and for some time after that."""

    id: str
    tenant_id: str
    device_id: str
    created_at_ms: int
    expires_at_ms: int
    request_id: int  # the id that the device sees
    oneway: bool
    method: str
    params_json: str
    retries: int  # how often it may be sent again
    attempts: int = 0  # how often it was sent and not acknowledged
    status: str = "QUEUED"  # messaging.rpc_statuses
    live: bool = True  # it may still be sent or answered
    response: bytes | None = None  # the device's answer as it came
    additional_info_json: str | None = None


class RpcPage(msgspec.Struct, frozen=True):
    """One page of calls. `total` counts all that match."""

    rows: tuple[RpcCall, ...]
    total: int
