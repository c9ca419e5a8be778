"""Attributes: named values of a device, in a scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from thingpass.errors import NotFound
from thingpass.store.rows import Attribute, Value
from thingpass.store.samples import decode_value, encode_value
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.part import Part


class Attributes(Part):
    async def save_attributes(
        self, device_id: str, scope: str, values: Mapping[str, Value], updated_at_ms: int
    ) -> None:
        """Adds or replaces. Raises NotFound when the device does not exist, Invalid for a value."""
        encoded = [(key, encode_value(value)) for key, value in values.items()]

        def save(connection: apsw.Connection) -> None:
            number = _number(connection, device_id)
            connection.executemany(
                "INSERT INTO attributes (device_number, scope, key, value, updated_at_ms)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET value = excluded.value, updated_at_ms = excluded.updated_at_ms",
                [(number, scope, key, value, updated_at_ms) for key, value in encoded],
            )

        await self._database.write(save)

    async def add_attribute(
        self, device_id: str, scope: str, key: str, value: Value, updated_at_ms: int
    ) -> bool:
        """Whether it was added; False when there is one of this key. Raises NotFound without the device."""
        encoded = encode_value(value)

        def add(connection: apsw.Connection) -> bool:
            number = _number(connection, device_id)
            connection.execute(
                "INSERT INTO attributes (device_number, scope, key, value, updated_at_ms)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (number, scope, key, encoded, updated_at_ms),
            )
            return connection.changes() == 1

        return await self._database.write(add)

    async def remove_attributes(self, device_id: str, scope: str, keys: Sequence[str]) -> None:
        """Keys that are not there are no error."""

        def remove(connection: apsw.Connection) -> None:
            connection.executemany(
                "DELETE FROM attributes WHERE device_number = (SELECT number FROM devices WHERE id = ?)"
                " AND scope = ? AND key = ?",
                [(device_id, scope, key) for key in keys],
            )

        await self._database.write(remove)

    async def find_attributes(
        self, device_id: str, scope: str, keys: Sequence[str] | None
    ) -> list[Attribute]:
        """In the order of their keys; all of the scope when `keys` is None."""
        rows = self._database.find_all(
            "SELECT key, value, updated_at_ms FROM attributes"
            " WHERE device_number = (SELECT number FROM devices WHERE id = ?) AND scope = ? ORDER BY key",
            (device_id, scope),
        )
        wanted = None if keys is None else frozenset(keys)
        return [_attribute(row) for row in rows if wanted is None or row[0] in wanted]


def insert_attributes(
    connection: apsw.Connection, number: int, scope: str, values: Mapping[str, Value], updated_at_ms: int
) -> None:
    """Of a device that has none yet."""
    connection.executemany(
        "INSERT INTO attributes (device_number, scope, key, value, updated_at_ms) VALUES (?, ?, ?, ?, ?)",
        [(number, scope, key, encode_value(value), updated_at_ms) for key, value in values.items()],
    )


def _number(connection: apsw.Connection, device_id: str) -> int:
    row = connection.execute("SELECT number FROM devices WHERE id = ?", (device_id,)).fetchone()
    if row is None:
        raise NotFound("The device does not exist.")
    number: int = row[0]
    return number


def _attribute(row: Row) -> Attribute:
    return Attribute(row[0], decode_value(row[1]), row[2])
