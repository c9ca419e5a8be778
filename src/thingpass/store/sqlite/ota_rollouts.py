"""What devices are still to be told of their packages; the migration's triggers note it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from thingpass.store.rows import OtaAnnouncement, OtaPackage, OtaRollout, OtaTarget, Value
from thingpass.store.samples import decode_value, encode_value
from thingpass.store.sqlite.connection import Cell, Row
from thingpass.store.sqlite.ota_packages import COLUMNS, count_followers, own_column, read_package
from thingpass.store.sqlite.part import Part

KEPT_OF_A_PROFILE: Final = 100

_ROLLOUT: Final = (
    "SELECT r.id, p.tenant_id, r.profile_id, p.name, r.kind, r.package_id, r.created_at_ms, r.devices,"
    " r.after_number, r.done, r.told, r.ended_at_ms"
    " FROM ota_rollouts r JOIN device_profiles p ON p.id = r.profile_id"
)
_SHARED: Final = "SHARED_SCOPE"  # what devices are told (telemetry.attributes)


class OtaRollouts(Part):
    async def list_ota_changes(self, keys: Sequence[str], *, limit: int) -> tuple[OtaTarget, ...]:
        changes = self._database.find_all(
            "SELECT c.id, d.id, d.number, c.kind, c.created_at_ms, CASE c.kind"
            " WHEN 'FIRMWARE' THEN coalesce(d.firmware_id, p.default_firmware_id)"
            " ELSE coalesce(d.software_id, p.default_software_id) END"
            " FROM ota_changes c JOIN devices d ON d.number = c.device_number"
            " JOIN device_profiles p ON p.id = d.profile_id ORDER BY c.id LIMIT ?",
            (limit,),
        )
        if not changes:
            return ()
        return await self._database.scan(lambda connection: _targets(connection, changes, keys))

    async def find_ota_rollout(self) -> OtaRollout | None:
        row = self._database.find_one(f"{_ROLLOUT} WHERE r.ended_at_ms IS NULL ORDER BY r.id LIMIT 1", ())
        if row is None:
            return None
        rollout = _rollout(row)
        if rollout.devices is None:
            devices = await self._database.scan(
                lambda connection: count_followers(connection, rollout.profile_id, rollout.kind)
            )
            await self._database.write(
                lambda connection: connection.execute(
                    "UPDATE ota_rollouts SET devices = ? WHERE id = ?", (devices, rollout.id)
                )
            )
            row = self._database.find_one(f"{_ROLLOUT} WHERE r.id = ?", (rollout.id,))
        return None if row is None else _rollout(row)

    async def list_ota_targets(
        self, rollout: OtaRollout, keys: Sequence[str], *, limit: int
    ) -> tuple[OtaTarget, ...]:
        own = own_column(rollout.kind)

        def read(connection: apsw.Connection) -> tuple[OtaTarget, ...]:
            rows = connection.execute(
                f"SELECT 0, d.id, d.number, ?, ?, p.default_{own} FROM devices d"
                " JOIN device_profiles p ON p.id = d.profile_id"
                f" WHERE d.profile_id = ? AND d.{own} IS NULL AND d.number > ? ORDER BY d.number LIMIT ?",
                (rollout.kind, rollout.created_at_ms, rollout.profile_id, rollout.after_number, limit),
            ).fetchall()
            return _targets(connection, rows, keys)

        return await self._database.scan(read)

    async def save_ota_announcements(
        self,
        announcements: Sequence[OtaAnnouncement],
        *,
        at_ms: int,
        looked_at: Sequence[OtaTarget],
        rollout: OtaRollout | None = None,
    ) -> None:
        removed = [
            (announcement.target.device_number, _SHARED, key)
            for announcement in announcements
            for key in announcement.removed
        ]
        saved: list[tuple[Cell, ...]] = [
            (_SHARED, key, encode_value(value), at_ms, announcement.target.device_number)
            for announcement in announcements
            for key, value in announcement.values.items()
        ]
        changes = [(target.change_id,) for target in looked_at if target.change_id]

        def save(connection: apsw.Connection) -> None:
            connection.executemany(
                "DELETE FROM attributes WHERE device_number = ? AND scope = ? AND key = ?", removed
            )
            connection.executemany(
                "INSERT INTO attributes (device_number, scope, key, value, updated_at_ms)"
                " SELECT number, ?, ?, ?, ? FROM devices WHERE number = ? ON CONFLICT DO UPDATE"
                " SET value = excluded.value, updated_at_ms = excluded.updated_at_ms",
                saved,
            )
            connection.executemany("DELETE FROM ota_changes WHERE id = ?", changes)
            if rollout is not None:
                _advance(connection, rollout, looked_at, len(announcements), at_ms)

        await self._database.write(save)

    async def list_ota_rollouts(self, tenant_id: str, *, limit: int) -> tuple[OtaRollout, ...]:
        rows = self._database.find_all(
            f"{_ROLLOUT} WHERE p.tenant_id = ? ORDER BY r.id DESC LIMIT ?", (tenant_id, limit)
        )
        return tuple(_rollout(row) for row in rows)


def _advance(
    connection: apsw.Connection, rollout: OtaRollout, looked_at: Sequence[OtaTarget], told: int, at_ms: int
) -> None:
    if looked_at:
        connection.execute(
            "UPDATE ota_rollouts SET after_number = ?, done = done + ?, told = told + ? WHERE id = ?",
            (looked_at[-1].device_number, len(looked_at), told, rollout.id),
        )
        return
    # Devices that came or went while it ran make the first count wrong: at the end, all is what was done.
    connection.execute(
        "UPDATE ota_rollouts SET ended_at_ms = ?, devices = done WHERE id = ?", (at_ms, rollout.id)
    )
    connection.execute(
        "DELETE FROM ota_rollouts WHERE profile_id = ?1 AND ended_at_ms IS NOT NULL AND id NOT IN"
        " (SELECT id FROM ota_rollouts WHERE profile_id = ?1 ORDER BY id DESC LIMIT ?2)",
        (rollout.profile_id, KEPT_OF_A_PROFILE),
    )


def _targets(connection: apsw.Connection, rows: Sequence[Row], keys: Sequence[str]) -> tuple[OtaTarget, ...]:
    """From rows of change id, device id, number, kind, time, package id."""
    packages: dict[str, OtaPackage | None] = {}
    marks = ", ".join("?" * len(keys))
    asking = f"SELECT key, value FROM attributes WHERE device_number = ? AND scope = ? AND key IN ({marks})"
    targets: list[OtaTarget] = []
    for change_id, device_id, number, kind, since_ms, package_id in rows:
        if package_id is not None and package_id not in packages:
            packages[package_id] = _find_package(connection, package_id)
        told: dict[str, Value] = {
            key: decode_value(value) for key, value in connection.execute(asking, (number, _SHARED, *keys))
        }
        targets.append(
            OtaTarget(
                device_id=device_id,
                device_number=number,
                kind=kind,
                since_ms=since_ms,
                package=None if package_id is None else packages[package_id],
                told=told,
                change_id=change_id,
            )
        )
    return tuple(targets)


def _find_package(connection: apsw.Connection, package_id: str) -> OtaPackage | None:
    row = connection.execute(f"SELECT {COLUMNS} FROM ota_packages o WHERE o.id = ?", (package_id,)).fetchone()
    return None if row is None else read_package(row)


def _rollout(row: Row) -> OtaRollout:
    return OtaRollout(
        id=row[0],
        tenant_id=row[1],
        profile_id=row[2],
        profile_name=row[3],
        kind=row[4],
        package_id=row[5],
        created_at_ms=row[6],
        devices=row[7],
        after_number=row[8],
        done=row[9],
        told=row[10],
        ended_at_ms=row[11],
    )
