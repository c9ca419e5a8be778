"""The tenants. This step has one, made at the first start."""

from __future__ import annotations

import uuid
from typing import Final

from thingpass.clock import Clock
from thingpass.store.rows import DeviceProfile, Tenant
from thingpass.store.store import TenantStore

DEFAULT_TENANT_TITLE: Final = "Tenant"
DEFAULT_PROFILE_NAME: Final = "default"


async def ensure_default_tenant(store: TenantStore, clock: Clock) -> Tenant:
    """The first tenant; made, with its default device profile, when there is none yet."""
    tenants = await store.list_tenants()
    if tenants:
        return min(tenants, key=lambda tenant: (tenant.created_at_ms, tenant.id))
    now_ms = clock.now_ms()
    tenant = Tenant(id=str(uuid.uuid4()), created_at_ms=now_ms, title=DEFAULT_TENANT_TITLE)
    await store.add_tenant(tenant, new_profile(tenant.id, DEFAULT_PROFILE_NAME, now_ms, is_default=True))
    return tenant


def new_profile(tenant_id: str, name: str, now_ms: int, *, is_default: bool = False) -> DeviceProfile:
    """A device profile with a fresh id; not stored yet."""
    return DeviceProfile(
        id=str(uuid.uuid4()), created_at_ms=now_ms, tenant_id=tenant_id, name=name, is_default=is_default
    )
