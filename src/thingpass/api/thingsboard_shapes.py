"""ThingsBoard's JSON objects as this API reads and writes them (rest-api reference 1.2, 3.1, 3.4, 7.1).

Members that ThingsBoard's clients insist on are always there; `null` is written, not left out.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from thingpass.api.parameters import PageLink, parse_uuid
from thingpass.api.tokens import NULL_UUID, TokenPair
from thingpass.store.rows import Credentials, Device, DeviceProfile, User

ItemT = TypeVar("ItemT")

EXAMPLE_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
EXAMPLE_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBKDCBzqADAgECAgIQAjAK...\n-----END CERTIFICATE-----\n"
TEXT_255 = Field(default=None, max_length=255)


class Shape(BaseModel):
    """camelCase outside, snake_case inside; unknown members of a request are skipped."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class EntityId(Shape):
    entity_type: str
    id: str


class EntityReference(Shape):
    """An id as a request may give it: the type is known from the place."""

    id: Annotated[str, AfterValidator(parse_uuid)]

    model_config = ConfigDict(json_schema_extra={"example": {"entityType": "DEVICE", "id": EXAMPLE_ID}})


class BareId(Shape):
    """An id without its type: credentials have it so."""

    id: str


class ErrorShape(Shape):
    """Almost every error. `code` and `mend` are this server's own; ThingsBoard's clients skip them."""

    status: int = Field(examples=[404])
    message: str = Field(examples=[f"Device with id [{EXAMPLE_ID}] is not found"])
    error_code: int = Field(examples=[32])
    timestamp: int = Field(examples=[1609459200000])
    code: str | None = Field(default=None, examples=["not-found"])
    mend: str | None = Field(default=None)


class LoginBody(Shape):
    username: str = Field(examples=["admin@thingpass.local"])
    password: str = Field(examples=["the password that the first start printed"])


class RefreshBody(Shape):
    refresh_token: str | None = None


class PasswordBody(Shape):
    current_password: str
    new_password: str


class JwtPair(Shape):
    token: str = Field(examples=["eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9..."])
    refresh_token: str = Field(examples=["eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9..."])


class UserShape(Shape):
    id: EntityId
    created_time: int
    additional_info: JsonValue = None
    tenant_id: EntityId
    customer_id: EntityId
    email: str
    authority: str
    first_name: str | None
    last_name: str | None
    phone: str | None = None
    version: int = 1
    name: str


class DeviceBody(Shape):
    """A device to save; without `id` it is a new one. What is left out of an update is taken away."""

    id: EntityReference | None = None
    name: str | None = Field(default=None, max_length=255, examples=["Pump 1"])
    type: str | None = Field(default=None, max_length=255, examples=["default"])
    label: str | None = TEXT_255
    device_profile_id: EntityReference | None = None
    customer_id: EntityReference | None = None
    additional_info: JsonValue = None
    version: int | None = None


class DeviceShape(Shape):
    id: EntityId
    created_time: int = Field(examples=[1609459200000])
    additional_info: JsonValue
    tenant_id: EntityId
    customer_id: EntityId
    name: str = Field(examples=["Pump 1"])
    type: str = Field(examples=["default"])
    label: str | None
    device_profile_id: EntityId
    device_data: JsonValue
    firmware_id: EntityId | None = None
    software_id: EntityId | None = None
    external_id: EntityId | None = None
    version: int = Field(examples=[1])


class DeviceInfoShape(DeviceShape):
    customer_title: str | None = None
    customer_is_public: bool = False
    device_profile_name: str = Field(examples=["default"])
    active: bool = Field(description="whether the device is connected now")


class PageShape(Shape, Generic[ItemT]):
    data: list[ItemT]
    total_pages: int
    total_elements: int
    has_next: bool


class TypeShape(Shape):
    tenant_id: EntityId
    entity_type: str = "DEVICE"
    type: str


class ProfileInfoShape(Shape):
    id: EntityId
    name: str = Field(examples=["default"])
    image: str | None = None
    default_dashboard_id: EntityId | None = None
    type: str = "DEFAULT"
    transport_type: str = "DEFAULT"
    tenant_id: EntityId


class CredentialsBody(Shape):
    """Credentials to save; for a certificate its text in `credentialsValue`, `credentialsId` is computed."""

    id: EntityReference | None = None
    device_id: EntityReference | None = None
    credentials_type: str | None = Field(default=None, examples=["X509_CERTIFICATE"])
    credentials_id: str | None = None
    credentials_value: str | None = Field(default=None, examples=[EXAMPLE_CERTIFICATE])
    version: int | None = None


class CredentialsShape(Shape):
    id: BareId
    created_time: int
    device_id: EntityId
    credentials_type: str = Field(examples=["X509_CERTIFICATE"])
    credentials_id: str = Field(examples=["40be79b703ed95ab5af0008bcc640015f69407e8c2b802d01d76d9bb941aec0c"])
    credentials_value: str | None
    version: int


class DeviceWithCredentialsBody(Shape):
    device: DeviceBody
    credentials: CredentialsBody


def jwt_pair(pair: TokenPair) -> JwtPair:
    return JwtPair(token=pair.access, refresh_token=pair.refresh)


def user_shape(user: User) -> UserShape:
    return UserShape(
        id=EntityId(entity_type="USER", id=user.id),
        created_time=user.created_at_ms,
        tenant_id=EntityId(entity_type="TENANT", id=user.tenant_id),
        customer_id=EntityId(entity_type="CUSTOMER", id=NULL_UUID),
        email=user.email,
        authority=user.authority,
        first_name=user.first_name,
        last_name=user.last_name,
        name=user.email,
    )


def _device_members(device: Device) -> dict[str, JsonValue | EntityId]:
    return {
        "id": EntityId(entity_type="DEVICE", id=device.id),
        "created_time": device.created_at_ms,
        "additional_info": _json(device.additional_info_json),
        "tenant_id": EntityId(entity_type="TENANT", id=device.tenant_id),
        # "No customer" is the null UUID, not null (reference 1.2).
        "customer_id": EntityId(entity_type="CUSTOMER", id=device.customer_id or NULL_UUID),
        "name": device.name,
        "type": device.profile_name,
        "label": device.label,
        "device_profile_id": EntityId(entity_type="DEVICE_PROFILE", id=device.profile_id),
        "device_data": {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}},
        "version": device.version,
    }


def device_shape(device: Device) -> DeviceShape:
    return DeviceShape.model_validate(_device_members(device))


def device_info_shape(device: Device, *, active: bool) -> DeviceInfoShape:
    return DeviceInfoShape.model_validate(
        {**_device_members(device), "device_profile_name": device.profile_name, "active": active}
    )


def type_shape(profile: DeviceProfile) -> TypeShape:
    return TypeShape(tenant_id=EntityId(entity_type="TENANT", id=profile.tenant_id), type=profile.name)


def profile_info_shape(profile: DeviceProfile) -> ProfileInfoShape:
    return ProfileInfoShape(
        id=EntityId(entity_type="DEVICE_PROFILE", id=profile.id),
        name=profile.name,
        tenant_id=EntityId(entity_type="TENANT", id=profile.tenant_id),
    )


def credentials_shape(credentials: Credentials) -> CredentialsShape:
    return CredentialsShape(
        id=BareId(id=credentials.id),
        created_time=credentials.created_at_ms,
        device_id=EntityId(entity_type="DEVICE", id=credentials.device_id),
        credentials_type=credentials.kind,
        credentials_id=credentials.credentials_id,
        credentials_value=credentials.credentials_value,
        version=credentials.version,
    )


def page_shape(items: list[ItemT], link: PageLink, total: int) -> PageShape[ItemT]:
    return PageShape(
        data=items,
        total_pages=-(-total // link.size),
        total_elements=total,
        has_next=link.offset + link.size < total,
    )


def _json(text: str | None) -> JsonValue:
    if text is None:
        return None
    value: JsonValue = msgspec.json.decode(text)
    return value
