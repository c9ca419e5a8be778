"""A page of a tenant's devices, of those that a filter lets through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from thingpass.api.parameters import PageLink
from thingpass.api.services import Services
from thingpass.api.thingsboard_shapes import DeviceInfoShape, device_info_shape
from thingpass.store.rows import Device, Page

SCAN_SIZE = 500


class DeviceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a device must have beyond the text search; None lets all through."""

    type_name: str | None = None
    profile_id: str | None = None
    active: bool | None = None  # heard of within its inactivity timeout, or not
    customer_id: str | None = None


async def list_devices(services: Services, tenant_id: str, link: PageLink, wanted: DeviceFilter) -> Page:
    if wanted.type_name:  # ThingsBoard's `type` is the name of the profile
        profile = await services.store.find_profile_by_name(tenant_id, wanted.type_name)
        if profile is None or wanted.profile_id not in (None, profile.id):
            return Page((), 0)
        wanted = msgspec.structs.replace(wanted, profile_id=profile.id)
    if wanted.active is None:
        return await _list(services, tenant_id, link, wanted, limit=link.size, offset=link.offset)
    return await _scan(services, tenant_id, link, wanted)


async def _scan(services: Services, tenant_id: str, link: PageLink, wanted: DeviceFilter) -> Page:
    """Reads all devices in slices, because who is active is known in memory."""
    rows: list[Device] = []
    matched = offset = 0
    while True:
        slice_ = await _list(services, tenant_id, link, wanted, limit=SCAN_SIZE, offset=offset)
        for device in slice_.rows:
            if wanted.active == services.device_states.is_active(device.id):
                if link.offset <= matched < link.offset + link.size:
                    rows.append(device)
                matched += 1
        offset += SCAN_SIZE
        if offset >= slice_.total:
            return Page(tuple(rows), matched)
        await asyncio.sleep(0)  # the embedded store answers without suspending; devices come in between


async def device_infos(services: Services, devices: Sequence[Device]) -> list[DeviceInfoShape]:
    """What their lists show of devices beyond themselves: whether they are active, and whose they are."""
    titles = await services.customers.titles(devices)
    return [
        device_info_shape(
            device,
            active=services.device_states.is_active(device.id),
            customer_title=None if device.customer_id is None else titles.get(device.customer_id),
        )
        for device in devices
    ]


async def _list(
    services: Services, tenant_id: str, link: PageLink, wanted: DeviceFilter, *, limit: int, offset: int
) -> Page:
    return await services.devices.list(
        tenant_id,
        limit=limit,
        offset=offset,
        text_search=link.text_search,
        customer_id=wanted.customer_id,
        sort_by=link.sort_by,
        descending=link.descending,
        profile_id=wanted.profile_id,
    )
