"""ThingsBoard's JSON objects as answers carry them (rest-api reference 1.2, 1.3, 3.1, 3.4, 4.2, 7.1).

Members that ThingsBoard's clients insist on are always there; `null` is written, not left out. These are
msgspec structs and not pydantic models, because a page of ten thousand devices is made on the loop that
devices share: 5 microseconds a device instead of 100.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypedDict, TypeVar

import msgspec
from msgspec import Meta

from thingpass.api.parameters import PageLink
from thingpass.api.tokens import NULL_UUID, TokenPair
from thingpass.store.rows import Credentials, Device, ProfileName, User

ItemT = TypeVar("ItemT")

EXAMPLE_ID: Final = "784f394c-42b6-435a-983c-b7beff2784f9"
EXAMPLE_CERTIFICATE: Final = (
    "-----BEGIN CERTIFICATE-----\nMIIBKDCBzqADAgECAgIQAjAK...\n-----END CERTIFICATE-----\n"
)

Id = Annotated[str, Meta(examples=[EXAMPLE_ID])]
Name = Annotated[str, Meta(examples=["Pump 1"])]
TypeName = Annotated[str, Meta(examples=["default"])]
Milliseconds = Annotated[int, Meta(description="since 1970", examples=[1609459200000])]
Jwt = Annotated[str, Meta(examples=["eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9..."])]
CredentialsKind = Annotated[str, Meta(examples=["X509_CERTIFICATE"])]
CredentialsId = Annotated[
    str, Meta(examples=["40be79b703ed95ab5af0008bcc640015f69407e8c2b802d01d76d9bb941aec0c"])
]


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """camelCase outside, snake_case inside."""


class EntityId(Shape, frozen=True):
    entity_type: Annotated[str, Meta(examples=["DEVICE"])]
    id: Id


class BareId(Shape, frozen=True):
    """An id without its type: credentials have it so."""

    id: Id


class ErrorShape(Shape, frozen=True):
    """Almost every error. `code` and `mend` are this server's own; ThingsBoard's clients skip them."""

    status: Annotated[int, Meta(examples=[404])]
    message: Annotated[str, Meta(examples=[f"Device with id [{EXAMPLE_ID}] is not found"])]
    error_code: Annotated[int, Meta(examples=[32])]
    timestamp: Milliseconds
    code: Annotated[str, Meta(examples=["not-found"])] | None = None
    mend: Annotated[str, Meta(description="what to do next")] | None = None


class JwtPair(Shape, frozen=True):
    token: Jwt
    refresh_token: Jwt


class UserShape(Shape, frozen=True):
    id: EntityId
    created_time: Milliseconds
    tenant_id: EntityId
    customer_id: EntityId
    email: str
    authority: Annotated[str, Meta(examples=["TENANT_ADMIN"])]
    first_name: str | None
    last_name: str | None
    name: str
    additional_info: msgspec.Raw | None = None
    phone: str | None = None
    version: int = 1


class DeviceShape(Shape, frozen=True, kw_only=True):
    id: EntityId
    created_time: Milliseconds
    additional_info: msgspec.Raw | None
    tenant_id: EntityId
    customer_id: EntityId
    name: Name
    type: TypeName
    label: str | None
    device_profile_id: EntityId
    version: Annotated[int, Meta(examples=[1])]
    device_data: dict[str, dict[str, str]]
    firmware_id: EntityId | None
    software_id: EntityId | None
    external_id: EntityId | None = None


class DeviceInfoShape(DeviceShape, frozen=True, kw_only=True):
    device_profile_name: TypeName
    active: Annotated[bool, Meta(description="whether it was heard of within its inactivity timeout")]
    customer_title: str | None = None
    customer_is_public: bool = False


class PageShape(Shape, Generic[ItemT], frozen=True):
    data: list[ItemT]
    total_pages: int
    total_elements: int
    has_next: bool


class TypeShape(Shape, frozen=True):
    tenant_id: EntityId
    type: TypeName
    entity_type: str = "DEVICE"


class CredentialsShape(Shape, frozen=True):
    id: BareId
    created_time: Milliseconds
    device_id: EntityId
    credentials_type: CredentialsKind
    credentials_id: CredentialsId
    credentials_value: str | None
    version: int


_DEVICE_DATA: Final = {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}}


def jwt_pair(pair: TokenPair) -> JwtPair:
    return JwtPair(token=pair.access, refresh_token=pair.refresh)


def user_shape(user: User) -> UserShape:
    return UserShape(
        id=EntityId(entity_type="USER", id=user.id),
        created_time=user.created_at_ms,
        tenant_id=EntityId(entity_type="TENANT", id=user.tenant_id),
        customer_id=EntityId(entity_type="CUSTOMER", id=user.customer_id or NULL_UUID),
        email=user.email,
        authority=user.authority,
        first_name=user.first_name,
        last_name=user.last_name,
        name=user.email,
        additional_info=_raw(user.additional_info_json),
        phone=user.phone,
    )


class _DeviceMembers(TypedDict):
    """What a device and its info have in common."""

    id: EntityId
    created_time: int
    additional_info: msgspec.Raw | None
    tenant_id: EntityId
    customer_id: EntityId
    name: str
    type: str
    label: str | None
    device_profile_id: EntityId
    version: int
    device_data: dict[str, dict[str, str]]
    firmware_id: EntityId | None
    software_id: EntityId | None


def _device_members(device: Device) -> _DeviceMembers:
    return {
        "id": EntityId(entity_type="DEVICE", id=device.id),
        "created_time": device.created_at_ms,
        "additional_info": _raw(device.additional_info_json),
        "tenant_id": EntityId(entity_type="TENANT", id=device.tenant_id),
        # "No customer" is the null UUID, not null (reference 1.2).
        "customer_id": EntityId(entity_type="CUSTOMER", id=device.customer_id or NULL_UUID),
        "name": device.name,
        "type": device.profile_name,
        "label": device.label,
        "device_profile_id": EntityId(entity_type="DEVICE_PROFILE", id=device.profile_id),
        "version": device.version,
        "device_data": _DEVICE_DATA,
        "firmware_id": package_id_shape(device.firmware_id),
        "software_id": package_id_shape(device.software_id),
    }


def device_shape(device: Device) -> DeviceShape:
    return DeviceShape(**_device_members(device))


def device_info_shape(device: Device, *, active: bool, customer_title: str | None = None) -> DeviceInfoShape:
    return DeviceInfoShape(
        **_device_members(device),
        device_profile_name=device.profile_name,
        active=active,
        customer_title=customer_title,
    )


def type_shape(profile: ProfileName) -> TypeShape:
    return TypeShape(tenant_id=EntityId(entity_type="TENANT", id=profile.tenant_id), type=profile.name)


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


def package_id_shape(package_id: str | None) -> EntityId | None:
    return None if package_id is None else EntityId(entity_type="OTA_PACKAGE", id=package_id)


def _raw(json_text: str | None) -> msgspec.Raw | None:
    return None if json_text is None else msgspec.Raw(json_text.encode())
