"""Claims: devices that may be had by whom knows their secret."""

from __future__ import annotations

import apsw

from thingpass.errors import NotFound
from thingpass.store.rows import Claim, Device
from thingpass.store.sqlite import device_rows
from thingpass.store.sqlite.connection import get_row
from thingpass.store.sqlite.part import Part

_DEVICE = (
    f"SELECT {device_rows.COLUMNS} FROM devices d JOIN device_profiles p ON p.id = d.profile_id"
    " WHERE d.id = ?"
)
_NUMBER = "(SELECT number FROM devices WHERE id = ?)"


class Claims(Part):
    async def add_claim(self, claim: Claim, now_ms: int) -> bool:
        """Whether it was added; False while an earlier one holds. Raises NotFound without the device."""

        def add(connection: apsw.Connection) -> bool:
            row = connection.execute("SELECT number FROM devices WHERE id = ?", (claim.device_id,)).fetchone()
            if row is None:
                raise NotFound("The device does not exist.")
            connection.execute(
                "INSERT INTO claims (device_number, secret_salt, secret_sha256, expires_at_ms)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (device_number) DO UPDATE"
                " SET secret_salt = excluded.secret_salt, secret_sha256 = excluded.secret_sha256,"
                " expires_at_ms = excluded.expires_at_ms WHERE claims.expires_at_ms <= ?",
                (row[0], claim.secret_salt, claim.secret_sha256, claim.expires_at_ms, now_ms),
            )
            return connection.changes() == 1

        return await self._database.write(add)

    async def find_claim(self, device_id: str) -> Claim | None:
        row = self._database.find_one(
            f"SELECT secret_salt, secret_sha256, expires_at_ms FROM claims WHERE device_number = {_NUMBER}",
            (device_id,),
        )
        if row is None:
            return None
        return Claim(device_id=device_id, secret_salt=row[0], secret_sha256=row[1], expires_at_ms=row[2])

    async def take_claim(self, device_id: str, customer_id: str) -> Device | None:
        """The device with its customer, the claim used up; None when it is somebody's already."""

        def take(connection: apsw.Connection) -> Device | None:
            connection.execute(
                "UPDATE devices SET customer_id = ?, version = version + 1"
                " WHERE id = ? AND customer_id IS NULL",
                (customer_id, device_id),
            )
            if connection.changes() == 0:
                return None
            connection.execute(f"DELETE FROM claims WHERE device_number = {_NUMBER}", (device_id,))
            return device_rows.read_device(get_row(connection, _DEVICE, (device_id,)))

        return await self._database.write(take)

    async def remove_claim(self, device_id: str) -> None:
        """One that is not there is no error."""
        await self._database.write(
            lambda connection: connection.execute(
                f"DELETE FROM claims WHERE device_number = {_NUMBER}", (device_id,)
            )
        )
