"""Which device is a gateway: one mark, asked by whoever limits, counts or serves gateways otherwise."""

from __future__ import annotations

import msgspec

from thingpass.store.rows import Device


class _AdditionalInfo(msgspec.Struct):
    gateway: object = None


def is_gateway(device: Device) -> bool:
    """ThingsBoard's mark of a gateway, `{"gateway": true}` in the device's additional info."""
    if device.additional_info_json is None or "gateway" not in device.additional_info_json:
        return False
    try:
        return msgspec.json.decode(device.additional_info_json, type=_AdditionalInfo).gateway is True
    except msgspec.MsgspecError:
        return False
