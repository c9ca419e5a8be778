"""A device's state for people: active or not, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thingpass.cli.output import local_time

if TYPE_CHECKING:
    from thingpass.cli.rest_client import RestClient
    from thingpass.cli.shapes import Device

LABELS = {
    "lastActivityTime": "last heard",
    "lastConnectTime": "connected",
    "lastDisconnectTime": "disconnected",
    "inactivityAlarmTime": "inactive since",
}
"""Server attribute to what is shown before its time."""


def get_state(client: RestClient, device: Device) -> dict[str, object]:
    """The server attributes that the server keeps itself, by their names."""
    from thingpass.cli.rest_client import segment
    from thingpass.cli.shapes import AttributeValue

    path = f"/api/plugins/telemetry/DEVICE/{segment(device.id.id)}/values/attributes/SERVER_SCOPE"
    answer = client.get(path, {"keys": ",".join(("active", *LABELS))})
    return {attribute.key: attribute.value for attribute in answer.as_(list[AttributeValue])}


def describe_state(state: dict[str, object]) -> list[tuple[str, str | None]]:
    """Labels and texts. A time that never was is left out, and that of an alarm which is over."""
    active = state.get("active") is True
    return [
        ("active", "yes" if active else "no"),
        *(
            (label, local_time(ms))
            for key, label in LABELS.items()
            if isinstance(ms := state.get(key), int) and ms and not (active and key == "inactivityAlarmTime")
        ),
    ]
