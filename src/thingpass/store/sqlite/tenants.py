"""Tenants, each made with its default device profile."""

from __future__ import annotations

import apsw

from thingpass.store.rows import DeviceProfile, Tenant
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.part import Part
from thingpass.store.sqlite.profiles import insert_profile


class Tenants(Part):
    async def add_tenant(self, tenant: Tenant, default_profile: DeviceProfile) -> None:
        def add(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO tenants (id, created_at_ms, title) VALUES (?, ?, ?)",
                (tenant.id, tenant.created_at_ms, tenant.title),
            )
            insert_profile(connection, default_profile)

        await self._database.write(add)

    async def list_tenants(self) -> tuple[Tenant, ...]:
        rows = self._database.find_all(
            "SELECT id, created_at_ms, title FROM tenants ORDER BY created_at_ms, id", ()
        )
        return tuple(_tenant(row) for row in rows)


def _tenant(row: Row) -> Tenant:
    return Tenant(id=row[0], created_at_ms=row[1], title=row[2])
