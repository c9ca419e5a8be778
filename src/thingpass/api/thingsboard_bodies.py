"""ThingsBoard's JSON objects as requests bring them (rest-api reference 2.1, 3.1, 3.4).

Unknown members are skipped and null is the same as absent, as in ThingsBoard.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from thingpass.api.parameters import parse_uuid, uuid_or_none
from thingpass.api.thingsboard_shapes import EXAMPLE_CERTIFICATE, EXAMPLE_ID

TEXT_255 = Field(default=None, max_length=255)


class Body(BaseModel):
    """camelCase outside, snake_case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class EntityReference(Body):
    """An id as a request may give it: the type is known from the place."""

    id: Annotated[str, AfterValidator(parse_uuid)]

    model_config = ConfigDict(json_schema_extra={"example": {"entityType": "DEVICE", "id": EXAMPLE_ID}})


class LoginBody(Body):
    username: str = Field(examples=["admin@thingpass.local"])
    password: str = Field(examples=["the password that the first start printed"])


class RefreshBody(Body):
    refresh_token: str | None = None


class PasswordBody(Body):
    current_password: str
    new_password: str


class DeviceBody(Body):
    """A device to save; without `id` it is a new one. What is left out of an update is taken away."""

    id: EntityReference | None = None
    name: str | None = Field(default=None, max_length=255, examples=["Pump 1"])
    type: str | None = Field(default=None, max_length=255, examples=["default"])
    label: str | None = TEXT_255
    device_profile_id: EntityReference | None = None
    customer_id: EntityReference | None = None
    firmware_id: EntityReference | None = None
    software_id: EntityReference | None = None
    additional_info: JsonValue = None
    version: int | None = None


class CredentialsBody(Body):
    """Credentials to save; for a certificate its text in `credentialsValue`, `credentialsId` is computed."""

    id: EntityReference | None = None
    device_id: EntityReference | None = None
    credentials_type: str | None = Field(default=None, examples=["X509_CERTIFICATE"])
    credentials_id: str | None = None
    credentials_value: str | None = Field(default=None, examples=[EXAMPLE_CERTIFICATE])
    version: int | None = None


class CustomerBody(Body):
    """A customer to save; without `id` it is a new one. What is left out of an update is taken away."""

    id: EntityReference | None = None
    title: str | None = Field(default=None, examples=["ACME"])
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    state: str | None = None
    city: str | None = None
    address: str | None = None
    address2: str | None = None
    zip: str | None = None
    additional_info: JsonValue = None
    version: int | None = None


class UserBody(Body):
    """A user to save; without `id` it is a new one, which has no password until it is activated."""

    id: EntityReference | None = None
    email: str | None = Field(default=None, examples=["clerk@acme.example"])
    authority: str | None = Field(default=None, examples=["CUSTOMER_USER"])
    customer_id: EntityReference | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    additional_info: JsonValue = None


class ActivationBody(Body):
    activate_token: str
    password: str


class ClaimBody(Body):
    """The secret that the device has said; none is the empty one."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    secret_key: str | None = Field(default=None, max_length=1_000)


class DeviceWithCredentialsBody(Body):
    device: DeviceBody
    credentials: CredentialsBody


class OtaPackageBody(Body):
    """A package to add; with `id` one whose `additionalInfo` changes."""

    id: EntityReference | None = None
    device_profile_id: EntityReference | None = None
    type: str | None = Field(default=None, examples=["FIRMWARE"])
    title: str | None = Field(default=None, max_length=255, examples=["pump-fw"])
    version: str | None = Field(default=None, max_length=255, examples=["1.2.0"])
    tag: str | None = TEXT_255
    url: str | None = TEXT_255
    uses_url: bool = False
    additional_info: JsonValue = None


class OtaAssignmentBody(Body):
    """Which package a device or a profile is given; `packageId` null takes it away."""

    type: Literal["FIRMWARE", "SOFTWARE"]
    package_id: Annotated[str | None, AfterValidator(uuid_or_none)] = None
    device_id: Annotated[str | None, AfterValidator(uuid_or_none)] = None
    device_profile_id: Annotated[str | None, AfterValidator(uuid_or_none)] = None
