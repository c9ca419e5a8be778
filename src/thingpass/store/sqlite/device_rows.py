"""How a device is read from a row; devices and credentials both do."""

from __future__ import annotations

import sys
from typing import Final

from thingpass.store.rows import Device
from thingpass.store.sqlite.connection import Row

COLUMNS: Final = (
    "d.id, d.number, d.created_at_ms, d.tenant_id, d.profile_id, p.name, d.name, d.label, d.customer_id,"
    " d.additional_info_json, d.version, d.firmware_id, d.software_id"
)
COLUMN_COUNT: Final = 13


def read_device(row: Row) -> Device:
    """From a row that begins with `COLUMNS`, d being `devices` and p its `device_profiles`.

    What all devices of a tenant have in common is kept once: a connected device keeps its row.
    """
    return Device(
        id=row[0],
        number=row[1],
        created_at_ms=row[2],
        tenant_id=sys.intern(row[3]),
        profile_id=sys.intern(row[4]),
        profile_name=sys.intern(row[5]),
        name=row[6],
        label=row[7],
        customer_id=row[8],
        additional_info_json=row[9],
        version=row[10],
        firmware_id=row[11] and sys.intern(row[11]),
        software_id=row[12] and sys.intern(row[12]),
    )
