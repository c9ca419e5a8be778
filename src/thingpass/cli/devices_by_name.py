"""Finding a device by the name that a person typed."""

from __future__ import annotations

from thingpass.cli.failures import Failure
from thingpass.cli.rest_client import RestClient, ServerRefused
from thingpass.cli.shapes import Device


def find_device(client: RestClient, name: str) -> tuple[Device, object]:
    """The device, and its JSON as the server sent it. Raises Failure when there is none of this name."""
    try:
        answer = client.get("/api/tenant/devices", {"deviceName": name})
    except ServerRefused as refused:
        if refused.status != 404:
            raise
        raise Failure(
            f"There is no device {name!r}.", "`thingpass device list` shows the names."
        ) from refused
    return answer.as_(Device), answer.json()
