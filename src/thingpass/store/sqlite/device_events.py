"""What happened to devices: appended in the order of time, read by device, bounded by device and by age."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from thingpass.store.rows import DeviceEvent, EventDetail
from thingpass.store.sqlite.connection import Cell, Row
from thingpass.store.sqlite.part import Part

_decode_details = msgspec.json.Decoder(dict[str, EventDetail]).decode


class DeviceEvents(Part):
    async def append_device_events(self, events: Sequence[DeviceEvent], *, kept: int) -> None:
        rows = [
            (
                event.at_ms,
                event.kind,
                event.sentence,
                msgspec.json.encode(event.details).decode(),
                event.payload,
                event.device_id,
            )
            for event in events
        ]
        devices = [(kept, device_id) for device_id in dict.fromkeys(event.device_id for event in events)]

        def append(connection: apsw.Connection) -> None:
            connection.executemany(
                "INSERT INTO device_events (device_number, at_ms, kind, sentence, details_json, payload)"
                " SELECT number, ?, ?, ?, ?, ? FROM devices WHERE id = ?",
                rows,
            )
            connection.executemany(
                "DELETE FROM device_events WHERE id IN (SELECT e.id FROM devices d CROSS JOIN device_events e"
                " ON e.device_number = d.number WHERE d.id = ?2 ORDER BY e.id DESC LIMIT -1 OFFSET ?1)",
                devices,
            )

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
