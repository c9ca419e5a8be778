"""Devices: added with their credentials, found by id or name, listed in pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import apsw
import msgspec

from thingpass.errors import Invalid, NotFound, ThingpassError
from thingpass.store.rows import Credentials, Device, Page, Value
from thingpass.store.sqlite.attributes import insert_attributes
from thingpass.store.sqlite.connection import get_row
from thingpass.store.sqlite.credentials import insert_credentials
from thingpass.store.sqlite.device_rows import COLUMNS, read_device
from thingpass.store.sqlite.part import Part

_DEVICE: Final = f"SELECT {COLUMNS} FROM devices d JOIN device_profiles p ON p.id = d.profile_id"

_ORDERS: Final = {
    "created_at_ms": "d.created_at_ms",
    "name": "d.name COLLATE NOCASE",
    "label": "d.label COLLATE NOCASE",
    "profile_name": "p.name COLLATE NOCASE",
    "customer_title": "(SELECT title FROM customers WHERE id = d.customer_id) COLLATE NOCASE",
}
_SERVER_SCOPE: Final = "SERVER_SCOPE"


class Devices(Part):
    async def add_device(
        self, device: Device, credentials: Credentials, server_attributes: Mapping[str, Value] | None = None
    ) -> Device:
        def add(connection: apsw.Connection) -> Device:
            _insert_device(connection, device)
            number = connection.last_insert_rowid()
            insert_credentials(connection, credentials)
            if server_attributes:
                insert_attributes(connection, number, _SERVER_SCOPE, server_attributes, device.created_at_ms)
            return msgspec.structs.replace(device, number=number)

        return await self._database.write(add)

    async def update_device(self, device: Device) -> Device:
        """Stores name, label, profile, customer, packages and additional information under the next version.

        `device.version` is the version that was read; another one in the store means that somebody else
        changed the device since: ThingpassError with the code `version-conflict`.
        """

        def update(connection: apsw.Connection) -> Device:
            stored = connection.execute(f"{_DEVICE} WHERE d.id = ?", (device.id,)).fetchone()
            if stored is None:
                raise NotFound("The device does not exist.")
            if read_device(stored).version != device.version:
                raise ThingpassError(
                    "Device was already changed by someone else.",
                    mend="Read it again, then change it.",
                    code="version-conflict",
                )
            connection.execute(
                "UPDATE devices SET profile_id = ?, name = ?, label = ?, customer_id = ?,"
                " additional_info_json = ?, search_text = ?, firmware_id = ?, software_id = ?,"
                " version = version + 1 WHERE id = ?",
                (
                    device.profile_id,
                    device.name,
                    device.label,
                    device.customer_id,
                    device.additional_info_json,
                    _search_text(device),
                    device.firmware_id,
                    device.software_id,
                    device.id,
                ),
            )
            return read_device(get_row(connection, f"{_DEVICE} WHERE d.id = ?", (device.id,)))

        return await self._database.write(update)

    async def remove_device(self, device_id: str) -> None:
        """With its credentials and attributes; its series go with the next fold. Raises NotFound."""

        def remove(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO removed_devices (number) SELECT number FROM devices WHERE id = ?", (device_id,)
            )
            connection.execute("DELETE FROM devices WHERE id = ?", (device_id,))
            if connection.changes() == 0:
                raise NotFound("The device does not exist.")

        await self._database.write(remove)

    async def find_device(self, device_id: str) -> Device | None:
        row = self._database.find_one(f"{_DEVICE} WHERE d.id = ?", (device_id,))
        return None if row is None else read_device(row)

    async def find_device_by_name(self, tenant_id: str, name: str) -> Device | None:
        row = self._database.find_one(f"{_DEVICE} WHERE d.tenant_id = ? AND d.name = ?", (tenant_id, name))
        return None if row is None else read_device(row)

    async def list_devices(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        customer_id: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        profile_id: str | None = None,
    ) -> Page:
        """One page. `text_search` is a part of name or label in any case. Raises Invalid for `sort_by`."""
        if sort_by not in _ORDERS:
            raise Invalid(f"Devices cannot be sorted by {sort_by!r}.", mend=f"Use {', '.join(_ORDERS)}.")
        where, bindings = "d.tenant_id = ?", [tenant_id]
        if customer_id is not None:
            where += " AND d.customer_id = ?"
            bindings.append(customer_id)
        if text_search:
            where += " AND instr(d.search_text, ?) > 0"
            bindings.append(text_search.casefold())
        if profile_id is not None:
            where += " AND d.profile_id = ?"
            bindings.append(profile_id)
        # The number breaks ties, so that pages neither skip nor repeat a device.
        way = "DESC" if descending else "ASC"
        order = f"{_ORDERS[sort_by]} {way}, d.number {way}"
        listing = f"{_DEVICE} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        counting = f"SELECT count(*) FROM devices d WHERE {where}"

        def read(connection: apsw.Connection) -> Page:
            with connection:  # both queries see the same state
                rows = connection.execute(listing, (*bindings, limit, offset)).fetchall()
                total = get_row(connection, counting, bindings)[0]
            return Page(tuple(read_device(row) for row in rows), total)

        return await self._database.scan(read)


def _insert_device(connection: apsw.Connection, device: Device) -> None:
    connection.execute(
        "INSERT INTO devices (id, created_at_ms, tenant_id, profile_id, name, label, customer_id,"
        " additional_info_json, version, search_text, firmware_id, software_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            device.id,
            device.created_at_ms,
            device.tenant_id,
            device.profile_id,
            device.name,
            device.label,
            device.customer_id,
            device.additional_info_json,
            device.version,
            _search_text(device),
            device.firmware_id,
            device.software_id,
        ),
    )


def _search_text(device: Device) -> str:
    # The line feed keeps a search from matching across the border; names and labels do not contain one.
    return f"{device.name}\n{device.label or ''}".casefold()
