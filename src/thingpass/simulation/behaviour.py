"""What a simulated device does, without any wire: when it sends, what, and what it answers.

Payloads are ThingsBoard's device JSON as a device writes and reads it (device API reference 2.4 to 2.7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from thingpass.simulation.chance import between, fraction, mix
from thingpass.simulation.sensors import Reading, Sensors, make_sensors

INTERVAL_ATTRIBUTE: Final = "uploadFrequency"
"""The shared attribute, in seconds, that ThingsBoard's guides set a device's pace with."""

SHORTEST_INTERVAL_S: Final = 0.05
LONGEST_INTERVAL_S: Final = 86_400.0
JITTER: Final = 0.1  # no quartz is like another: each pause is up to a tenth longer or shorter
MOST_ECHOED_BYTES: Final = 4_096

_FIRMWARE: Final = ("1.0.0", "1.0.3", "1.1.0", "1.2.0")
_MODELS: Final = ("room-sensor-2", "room-sensor-2e", "door-sensor-1")


class _Sample(msgspec.Struct):
    ts: int
    values: Reading


class _RpcRequest(msgspec.Struct):
    method: str
    params: object = None


class Behaviour:
    """One device's mind; the same over MQTT and HTTP. `interval_s` is the pause in force."""

    __slots__ = ("_default_interval_s", "_own", "_sensors", "_sent", "interval_s", "name", "number")

    def __init__(self, seed: int, number: int, name: str, *, interval_s: float) -> None:
        self.name = name
        self.number = number
        self._own = mix(seed, number, 7)
        self._sensors: Sensors = make_sensors(seed, number)
        self._default_interval_s = interval_s
        self.interval_s = interval_s
        self._sent = 0

    def first_pause_s(self) -> float:
        """From connecting to the first message: its own, so that a fleet does not speak in one voice."""
        return self.interval_s * fraction(self._own, 0)

    def next_pause_s(self) -> float:
        self._sent += 1
        return self.interval_s * between(1 - JITTER, 1 + JITTER, self._own, self._sent)

    def client_attributes(self) -> bytes:
        """What a device says of itself after it has connected."""
        return msgspec.json.encode(
            {
                "model": _MODELS[mix(self._own, 21) % len(_MODELS)],
                "serial": f"{mix(self._own, 22) % 10**10:010d}",
                "firmware_version": self._firmware,
                "simulated": True,
            }
        )

    def telemetry(self, now_ms: int) -> bytes:
        return msgspec.json.encode(_Sample(now_ms, self._sensors.read(now_ms / 1000)))

    def answer(self, request: bytes, now_ms: int) -> bytes:
        """The answer to an RPC request's payload, whatever it holds."""
        try:
            asked = msgspec.json.decode(request, type=_RpcRequest)
        except (msgspec.MsgspecError, RecursionError):
            return msgspec.json.encode({"error": "This is no RPC request: it needs a method, as text."})
        method = _METHODS.get(asked.method)
        if method is None:
            known = ", ".join(_METHODS)
            return msgspec.json.encode({"error": f"This device has no such method; it has {known}."})
        return msgspec.json.encode(method(self, asked.params, now_ms))

    def take_shared(self, payload: bytes) -> bool:
        """Takes a push or an answer with shared attributes; whether the interval is another one now."""
        try:
            message = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, RecursionError):
            return False
        if not isinstance(message, dict):
            return False
        inner = message.get("shared")
        attributes = inner if isinstance(inner, dict) else message
        deleted = attributes.get("deleted")
        if isinstance(deleted, list) and INTERVAL_ATTRIBUTE in deleted:
            return self._set_interval(self._default_interval_s)
        return self._set_interval(_interval_of(attributes))

    def _set_interval(self, interval_s: float | None) -> bool:
        if interval_s is None or interval_s == self.interval_s:
            return False
        self.interval_s = interval_s
        return True

    @property
    def _firmware(self) -> str:
        return _FIRMWARE[mix(self._own, 23) % len(_FIRMWARE)]

    def _get_status(self, params: object, now_ms: int) -> object:
        reading = self._sensors.read(now_ms / 1000)
        return {
            "temperature": reading.temperature,
            "battery": reading.battery,
            "doorOpen": reading.door_open,
            "interval": self.interval_s,
            "sent": self._sent,
            "firmwareVersion": self._firmware,
        }

    def _change_interval(self, params: object, now_ms: int) -> object:
        given = params if isinstance(params, dict) else {"interval": params}
        interval_s = _number_within(given.get("interval", given.get(INTERVAL_ATTRIBUTE)))
        if interval_s is None:
            allowed = f"{SHORTEST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g} seconds"
            return {"error": f"The interval must be a number, {allowed}."}
        self._set_interval(interval_s)
        return {"interval": interval_s}

    def _echo(self, params: object, now_ms: int) -> object:
        if len(msgspec.json.encode(params)) > MOST_ECHOED_BYTES:
            return {"error": f"Only {MOST_ECHOED_BYTES} bytes are echoed."}
        return params


_METHODS: Final[dict[str, Callable[[Behaviour, object, int], object]]] = {
    "getStatus": Behaviour._get_status,
    "setInterval": Behaviour._change_interval,
    "echo": Behaviour._echo,
}


def shared_request() -> bytes:
    """The payload that asks for the shared attributes a device knows."""
    return msgspec.json.encode({"sharedKeys": INTERVAL_ATTRIBUTE})


def _interval_of(attributes: Mapping[str, object]) -> float | None:
    return _number_within(attributes.get(INTERVAL_ATTRIBUTE))


def _number_within(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if SHORTEST_INTERVAL_S <= value <= LONGEST_INTERVAL_S else None
