"""Customers: whom a tenant gives devices to (REST reference, 7.2).

Every method is about one tenant: a customer of another tenant is not found.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import DeviceUpdated
from thingpass.clock import Clock
from thingpass.errors import AlreadyExists, Invalid, NotFound
from thingpass.store.rows import Customer, CustomerPage, Device
from thingpass.store.store import CustomerStore, DeviceStore

LONGEST_TEXT: Final = 255
PUBLIC_TITLE: Final = "Public"
"""ThingsBoard's name of the customer whose devices everybody sees; there is none here, and none by chance."""

TITLE_TAKEN: Final = "Customer with such title already exists!"
_HTML = re.compile(r"<[a-zA-Z/!?]")
_TEXTS: Final = ("title", "email", "phone", "country", "state", "city", "address", "address2", "zip")


class CustomersStore(CustomerStore, DeviceStore, Protocol):
    """What this service needs of the store."""


class CustomerService:
    """Adds, changes, finds and removes customers, and gives devices to them."""

    def __init__(self, store: CustomersStore, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    async def add(self, customer: Customer) -> Customer:
        """Stores a new one; its id, time and version are given here. Raises Invalid, AlreadyExists."""
        _check_texts(customer)
        added = msgspec.structs.replace(
            customer, id=str(uuid.uuid4()), created_at_ms=self._clock.now_ms(), version=1
        )
        try:
            await self._store.add_customer(added)
        except AlreadyExists as error:
            raise AlreadyExists(TITLE_TAKEN, constraint=error.constraint) from error
        return added

    async def update(self, tenant_id: str, customer: Customer) -> Customer:
        """Replaces everything but id, time and tenant.

        `customer.version` is the version that was read. Raises NotFound, Invalid, AlreadyExists, and
        ThingpassError with the code `version-conflict`.
        """
        stored = await self.get(tenant_id, customer.id)
        _check_texts(customer)
        wanted = msgspec.structs.replace(
            customer, tenant_id=stored.tenant_id, created_at_ms=stored.created_at_ms
        )
        try:
            return await self._store.update_customer(wanted)
        except AlreadyExists as error:
            raise AlreadyExists(TITLE_TAKEN, constraint=error.constraint) from error

    async def remove(self, tenant_id: str, customer_id: str) -> None:
        """With its users; its devices are nobody's from now on. Raises NotFound."""
        customer = await self.get(tenant_id, customer_id)
        for device_id in await self._store.remove_customer(customer.id):
            self._bus.publish(DeviceUpdated(device_id=device_id))

    async def get(self, tenant_id: str, customer_id: str) -> Customer:
        """Raises NotFound for one that does not exist or is another tenant's."""
        customer = await self._store.find_customer(customer_id)
        if customer is None or customer.tenant_id != tenant_id:
            raise NotFound(f"Customer with id [{customer_id}] is not found")
        return customer

    async def find_by_title(self, tenant_id: str, title: str) -> Customer | None:
        """Upper and lower case matter."""
        return await self._store.find_customer_by_title(tenant_id, title)

    async def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
    ) -> CustomerPage:
        """One page of the tenant's customers; `text_search` is a part of the title."""
        return await self._store.list_customers(
            tenant_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            sort_by=sort_by,
            descending=descending,
        )

    async def titles(self, devices: Iterable[Device]) -> dict[str, str]:
        """The titles of the devices' customers, by id."""
        ids = {device.customer_id for device in devices if device.customer_id is not None}
        found = [await self._store.find_customer(each) for each in ids]
        return {customer.id: customer.title for customer in found if customer is not None}

    async def check_may_have(self, tenant_id: str, customer_id: str) -> None:
        """Raises Invalid, in ThingsBoard's words, for a customer that the tenant does not have."""
        customer = await self._store.find_customer(customer_id)
        if customer is None or customer.tenant_id != tenant_id:
            raise Invalid("Can't assign device to non-existent customer!")

    async def assign(self, device: Device, customer_id: str) -> Device:
        """Gives the device to a customer of its tenant. Raises NotFound, and `version-conflict`."""
        customer = await self.get(device.tenant_id, customer_id)
        return await self._give(device, customer.id)

    async def unassign(self, device: Device) -> Device:
        """Raises Invalid when the device is nobody's."""
        if device.customer_id is None:
            raise Invalid("Device isn't assigned to any customer!")
        return await self._give(device, None)

    async def _give(self, device: Device, customer_id: str | None) -> Device:
        updated = await self._store.update_device(msgspec.structs.replace(device, customer_id=customer_id))
        self._bus.publish(DeviceUpdated(device_id=device.id))
        return updated


def _check_texts(customer: Customer) -> None:
    if not customer.title.strip():
        raise Invalid("Customer title should be specified!")
    if customer.title == PUBLIC_TITLE:
        raise Invalid("'Public' title for customer is system reserved!")
    for field in _TEXTS:
        text: str = getattr(customer, field) or ""
        if len(text) > LONGEST_TEXT:
            raise Invalid(f"Validation error: {field} length must be equal or less than {LONGEST_TEXT}")
        if "\x00" in text or _HTML.search(text):
            raise Invalid(f"Validation error: {field} is malformed")
