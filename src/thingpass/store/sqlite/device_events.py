"""What happened to devices: appended in the order of time, read by device, bounded by device and by age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from thingpass.store.rows import DeviceEvent, EventDetail
from thingpass.store.sqlite.connection import Cell, Row
from thingpass.store.sqlite.part import Part

_decode_details = msgspec.json.Decoder(dict[str, EventDetail]).decode


# One statement for the whole batch: the writer thread runs it without the interpreter's lock. CROSS JOIN
# keeps the batch outside and in its order.
_APPEND: Final = """\
INSERT INTO device_events (device_number, at_ms, kind, sentence, details_json, payload)
SELECT d.number, c.value ->> 1, c.value ->> 2, c.value ->> 3, c.value ->> 4, unhex(c.value ->> 5)
FROM json_each(?) c CROSS JOIN devices d ON d.id = c.value ->> 0
"""
_TRIM: Final = """\
DELETE FROM device_events WHERE id IN (
    SELECT e.id
    FROM (
        SELECT d.number AS number, (
            SELECT k.id FROM device_events k WHERE k.device_number = d.number
            ORDER BY k.id DESC LIMIT 1 OFFSET ?2
        ) AS newest_to_go
        FROM json_each(?1) c CROSS JOIN devices d ON d.id = c.value
    ) b CROSS JOIN device_events e ON e.device_number = b.number AND e.id <= b.newest_to_go
)
"""


class DeviceEvents(Part):
    async def append_device_events(self, events: Sequence[DeviceEvent], *, kept: int) -> None:
        rows = msgspec.json.encode([_row(event) for event in events]).decode()
        devices = msgspec.json.encode(list({event.device_id for event in events})).decode()

        def append(connection: apsw.Connection) -> None:
            connection.execute(_APPEND, (rows,))
            connection.execute(_TRIM, (devices, kept))

        await self._database.write(append)

    async def list_device_events(
        self,
        device_id: str,
        *,
        limit: int,
        before_id: int | None = None,
        kind: str | None = None,
        since_ms: int = 0,
    ) -> list[DeviceEvent]:
        where, bindings = "device_number = (SELECT number FROM devices WHERE id = ?)", list[Cell]([device_id])
        if before_id is not None:
            where += " AND id < ?"
            bindings.append(before_id)
        if kind is not None:
            where += " AND kind = ?"
            bindings.append(kind)
        query = (
            f"SELECT id, at_ms, kind, sentence, details_json, payload FROM device_events WHERE {where}"
            " AND at_ms >= ? ORDER BY id DESC LIMIT ?"
        )
        return await self._database.scan(
            lambda connection: [
                _read_event(device_id, row) for row in connection.execute(query, (*bindings, since_ms, limit))
            ]
        )

    async def remove_device_events(self, *, before_ms: int, limit: int) -> int:
        def remove(connection: apsw.Connection) -> int:
            connection.execute(
                "DELETE FROM device_events WHERE id IN (SELECT id FROM device_events ORDER BY id LIMIT ?)"
                " AND at_ms < ?",
                (limit, before_ms),
            )
            return connection.changes()

        return await self._database.write(remove)


def _row(event: DeviceEvent) -> tuple[object, ...]:
    details_json = msgspec.json.encode(event.details).decode()
    payload_hex = None if event.payload is None else event.payload.hex()
    return (event.device_id, event.at_ms, event.kind, event.sentence, details_json, payload_hex)


def _read_event(device_id: str, row: Row) -> DeviceEvent:
    return DeviceEvent(
        id=row[0],
        device_id=device_id,
        at_ms=row[1],
        kind=row[2],
        sentence=row[3],
        details=_decode_details(row[4]),
        payload=row[5],
    )
