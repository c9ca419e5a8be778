"""What commands read of the server's JSON (ThingsBoard's names; fields that no command shows left out)."""

from __future__ import annotations

import msgspec


class EntityId(msgspec.Struct, frozen=True):
    id: str


class Device(msgspec.Struct, frozen=True, rename="camel"):
    id: EntityId
    name: str
    created_time: int = 0
    type: str = ""
    label: str | None = None


class DevicePage(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[Device, ...]
    total_elements: int
    has_next: bool


class ProfilePayload(msgspec.Struct, frozen=True, rename="camel"):
    """What payloads are written in, and the schemas of protobuf."""

    type: str = msgspec.field(default="JSON", name="transportPayloadType")
    device_telemetry_proto_schema: str | None = None
    device_attributes_proto_schema: str | None = None
    device_rpc_request_proto_schema: str | None = None
    device_rpc_response_proto_schema: str | None = None
    enable_compatibility_with_json_payload_format: bool | None = None


class ProfileTransport(msgspec.Struct, frozen=True, rename="camel"):
    device_telemetry_topic: str | None = None
    device_attributes_topic: str | None = None
    device_attributes_subscribe_topic: str | None = None
    payload: ProfilePayload = msgspec.field(
        default_factory=ProfilePayload, name="transportPayloadTypeConfiguration"
    )
    send_ack_on_validation_exception: bool | None = None


class ProfileData(msgspec.Struct, frozen=True, rename="camel"):
    transport_configuration: ProfileTransport = msgspec.field(default_factory=ProfileTransport)


class Profile(msgspec.Struct, frozen=True, rename="camel"):
    id: EntityId
    name: str
    created_time: int = 0
    description: str | None = None
    default: bool = False
    provision_type: str = "DISABLED"
    provision_device_key: str | None = None
    profile_data: ProfileData = msgspec.field(default_factory=ProfileData)


class ProfilePage(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[Profile, ...]
    total_elements: int
    has_next: bool


class Customer(msgspec.Struct, frozen=True, rename="camel"):
    id: EntityId
    title: str
    created_time: int = 0
    email: str | None = None


class CustomerPage(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[Customer, ...]
    total_elements: int
    has_next: bool


class ProfileName(msgspec.Struct, frozen=True):
    id: EntityId
    name: str


ProfileNames = tuple[ProfileName, ...]


class User(msgspec.Struct, frozen=True, rename="camel"):
    id: EntityId
    email: str
    created_time: int = 0


class UserPage(msgspec.Struct, frozen=True):
    data: tuple[User, ...]


class ActivationLink(msgspec.Struct, frozen=True):
    value: str

    def __repr__(self) -> str:
        return "ActivationLink(...)"


class Credentials(msgspec.Struct, frozen=True, rename="camel"):
    credentials_type: str
    credentials_id: str
    credentials_value: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.credentials_type!r})"  # the id may be a token, the value a password


class MqttBasic(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The JSON text inside `credentialsValue` of MQTT_BASIC."""

    client_id: str | None = None
    user_name: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"MqttBasic({self.client_id!r}, {self.user_name!r})"


class Point(msgspec.Struct, frozen=True):
    """One value of a series; the type is what the device sent (`useStrictDataTypes=true`)."""

    ts: int
    value: bool | int | float | str | list[object] | dict[str, object] | None


class Attribute(msgspec.Struct, frozen=True, rename="camel"):
    """One attribute, in its own type."""

    key: str
    value: bool | int | float | str | list[object] | dict[str, object] | None
    last_update_ts: int = 0


Series = dict[str, list[Point]]


class Connection(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One connected device."""

    device_name: str
    listener: str
    peer_address: str
    peer_port: int
    protocol: str
    client_id: str
    connected_at_ms: int
    tls_version: str | None = None
    fingerprint_sha256: str | None = None
    via_gateway: str | None = None


class Refusal(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One connection that was refused: the cause in plain words, and its mend."""

    id: int
    at_ms: int
    code: str
    sentence: str
    mend: str | None = None
    listener: str
    peer_address: str
    peer_port: int
    device_name: str | None = None
    subject: str | None = None
    fingerprint_sha256: str | None = None


class Connections(msgspec.Struct, frozen=True):
    data: tuple[Connection, ...]


class Refusals(msgspec.Struct, frozen=True):
    data: tuple[Refusal, ...]


class OtaPackage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Firmware or software that devices can be given."""

    id: EntityId
    title: str
    version: str
    type: str = ""
    url: str | None = None
    checksum_algorithm: str | None = None
    checksum: str | None = None
    data_size: int | None = None
    created_time: int = 0


class OtaPackagePage(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[OtaPackage, ...]
    total_elements: int
    has_next: bool


class OtaRollout(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A profile's package on its way to the profile's devices."""

    device_profile_name: str
    type: str
    devices: int | None
    done: int
    ended_at_ms: int | None = None


class OtaRollouts(msgspec.Struct, frozen=True):
    data: tuple[OtaRollout, ...]


class OtaState(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One device: what it is to run, what it runs, and how far it is."""

    device_name: str
    title: str | None = None
    version: str | None = None
    current_title: str | None = None
    current_version: str | None = None
    state: str | None = None
    state_at_ms: int | None = None
    error: str | None = None


class OtaStatePage(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[OtaState, ...]
    total_elements: int


class AttributeValue(msgspec.Struct, frozen=True):
    key: str
    value: object


class DeviceEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One thing that happened to a device; a will's payload as text, or as base64 if it is none."""

    at_ms: int
    kind: str
    sentence: str
    payload: str | None = None
    payload_base64: str | None = None


class DeviceEvents(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[DeviceEvent, ...]
    has_next: bool = False
