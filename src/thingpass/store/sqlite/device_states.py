"""What the server knows of devices by itself: thousands of short rows written with one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from thingpass.store.rows import INACTIVITY_TIMEOUT, DeviceState, DeviceStateChange
from thingpass.store.samples import decode_value
from thingpass.store.sqlite.connection import Row, get_row
from thingpass.store.sqlite.part import Part

_STATE: Final = (
    "SELECT d.id, d.number, d.created_at_ms, s.active, s.connected, s.changed_at_ms, s.connected_at_ms,"
    " s.disconnected_at_ms, s.activity_at_ms, s.alarm_at_ms, a.value"
)
_TIMEOUT: Final = (
    " LEFT JOIN attributes a ON a.device_number = d.number"
    f" AND a.scope = '{INACTIVITY_TIMEOUT[0]}' AND a.key = '{INACTIVITY_TIMEOUT[1]}'"
)
_BY_ID: Final = f"{_STATE} FROM devices d LEFT JOIN device_states s ON s.device_number = d.number{_TIMEOUT}"

# One statement for the whole batch: the writer thread runs it without the interpreter's lock, so that the
# loop goes on meanwhile. CROSS JOIN keeps the batch outside: a look-up for each of its rows.
_SAVE: Final = """\
INSERT INTO device_states (device_number, active, connected, changed_at_ms, connected_at_ms,
    disconnected_at_ms, activity_at_ms, alarm_at_ms)
SELECT d.number, c.value ->> 1, c.value ->> 2, c.value ->> 3, c.value ->> 4, c.value ->> 5, c.value ->> 6,
    c.value ->> 7
FROM json_each(?) c CROSS JOIN devices d ON d.id = c.value ->> 0
WHERE true
ON CONFLICT DO UPDATE SET
    active = excluded.active,
    connected = excluded.connected,
    changed_at_ms = coalesce(excluded.changed_at_ms, changed_at_ms),
    connected_at_ms = coalesce(excluded.connected_at_ms, connected_at_ms),
    disconnected_at_ms = coalesce(excluded.disconnected_at_ms, disconnected_at_ms),
    activity_at_ms = coalesce(excluded.activity_at_ms, activity_at_ms),
    alarm_at_ms = coalesce(excluded.alarm_at_ms, alarm_at_ms)
"""

# Never before it was last heard of, whatever the clock did meanwhile.
_ENDED_AT: Final = "max(coalesce(connected_at_ms, 0), coalesce(activity_at_ms, 0), ?)"


class DeviceStates(Part):
    async def save_device_states(self, changes: Sequence[DeviceStateChange], *, alive_at_ms: int) -> None:
        encoded = msgspec.json.encode([msgspec.structs.astuple(change) for change in changes]).decode()

        def save(connection: apsw.Connection) -> None:
            if changes:
                connection.execute(_SAVE, (encoded,))
            connection.execute("UPDATE server_life SET alive_at_ms = ?", (alive_at_ms,))

        await self._database.write(save)

    async def find_device_state(self, device_id: str) -> DeviceState | None:
        row = self._database.find_one(f"{_BY_ID} WHERE d.id = ?", (device_id,))
        return None if row is None else _read_state(row)

    async def find_device_states(self, device_ids: Sequence[str]) -> list[DeviceState]:
        wanted = msgspec.json.encode(list(device_ids)).decode()
        query = f"{_BY_ID} WHERE d.id IN (SELECT value FROM json_each(?))"
        return await self._database.scan(
            lambda connection: [_read_state(row) for row in connection.execute(query, (wanted,))]
        )

    async def list_active_states(self, *, limit: int, after_number: int = 0) -> list[DeviceState]:
        query = (
            f"{_STATE} FROM device_states s CROSS JOIN devices d ON d.number = s.device_number{_TIMEOUT}"
            " WHERE s.device_number > ? AND s.active = 1 ORDER BY s.device_number LIMIT ?"
        )
        return await self._database.scan(
            lambda connection: [_read_state(row) for row in connection.execute(query, (after_number, limit))]
        )

    async def end_open_connections(self, *, kind: str, sentence: str, at_ms: int | None = None) -> int:
        def end(connection: apsw.Connection) -> int:
            ended = at_ms
            if ended is None:
                ended = get_row(connection, "SELECT alive_at_ms FROM server_life")[0]
            connection.execute(
                "INSERT INTO device_events (device_number, at_ms, kind, sentence, details_json)"
                f" SELECT device_number, {_ENDED_AT}, ?, ?, '{{}}' FROM device_states WHERE connected = 1",
                (ended, kind, sentence),
            )
            connection.execute(
                f"UPDATE device_states SET connected = 0, disconnected_at_ms = {_ENDED_AT}"
                " WHERE connected = 1",
                (ended,),
            )
            return connection.changes()

        return await self._database.write(end)


def _read_state(row: Row) -> DeviceState:
    return DeviceState(
        device_id=row[0],
        device_number=row[1],
        device_created_at_ms=row[2],
        active=bool(row[3]),
        connected=bool(row[4]),
        changed_at_ms=row[5],
        connected_at_ms=row[6],
        disconnected_at_ms=row[7],
        activity_at_ms=row[8],
        alarm_at_ms=row[9],
        inactivity_timeout=None if row[10] is None else decode_value(row[10]),
    )
