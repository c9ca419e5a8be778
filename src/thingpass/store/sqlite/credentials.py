"""What devices prove themselves with."""

from __future__ import annotations

import sys
from typing import Final

import apsw

from thingpass.errors import NotFound
from thingpass.store.rows import Credentials, DeviceCredentials
from thingpass.store.sqlite import device_rows
from thingpass.store.sqlite.connection import Row, get_row
from thingpass.store.sqlite.part import Part

_COLUMNS: Final = (
    "c.id, c.created_at_ms, c.device_id, c.kind, c.credentials_id, c.credentials_value, c.version"
)
_OF_DEVICE: Final = (
    f"SELECT {_COLUMNS} FROM credentials c WHERE c.device_id = ? ORDER BY c.created_at_ms LIMIT 1"
)
_WITH_DEVICE: Final = (
    f"SELECT {device_rows.COLUMNS}, {_COLUMNS} FROM credentials c JOIN devices d ON d.id = c.device_id"
    " JOIN device_profiles p ON p.id = d.profile_id WHERE c.credentials_id = ?"
)


class CredentialRows(Part):
    async def find_credentials(self, credentials_id: str) -> DeviceCredentials | None:
        row = self._database.find_one(_WITH_DEVICE, (credentials_id,))
        if row is None:
            return None
        return DeviceCredentials(_credentials(row[device_rows.COLUMN_COUNT :]), device_rows.read_device(row))

    async def find_credentials_of_device(self, device_id: str) -> Credentials | None:
        row = self._database.find_one(_OF_DEVICE, (device_id,))
        return None if row is None else _credentials(row)

    async def update_credentials(self, credentials: Credentials) -> Credentials:
        """Replaces the device's credentials under the next version.

        Raises AlreadyExists("credentials.credentials_id") when another device holds that id, NotFound when
        the device does not exist.
        """

        def update(connection: apsw.Connection) -> Credentials:
            stored = connection.execute(_OF_DEVICE, (credentials.device_id,)).fetchone()
            if stored is None:
                raise NotFound("The device does not exist.")
            connection.execute(
                "UPDATE credentials SET kind = ?, credentials_id = ?, credentials_value = ?,"
                " version = version + 1 WHERE id = ?",
                (
                    credentials.kind,
                    credentials.credentials_id,
                    credentials.credentials_value,
                    _credentials(stored).id,
                ),
            )
            return _credentials(get_row(connection, _OF_DEVICE, (credentials.device_id,)))

        return await self._database.write(update)


def insert_credentials(connection: apsw.Connection, credentials: Credentials) -> None:
    connection.execute(
        "INSERT INTO credentials (id, created_at_ms, device_id, kind, credentials_id, credentials_value,"
        " version) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            credentials.id,
            credentials.created_at_ms,
            credentials.device_id,
            credentials.kind,
            credentials.credentials_id,
            credentials.credentials_value,
            credentials.version,
        ),
    )


def _credentials(row: Row) -> Credentials:
    return Credentials(
        id=row[0],
        created_at_ms=row[1],
        device_id=row[2],
        kind=sys.intern(row[3]),
        credentials_id=row[4],
        credentials_value=row[5],
        version=row[6],
    )
