"""Device profiles: found by id, name or provision key, listed in pages."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import Invalid, NotFound, ThingpassError
from thingpass.store.rows import DeviceProfile, ProfileName, ProfilePage
from thingpass.store.sqlite.connection import Cell, Row, get_row
from thingpass.store.sqlite.part import Part

_COLUMNS: Final = (
    *("id", "created_at_ms", "tenant_id", "name", "is_default", "description", "image", "type"),
    *("transport_type", "transport_json", "provision_type", "provision_key", "provision_secret"),
    *("provision_pattern", "provision_creates", "default_firmware_id", "default_software_id"),
    *("data_json", "version"),
)
_FLAGS: Final = ("is_default", "provision_creates")
_KEPT: Final = ("id", "created_at_ms", "tenant_id", "is_default", "version")
"""What an update leaves alone; the version is counted up."""

_PROFILE: Final = f"SELECT {', '.join(_COLUMNS)} FROM device_profiles"
_INSERT: Final = (
    f"INSERT INTO device_profiles ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_CHANGEABLE: Final = tuple(column for column in _COLUMNS if column not in _KEPT)
_UPDATE: Final = (
    f"UPDATE device_profiles SET {', '.join(f'{column} = ?' for column in _CHANGEABLE)},"
    " version = version + 1 WHERE id = ?"
)
_ORDERS: Final = {
    "created_at_ms": "created_at_ms",
    "name": "name COLLATE NOCASE",
    "type": "type",
    "transport_type": "transport_type",
    "description": "description COLLATE NOCASE",
    "is_default": "is_default",
}


class Profiles(Part):
    async def add_profile(self, profile: DeviceProfile) -> None:
        await self._database.write(lambda connection: insert_profile(connection, profile))

    async def update_profile(self, profile: DeviceProfile) -> DeviceProfile:
        """`profile.version` is the version that was read, as for a device."""

        def update(connection: apsw.Connection) -> DeviceProfile:
            stored = connection.execute(f"{_PROFILE} WHERE id = ?", (profile.id,)).fetchone()
            if stored is None:
                raise NotFound("The device profile does not exist.")
            if _profile(stored).version != profile.version:
                raise ThingpassError(
                    "Device profile was already changed by someone else.",
                    mend="Read it again, then change it.",
                    code="version-conflict",
                )
            connection.execute(_UPDATE, (*_cells(profile, _CHANGEABLE), profile.id))
            return _profile(get_row(connection, f"{_PROFILE} WHERE id = ?", (profile.id,)))

        return await self._database.write(update)

    async def remove_profile(self, profile_id: str) -> None:
        def remove(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM device_profiles WHERE id = ? AND is_default = 0", (profile_id,))
            if connection.changes() == 0:
                raise NotFound("The device profile does not exist, or is the tenant's default one.")

        await self._database.write(remove)

    async def set_default_profile(self, tenant_id: str, profile_id: str) -> None:
        def change(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE device_profiles SET is_default = 0, version = version + 1"
                " WHERE tenant_id = ? AND is_default = 1 AND id <> ?",
                (tenant_id, profile_id),
            )
            connection.execute(
                "UPDATE device_profiles SET version = version + (is_default = 0), is_default = 1"
                " WHERE tenant_id = ? AND id = ?",
                (tenant_id, profile_id),
            )
            if connection.changes() == 0:
                raise NotFound("The device profile does not exist.")

        await self._database.write(change)

    async def find_profile(self, profile_id: str) -> DeviceProfile | None:
        return self._find("id = ?", profile_id)

    async def find_profile_by_name(self, tenant_id: str, name: str) -> DeviceProfile | None:
        return self._find("tenant_id = ? AND name = ?", tenant_id, name)

    async def find_profile_by_provision_key(self, provision_key: str) -> DeviceProfile | None:
        return self._find("provision_key = ?", provision_key)

    async def get_default_profile(self, tenant_id: str) -> DeviceProfile:
        profile = self._find("tenant_id = ? AND is_default = 1", tenant_id)
        if profile is None:
            raise NotFound("The tenant does not exist or has no default device profile.")
        return profile

    async def profile_is_used(self, profile_id: str) -> bool:
        sql = "SELECT 1 FROM devices WHERE profile_id = ? LIMIT 1"
        return self._database.find_one(sql, (profile_id,)) is not None

    async def list_profiles(self, tenant_id: str, *, used_only: bool = False) -> tuple[ProfileName, ...]:
        used = " AND EXISTS (SELECT 1 FROM devices d WHERE d.profile_id = p.id)" if used_only else ""
        rows = self._database.find_all(
            f"SELECT id, tenant_id, name FROM device_profiles p WHERE tenant_id = ?{used}"
            " ORDER BY name COLLATE NOCASE, id",
            (tenant_id,),
        )
        return tuple(ProfileName(*row) for row in rows)

    async def list_profile_page(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        transport_type: str | None = None,
    ) -> ProfilePage:
        """One page. `text_search` is a part of the name in any case. Raises Invalid for `sort_by`."""
        if sort_by not in _ORDERS:
            raise Invalid(
                f"Device profiles cannot be sorted by {sort_by!r}.", mend=f"Use {', '.join(_ORDERS)}."
            )
        where, bindings = "tenant_id = ?", [tenant_id]
        if transport_type is not None:
            where += " AND transport_type = ?"
            bindings.append(transport_type)
        way = "DESC" if descending else "ASC"
        listing = f"{_PROFILE} WHERE {where} ORDER BY {_ORDERS[sort_by]} {way}, id {way}"

        def read(connection: apsw.Connection) -> ProfilePage:
            rows: list[DeviceProfile] = []
            total = 0
            # SQLite folds ASCII alone; a tenant has few profiles, so the search is done here.
            for row in connection.execute(listing, bindings):
                if text_search is None or text_search.casefold() in row[3].casefold():
                    if offset <= total < offset + limit:
                        rows.append(_profile(row))
                    total += 1
            return ProfilePage(tuple(rows), total)

        return await self._database.scan(read)

    def _find(self, where: str, *bindings: Cell) -> DeviceProfile | None:
        row = self._database.find_one(f"{_PROFILE} WHERE {where}", bindings)
        return None if row is None else _profile(row)


def insert_profile(connection: apsw.Connection, profile: DeviceProfile) -> None:
    connection.execute(_INSERT, _cells(profile, _COLUMNS))


def _cells(profile: DeviceProfile, columns: tuple[str, ...]) -> list[Cell]:
    return [
        int(getattr(profile, column)) if column in _FLAGS else getattr(profile, column) for column in columns
    ]


def _profile(row: Row) -> DeviceProfile:
    members = dict(zip(_COLUMNS, row, strict=True))
    for flag in _FLAGS:
        members[flag] = bool(members[flag])
    return DeviceProfile(**members)
