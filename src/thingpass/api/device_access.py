"""Which devices a caller may see: a tenant's administrator its tenant's, a customer's user its customer's."""

from __future__ import annotations

from thingpass.api.authentication import Caller
from thingpass.api.error_answers import ITEM_MISSING, NO_PERMISSION
from thingpass.api.services import Services
from thingpass.devices.roles import CUSTOMER_USER
from thingpass.errors import Forbidden, NotFound
from thingpass.store.rows import Device


async def reachable_device(services: Services, caller: Caller, device_id: str) -> Device:
    """Raises NotFound for one that is not there or is another tenant's, Forbidden for another customer's."""
    return visible(caller, await services.devices.get(caller.tenant_id, device_id))


async def device_named(services: Services, tenant_id: str, name: str) -> Device:
    """Of the tenant, whoever's it is there. Raises NotFound."""
    device = await services.devices.find_by_name(tenant_id, name)
    if device is None:
        raise NotFound(ITEM_MISSING)
    return device


def visible(caller: Caller, device: Device) -> Device:
    """The device itself. Raises Forbidden when the caller's customer does not have it."""
    if caller.authority == CUSTOMER_USER:
        check_own_customer(caller, device.customer_id)
    return device


def only_customer(caller: Caller) -> str | None:
    """Whose devices alone the caller may hear of; None: all of its tenant's. Raises Forbidden."""
    if caller.authority != CUSTOMER_USER:
        return None
    check_own_customer(caller, caller.customer_id)
    return caller.customer_id


def check_own_customer(caller: Caller, customer_id: str | None) -> None:
    """A customer's user may see its own customer and no other. Raises Forbidden."""
    if caller.authority == CUSTOMER_USER and (customer_id is None or customer_id != caller.customer_id):
        raise Forbidden(NO_PERMISSION)
