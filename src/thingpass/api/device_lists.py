"""A page of a tenant's devices, of those that a filter lets through."""

from __future__ import annotations

import asyncio

import msgspec

from thingpass.api.parameters import PageLink
from thingpass.api.services import Services
from thingpass.store.rows import Device, Page

SCAN_SIZE = 500


class DeviceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a device must have beyond the text search; None lets all through."""

    type_name: str | None = None
    profile_id: str | None = None
    active: bool | None = None  # heard of within its inactivity timeout, or not


async def list_devices(services: Services, tenant_id: str, link: PageLink, wanted: DeviceFilter) -> Page:
    if not (wanted.type_name or wanted.profile_id) and wanted.active is None:
        return await _list(services, tenant_id, link, limit=link.size, offset=link.offset)
    return await _scan(services, tenant_id, link, wanted)


async def _scan(services: Services, tenant_id: str, link: PageLink, wanted: DeviceFilter) -> Page:
    """Reads all devices of the tenant in slices, because who is active is known in memory."""
    rows: list[Device] = []
    matched = offset = 0
    while True:
        slice_ = await _list(services, tenant_id, link, limit=SCAN_SIZE, offset=offset)
        for device in slice_.rows:
            if _passes(services, device, wanted):
                if link.offset <= matched < link.offset + link.size:
                    rows.append(device)
                matched += 1
        offset += SCAN_SIZE
        if offset >= slice_.total:
            return Page(tuple(rows), matched)
        await asyncio.sleep(0)  # the embedded store answers without suspending; devices come in between


def _passes(services: Services, device: Device, wanted: DeviceFilter) -> bool:
    if wanted.type_name and device.profile_name != wanted.type_name:
        return False
    if wanted.profile_id and device.profile_id != wanted.profile_id:
        return False
    return wanted.active is None or wanted.active == services.device_states.is_active(device.id)


async def _list(services: Services, tenant_id: str, link: PageLink, *, limit: int, offset: int) -> Page:
    return await services.devices.list(
        tenant_id,
        limit=limit,
        offset=offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
    )
