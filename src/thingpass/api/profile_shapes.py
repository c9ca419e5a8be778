"""A device profile as answers carry it, and as requests bring it (rest-api reference 4.2).

Of `profileData` the transport configuration and what no column holds (alarms and the like) are kept as they
were sent, so that a client reads what it wrote; what ThingsBoard fills in is filled in when it is saved.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from pydantic import Field, JsonValue

from thingpass.api.thingsboard_bodies import TEXT_255, Body, EntityReference
from thingpass.api.thingsboard_shapes import EntityId, Milliseconds, Shape, TypeName, package_id_shape
from thingpass.errors import Invalid
from thingpass.servers.device_topics import ATTRIBUTES, TELEMETRY
from thingpass.store.rows import (
    PROVISION_DISABLED,
    PROVISION_X509_CHAIN,
    TRANSPORT_DEFAULT,
    TRANSPORT_MQTT,
    DeviceProfile,
    ProfileName,
)

# ThingsBoard's `MqttDeviceProfileTransportConfiguration` where nothing is said.
_MQTT_DEFAULTS: Final[dict[str, JsonValue]] = {
    "type": TRANSPORT_MQTT,
    "deviceTelemetryTopic": TELEMETRY.topic,
    "deviceAttributesTopic": ATTRIBUTES.topic,
    "deviceAttributesSubscribeTopic": ATTRIBUTES.topic,
    "transportPayloadTypeConfiguration": {"transportPayloadType": "JSON"},
    "sparkplug": False,
    "sparkplugAttributesMetricNames": None,
    "sendAckOnValidationException": False,
}
_DEFAULT_JSON: Final = b'{"type":"DEFAULT"}'


class ProvisionShape(Shape, frozen=True, omit_defaults=True):
    type: str
    provision_device_secret: str | None
    certificate_reg_ex_pattern: str | None = None
    allow_create_new_devices_by_x509_certificate: bool | None = msgspec.field(
        default=None, name="allowCreateNewDevicesByX509Certificate"
    )


class ProfileShape(Shape, frozen=True):
    id: EntityId
    created_time: Milliseconds
    tenant_id: EntityId
    name: TypeName
    description: str | None
    image: str | None
    type: Annotated[str, Meta(examples=["DEFAULT"])]
    transport_type: Annotated[str, Meta(examples=["MQTT"])]
    provision_type: Annotated[str, Meta(examples=["DISABLED"])]
    provision_device_key: str | None
    firmware_id: EntityId | None
    software_id: EntityId | None
    profile_data: Annotated[
        dict[str, msgspec.Raw | ProvisionShape],
        Meta(description="configuration, transportConfiguration, provisionConfiguration, alarms"),
    ]
    default: bool
    version: int
    default_rule_chain_id: EntityId | None = None
    default_dashboard_id: EntityId | None = None
    default_queue_name: str | None = None
    default_edge_rule_chain_id: EntityId | None = None
    external_id: EntityId | None = None


class ProfileInfoShape(Shape, frozen=True):
    id: EntityId
    name: TypeName
    tenant_id: EntityId
    image: str | None = None
    default_dashboard_id: EntityId | None = None
    type: str = "DEFAULT"
    transport_type: str = TRANSPORT_DEFAULT


class ProfileNameShape(Shape, frozen=True):
    id: EntityId
    name: TypeName


class ProfileBody(Body):
    """A device profile to save; without `id` it is a new one. What is left out of an update is taken away."""

    id: EntityReference | None = None
    name: str | None = Field(default=None, examples=["pump"])
    description: str | None = None
    image: str | None = None
    type: str | None = Field(default=None, examples=["DEFAULT"])
    transport_type: str | None = Field(default=None, examples=["MQTT"])
    provision_type: str | None = Field(default=None, examples=["DISABLED"])
    provision_device_key: str | None = TEXT_255
    firmware_id: EntityReference | None = None
    software_id: EntityReference | None = None
    default_rule_chain_id: EntityReference | None = None
    default_dashboard_id: EntityReference | None = None
    default_queue_name: str | None = None
    profile_data: dict[str, JsonValue] | None = None
    default: bool | None = False
    version: int | None = None


def profile_shape(profile: DeviceProfile) -> ProfileShape:
    return ProfileShape(
        id=EntityId(entity_type="DEVICE_PROFILE", id=profile.id),
        created_time=profile.created_at_ms,
        tenant_id=EntityId(entity_type="TENANT", id=profile.tenant_id),
        name=profile.name,
        description=profile.description,
        image=profile.image,
        type=profile.type,
        transport_type=profile.transport_type,
        provision_type=profile.provision_type,
        provision_device_key=profile.provision_key,
        firmware_id=package_id_shape(profile.default_firmware_id),
        software_id=package_id_shape(profile.default_software_id),
        profile_data=_profile_data(profile),
        default=profile.is_default,
        version=profile.version,
    )


def profile_info_shape(profile: DeviceProfile) -> ProfileInfoShape:
    return ProfileInfoShape(
        id=EntityId(entity_type="DEVICE_PROFILE", id=profile.id),
        name=profile.name,
        tenant_id=EntityId(entity_type="TENANT", id=profile.tenant_id),
        image=profile.image,
        type=profile.type,
        transport_type=profile.transport_type,
    )


def profile_name_shape(profile: ProfileName) -> ProfileNameShape:
    return ProfileNameShape(id=EntityId(entity_type="DEVICE_PROFILE", id=profile.id), name=profile.name)


def profile_of(body: ProfileBody, tenant_id: str) -> DeviceProfile:
    """What a request asks to be saved. Raises Invalid for what can be seen without the store."""
    if body.default_rule_chain_id is not None:
        raise Invalid("Can't assign non-existent rule chain!", mend="There are no rule chains here.")
    if body.default_dashboard_id is not None:
        raise Invalid("Can't assign non-existent dashboard!", mend="There are no dashboards here.")
    if body.default_queue_name:
        raise Invalid("Device profile is referencing to non-existent queue!")
    data = dict(body.profile_data or {})
    _object(data.pop("configuration", None), "configuration", "DEFAULT")
    transport = _object(
        data.pop("transportConfiguration", None), "transportConfiguration", body.transport_type
    )
    provision_type = body.provision_type or PROVISION_DISABLED
    provision = _object(data.pop("provisionConfiguration", None), "provisionConfiguration", provision_type)
    return DeviceProfile(
        id="" if body.id is None else body.id.id,
        created_at_ms=0,
        tenant_id=tenant_id,
        name=body.name or "",
        is_default=bool(body.default),
        description=body.description,
        image=body.image,
        type=body.type or "",
        transport_type=body.transport_type or "",
        transport_json=_transport_json(transport) if body.transport_type == TRANSPORT_MQTT else None,
        provision_type=provision_type,
        provision_key=body.provision_device_key,
        provision_secret=_text(provision, "provisionDeviceSecret"),
        provision_pattern=_text(provision, "certificateRegExPattern"),
        provision_creates=provision.get("allowCreateNewDevicesByX509Certificate") is True,
        default_firmware_id=None if body.firmware_id is None else body.firmware_id.id,
        default_software_id=None if body.software_id is None else body.software_id.id,
        data_json=_json_text({name: value for name, value in data.items() if value is not None}),
        version=body.version or 0,
    )


def _transport_json(given: dict[str, JsonValue]) -> str:
    said = {name: value for name, value in given.items() if value is not None and value != ""}
    return msgspec.json.encode(_MQTT_DEFAULTS | said).decode()


def _json_text(members: dict[str, JsonValue]) -> str | None:
    return msgspec.json.encode(members).decode() if members else None


def _object(value: JsonValue, name: str, kind: str | None) -> dict[str, JsonValue]:
    """One of the parts of `profileData`; its `type` says the same as the profile, or nothing."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"Validation error: profileData.{name} must be an object")
    given = value.get("type")
    if kind and given is not None and given != kind:
        raise Invalid(
            f"profileData.{name}.type is {str(given)[:40]!r}, and the profile says {kind[:40]!r}.",
            mend="Send them alike.",
        )
    return value


def _text(members: dict[str, JsonValue], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"Validation error: profileData.provisionConfiguration.{name} must be text")
    return value or None


def _profile_data(profile: DeviceProfile) -> dict[str, msgspec.Raw | ProvisionShape]:
    transport = profile.transport_json
    return {
        "configuration": msgspec.Raw(_DEFAULT_JSON),
        "transportConfiguration": msgspec.Raw(_DEFAULT_JSON if transport is None else transport.encode()),
        "provisionConfiguration": _provision_shape(profile),
        "alarms": msgspec.Raw(b"null"),
        **msgspec.json.decode(profile.data_json or "{}", type=dict[str, msgspec.Raw]),
    }


def _provision_shape(profile: DeviceProfile) -> ProvisionShape:
    if profile.provision_type != PROVISION_X509_CHAIN:
        return ProvisionShape(type=profile.provision_type, provision_device_secret=profile.provision_secret)
    return ProvisionShape(
        type=profile.provision_type,
        provision_device_secret=profile.provision_secret,
        certificate_reg_ex_pattern=profile.provision_pattern,
        allow_create_new_devices_by_x509_certificate=profile.provision_creates,
    )
