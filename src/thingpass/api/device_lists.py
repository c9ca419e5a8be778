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
    profile_id = wanted.profile_id
    if wanted.type_name:  # ThingsBoard's `type` is the name of the profile
        profile = await services.store.find_profile_by_name(tenant_id, wanted.type_name)
        if profile is None or profile_id not in (None, profile.id):
            return Page((), 0)
        profile_id = profile.id
    if wanted.active is None:
        return await _list(services, tenant_id, link, profile_id, limit=link.size, offset=link.offset)
    return await _scan(services, tenant_id, link, profile_id, active=wanted.active)


async def _scan(
    services: Services, tenant_id: str, link: PageLink, profile_id: str | None, *, active: bool
) -> Page:
    """Reads all devices in slices, because who is active is known in memory."""
    rows: list[Device] = []
    matched = offset = 0
    while True:
        slice_ = await _list(services, tenant_id, link, profile_id, limit=SCAN_SIZE, offset=offset)
        for device in slice_.rows:
            if active == services.device_states.is_active(device.id):
                if link.offset <= matched < link.offset + link.size:
                    rows.append(device)
                matched += 1
        offset += SCAN_SIZE
        if offset >= slice_.total:
            return Page(tuple(rows), matched)
        await asyncio.sleep(0)  # the embedded store answers without suspending; devices come in between


async def _list(
    services: Services, tenant_id: str, link: PageLink, profile_id: str | None, *, limit: int, offset: int
) -> Page:
    return await services.devices.list(
        tenant_id,
        limit=limit,
        offset=offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
        profile_id=profile_id,
    )
