"""Registering a run's devices: written into the store while the server is down, because a hundred thousand
devices by REST would take longer than everything that is measured."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from pathlib import Path

from benchmarks.certificates import Certificates, device_name, read_certificates_pem
from thingpass.store.rows import CREDENTIALS_X509, Credentials, Device
from thingpass.store.sqlite.store import SqliteStore
from thingpass.x509.fingerprints import credentials_id, credentials_value

_AT_ONCE = 1_000  # the writer commits together what waits for it


def register_devices(data_dir: Path, certificates: Certificates) -> None:
    """Gives every device its certificate in the store of a server that has run before and is down now."""
    asyncio.run(_register(data_dir, certificates))


async def _register(data_dir: Path, certificates: Certificates) -> None:
    store = SqliteStore(data_dir)
    await store.open()
    try:
        tenant = (await store.list_tenants())[0]
        profile = await store.get_default_profile(tenant.id)
        rows = [
            _device(number, pem, tenant.id, profile.id, profile.name)
            for number, pem in enumerate(read_certificates_pem(certificates))
        ]
        for first in range(0, len(rows), _AT_ONCE):
            await asyncio.gather(*(store.add_device(*row) for row in rows[first : first + _AT_ONCE]))
    finally:
        await store.close()


def device_id(number: int) -> str:
    """Made from the name, so that a load process knows it without asking."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, device_name(number)))


def _device(
    number: int, certificate_pem: str, tenant_id: str, profile_id: str, profile_name: str
) -> tuple[Device, Credentials]:
    body = "".join(line for line in certificate_pem.splitlines() if not line.startswith("-"))
    der = base64.b64decode(body)
    now_ms = int(time.time() * 1000)
    device = Device(
        id=device_id(number),
        number=0,
        created_at_ms=now_ms,
        tenant_id=tenant_id,
        profile_id=profile_id,
        profile_name=profile_name,
        name=device_name(number),
    )
    credentials = Credentials(
        id=str(uuid.uuid4()),
        created_at_ms=now_ms,
        device_id=device.id,
        kind=CREDENTIALS_X509,
        credentials_id=credentials_id(der),
        credentials_value=credentials_value(der),
    )
    return device, credentials
