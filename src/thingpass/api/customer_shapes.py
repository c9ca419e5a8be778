"""ThingsBoard's JSON objects of customers and claims as answers carry them (rest-api reference 3.6, 7.2)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from thingpass.api.thingsboard_shapes import DeviceShape, EntityId, Milliseconds, Shape, device_shape
from thingpass.store.rows import Customer, Device

Title = Annotated[str, Meta(examples=["ACME"])]


class CustomerShape(Shape, frozen=True):
    id: EntityId
    created_time: Milliseconds
    tenant_id: EntityId
    title: Title
    name: Title
    email: str | None
    phone: str | None
    country: str | None
    state: str | None
    city: str | None
    address: str | None
    address2: str | None
    zip: str | None
    additional_info: msgspec.Raw | None
    version: int
    external_id: EntityId | None = None


class CustomerInfoShape(Shape, frozen=True):
    title: Title
    is_public: bool = False


class ClaimShape(Shape, frozen=True):
    device: DeviceShape
    response: Annotated[str, Meta(examples=["SUCCESS"])]


class LinkShape(Shape, frozen=True):
    value: Annotated[
        str, Meta(examples=["http://gateway.example.org:8080/api/noauth/activate?activateToken=..."])
    ]
    ttl_ms: int


def customer_shape(customer: Customer) -> CustomerShape:
    info = customer.additional_info_json
    return CustomerShape(
        id=EntityId(entity_type="CUSTOMER", id=customer.id),
        created_time=customer.created_at_ms,
        tenant_id=EntityId(entity_type="TENANT", id=customer.tenant_id),
        title=customer.title,
        name=customer.title,
        email=customer.email,
        phone=customer.phone,
        country=customer.country,
        state=customer.state,
        city=customer.city,
        address=customer.address,
        address2=customer.address2,
        zip=customer.zip,
        additional_info=None if info is None else msgspec.Raw(info.encode()),
        version=customer.version,
    )


def claim_shape(device: Device, response: str) -> ClaimShape:
    return ClaimShape(device=device_shape(device), response=response)
