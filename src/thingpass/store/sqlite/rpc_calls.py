"""Calls to devices that are kept until they have ended."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import NotFound, Unavailable
from thingpass.store.rows import RpcCall, RpcPage
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.part import Part

_CALL: Final = (
    "SELECT c.id, d.tenant_id, d.id, c.created_at_ms, c.expires_at_ms, c.request_id, c.oneway, c.method,"
    " c.params_json, c.retries, c.attempts, c.status, c.live, c.response, c.additional_info_json"
    " FROM rpc_calls c JOIN devices d ON d.number = c.device_number"
)
_OF_DEVICE: Final = "c.device_number = (SELECT number FROM devices WHERE id = ?)"


class RpcCalls(Part):
    async def add_rpc_call(self, call: RpcCall, *, most_live: int) -> None:
        def add(connection: apsw.Connection) -> None:
            device = connection.execute(
                "SELECT number FROM devices WHERE id = ?", (call.device_id,)
            ).fetchone()
            if device is None:
                raise NotFound("The device does not exist.")
            live = connection.execute(
                "SELECT count(*) FROM rpc_calls WHERE device_number = ? AND live = 1", device
            ).fetchone()
            if live is not None and live[0] >= most_live:
                raise Unavailable(
                    f"{most_live} calls are waiting for this device already.",
                    mend="Wait until it has taken some, or delete those that are no longer wanted.",
                    code="too-many-calls",
                )
            connection.execute(
                "INSERT INTO rpc_calls (id, device_number, created_at_ms, expires_at_ms, request_id, oneway,"
                " method, params_json, retries, attempts, status, live, response, additional_info_json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    call.id,
                    device[0],
                    call.created_at_ms,
                    call.expires_at_ms,
                    call.request_id,
                    int(call.oneway),
                    call.method,
                    call.params_json,
                    call.retries,
                    call.attempts,
                    call.status,
                    int(call.live),
                    call.response,
                    call.additional_info_json,
                ),
            )

        await self._database.write(add)

    async def update_rpc_call(self, call: RpcCall) -> bool:
        def update(connection: apsw.Connection) -> bool:
            connection.execute(
                "UPDATE rpc_calls SET attempts = ?, status = ?, live = ?, response = ?"
                " WHERE id = ? AND live = 1",
                (call.attempts, call.status, int(call.live), call.response, call.id),
            )
            return connection.changes() > 0

        return await self._database.write(update)

    async def find_rpc_call(self, call_id: str) -> RpcCall | None:
        row = self._database.find_one(f"{_CALL} WHERE c.id = ?", (call_id,))
        return None if row is None else _call(row)

    async def find_live_rpc_call(self, device_id: str, request_id: int) -> RpcCall | None:
        row = self._database.find_one(
            f"{_CALL} WHERE {_OF_DEVICE} AND c.request_id = ? AND c.live = 1", (device_id, request_id)
        )
        return None if row is None else _call(row)

    async def list_live_rpc_calls(self, device_id: str, *, now_ms: int, limit: int) -> list[RpcCall]:
        rows = self._database.find_all(
            f"{_CALL} WHERE {_OF_DEVICE} AND c.live = 1 AND c.expires_at_ms > ?"
            " ORDER BY c.created_at_ms, c.id LIMIT ?",
            (device_id, now_ms, limit),
        )
        return [_call(row) for row in rows]

    async def list_rpc_calls(
        self, device_id: str, *, limit: int, offset: int = 0, status: str | None = None, descending: bool
    ) -> RpcPage:
        where = f"{_OF_DEVICE} AND (?2 IS NULL OR c.status = ?2)"
        order = "DESC" if descending else "ASC"

        def scan(connection: apsw.Connection) -> RpcPage:
            total = connection.execute(
                f"SELECT count(*) FROM rpc_calls c WHERE {where}",
                (device_id, status),
            ).fetchone()
            rows = connection.execute(
                f"{_CALL} WHERE {where} ORDER BY c.created_at_ms {order}, c.id {order} LIMIT ?3 OFFSET ?4",
                (device_id, status, limit, offset),
            ).fetchall()
            return RpcPage(tuple(_call(row) for row in rows), 0 if total is None else total[0])

        return await self._database.scan(scan)

    async def remove_rpc_call(self, call_id: str) -> None:
        def remove(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM rpc_calls WHERE id = ?", (call_id,))

        await self._database.write(remove)

    async def expire_rpc_calls(self, now_ms: int, *, status: str, limit: int) -> int:
        due = self._database.find_one(
            "SELECT 1 FROM rpc_calls WHERE live = 1 AND expires_at_ms <= ? LIMIT 1", (now_ms,)
        )
        if due is None:  # asked often, and seldom true: no write for nothing
            return 0

        def expire(connection: apsw.Connection) -> int:
            connection.execute(
                "UPDATE rpc_calls SET status = ?, live = 0 WHERE id IN"
                " (SELECT id FROM rpc_calls WHERE live = 1 AND expires_at_ms <= ? LIMIT ?)",
                (status, now_ms, limit),
            )
            return connection.changes()

        return await self._database.write(expire)

    async def remove_ended_rpc_calls(self, before_ms: int, *, limit: int) -> int:
        due = self._database.find_one(
            "SELECT 1 FROM rpc_calls WHERE live = 0 AND expires_at_ms < ? LIMIT 1", (before_ms,)
        )
        if due is None:
            return 0

        def remove(connection: apsw.Connection) -> int:
            connection.execute(
                "DELETE FROM rpc_calls WHERE id IN"
                " (SELECT id FROM rpc_calls WHERE live = 0 AND expires_at_ms < ? LIMIT ?)",
                (before_ms, limit),
            )
            return connection.changes()

        return await self._database.write(remove)


def _call(row: Row) -> RpcCall:
    return RpcCall(
        id=row[0],
        tenant_id=row[1],
        device_id=row[2],
        created_at_ms=row[3],
        expires_at_ms=row[4],
        request_id=row[5],
        oneway=bool(row[6]),
        method=row[7],
        params_json=row[8],
        retries=row[9],
        attempts=row[10],
        status=row[11],
        live=bool(row[12]),
        response=row[13],
        additional_info_json=row[14],
    )
