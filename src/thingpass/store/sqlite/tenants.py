"""Tenants and their device profiles."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import NotFound
from thingpass.store.rows import DeviceProfile, Tenant
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.part import Part

_PROFILE: Final = "SELECT id, created_at_ms, tenant_id, name, is_default FROM device_profiles"


class Tenants(Part):
    async def add_tenant(self, tenant: Tenant, default_profile: DeviceProfile) -> None:
        def add(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO tenants (id, created_at_ms, title) VALUES (?, ?, ?)",
                (tenant.id, tenant.created_at_ms, tenant.title),
            )
            _insert_profile(connection, default_profile)

        await self._database.write(add)

    async def list_tenants(self) -> tuple[Tenant, ...]:
        rows = self._database.find_all(
            "SELECT id, created_at_ms, title FROM tenants ORDER BY created_at_ms, id", ()
        )
        return tuple(_tenant(row) for row in rows)

    async def add_profile(self, profile: DeviceProfile) -> None:
        await self._database.write(lambda connection: _insert_profile(connection, profile))

    async def find_profile(self, profile_id: str) -> DeviceProfile | None:
        row = self._database.find_one(f"{_PROFILE} WHERE id = ?", (profile_id,))
        return None if row is None else _profile(row)

    async def find_profile_by_name(self, tenant_id: str, name: str) -> DeviceProfile | None:
        row = self._database.find_one(f"{_PROFILE} WHERE tenant_id = ? AND name = ?", (tenant_id, name))
        return None if row is None else _profile(row)

    async def get_default_profile(self, tenant_id: str) -> DeviceProfile:
        row = self._database.find_one(f"{_PROFILE} WHERE tenant_id = ? AND is_default = 1", (tenant_id,))
        if row is None:
            raise NotFound("The tenant does not exist or has no default device profile.")
        return _profile(row)

    async def list_profiles(self, tenant_id: str) -> tuple[DeviceProfile, ...]:
        rows = self._database.find_all(
            f"{_PROFILE} WHERE tenant_id = ? ORDER BY name COLLATE NOCASE, id", (tenant_id,)
        )
        return tuple(_profile(row) for row in rows)


def _insert_profile(connection: apsw.Connection, profile: DeviceProfile) -> None:
    connection.execute(
        "INSERT INTO device_profiles (id, created_at_ms, tenant_id, name, is_default) VALUES (?, ?, ?, ?, ?)",
        (profile.id, profile.created_at_ms, profile.tenant_id, profile.name, int(profile.is_default)),
    )


def _tenant(row: Row) -> Tenant:
    return Tenant(id=row[0], created_at_ms=row[1], title=row[2])


def _profile(row: Row) -> DeviceProfile:
    return DeviceProfile(
        id=row[0], created_at_ms=row[1], tenant_id=row[2], name=row[3], is_default=bool(row[4])
    )
