"""What devices prove themselves with: ThingsBoard's `/api/device/.../credentials` (reference 3.4)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from thingpass.api.answers import answers, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.credentials_saving import save_credentials
from thingpass.api.device_access import reachable_device
from thingpass.api.parameters import CallerOf, DeviceId, ServicesOf
from thingpass.api.thingsboard_bodies import CredentialsBody
from thingpass.api.thingsboard_shapes import CredentialsShape, credentials_shape
from thingpass.errors import Invalid

router = APIRouter(route_class=GuardedRoute, tags=["Credentials"])

CREDENTIALS = answers("the credentials", CredentialsShape)


@router.get("/api/device/{deviceId}/credentials", summary="A device's credentials", responses=CREDENTIALS)
async def get_credentials(device_id: DeviceId, caller: CallerOf, services: ServicesOf) -> Response:
    device = await reachable_device(services, caller, device_id)
    return json_answer(credentials_shape(await services.devices.credentials(caller.tenant_id, device.id)))


@router.post("/api/device/credentials", summary="Replace a device's credentials", responses=CREDENTIALS)
async def post_credentials(body: CredentialsBody, caller: CallerOf, services: ServicesOf) -> Response:
    """Read the credentials, change type, id and value, send the whole object.

    X509_CERTIFICATE: the certificate's text as `credentialsValue`; PEM with lines before it, CRLF, a bundle
    (its leaf is taken) and the bare base64 are understood, and what is no certificate is refused by what it
    is instead. `credentialsId` is computed from the certificate.
    """
    if body.device_id is None:
        raise Invalid("Device id should be specified!")
    device = await services.devices.get(caller.tenant_id, body.device_id.id)
    if body.id is None:
        raise Invalid(
            "Credentials for this device are already specified!",
            mend="Read them first and send their id along.",
        )
    current = await services.devices.credentials(caller.tenant_id, device.id)
    if body.id.id != current.id:
        raise Invalid("Unable to update non-existent device credentials!")
    return json_answer(credentials_shape(await save_credentials(services, caller.tenant_id, current, body)))
