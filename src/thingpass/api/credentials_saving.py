"""Replacing a device's credentials as ThingsBoard's clients ask for it (rest-api reference 3.4)."""

from __future__ import annotations

import msgspec

from thingpass.api.error_answers import VersionConflict
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import CredentialsBody
from thingpass.store.rows import Credentials


async def save_credentials(
    services: Services, tenant_id: str, current: Credentials, body: CredentialsBody
) -> Credentials:
    """Puts the body's kind, id and value in the place of `current`.

    The id of a certificate and of MQTT_BASIC is computed by the devices' service, whatever was sent.
    Raises Invalid, AlreadyExists (another device has them; named if it is of the tenant), VersionConflict.
    """
    if body.version is not None and body.version != current.version:
        raise VersionConflict(
            "Device credentials were already changed by someone else",
            mend="Read them again, then change them.",
        )
    return await services.devices.save_credentials(
        tenant_id,
        msgspec.structs.replace(
            current,
            kind=body.credentials_type or "",
            credentials_id=body.credentials_id or "",
            credentials_value=body.credentials_value,
        ),
    )
