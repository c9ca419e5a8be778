"""What can receive for a device: the interface between messages to devices and whatever carries them there.

A listener is an MQTT session (also one whose device is away, see `servers.mqtt_device_session`), and may be a
sub-device behind a gateway or a long poll over HTTP. It says what it wants to hear:

    pushes.listen(device_id, listener)      # messaging.pushes.AttributePushes: changes of shared attributes
    rpc.listen(device_id, listener)         # messaging.rpc.RpcService: calls; what waits is offered at once

and unsays it with `leave(device_id, listener)`; leaving twice, or without having come, is no error. What a
call that was taken came to is told through the `report` that comes with it. What the device answers goes to
`rpc.answered(device_id, request_id, payload)`, from whichever listener it came.

All of this happens on one loop, and none of it waits: a listener queues (within bounds) or refuses.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from thingpass.store.rows import Value


class RpcRequest(msgspec.Struct, frozen=True):
    """One call as its device gets it."""

    id: int  # 31 bits, unlike any other of the device that may still be answered
    method: str
    params_json: str  # any JSON, as text
    oneway: bool  # no answer is waited for
    expires_at: float  # on the loop's clock (s); not to be delivered after that


class Delivery(enum.Enum):
    """How far a call has come on its way to the device."""

    SENT = "sent"  # written to the device, which has not yet said that it has it
    DELIVERED = "delivered"  # PUBACK; at QoS 0 and over HTTP as soon as it is written
    REFUSED = "refused"  # it can never be delivered: too large for the device, or the device refused it


ReportDelivery: TypeAlias = Callable[[Delivery], None]
"""May be called during `rpc_requested` and at any time after it; what comes too late is ignored."""


class AttributeListener(Protocol):
    """Wants to know when shared attributes of its device change (device API reference, 2.6)."""

    def attributes_saved(self, values: Mapping[str, Value]) -> None:
        """These have new values, and no others have."""

    def attributes_removed(self, keys: Sequence[str]) -> None:
        """These are gone."""


class RpcListener(Protocol):
    """Takes calls to its device (device API reference, 2.7)."""

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        """Whether the call was taken; one that was not waits for another listener, or the next `listen`.

        A call that was taken and neither delivered nor refused when the listener leaves counts as lost on
        the way, and is offered again to whoever listens then.
        """


ListenerT = TypeVar("ListenerT")


class Listeners(Generic[ListenerT]):
    """Who listens for which device. Devices nobody listens for cost nothing."""

    __slots__ = ("_by_device",)

    def __init__(self) -> None:
        # Tuples, because nearly every device has one listener: 48 bytes, and safe to walk while it changes.
        self._by_device: dict[str, tuple[ListenerT, ...]] = {}

    def __len__(self) -> int:
        return len(self._by_device)

    def add(self, device_id: str, listener: ListenerT) -> bool:
        """Whether it is new. The latest is the last."""
        present = self._by_device.get(device_id, ())
        if any(each is listener for each in present):
            return False
        self._by_device[device_id] = (*present, listener)
        return True

    def remove(self, device_id: str, listener: ListenerT) -> None:
        left = tuple(each for each in self._by_device.get(device_id, ()) if each is not listener)
        if left:
            self._by_device[device_id] = left
        else:
            self._by_device.pop(device_id, None)

    def of(self, device_id: str) -> tuple[ListenerT, ...]:
        """In the order of their coming."""
        return self._by_device.get(device_id, ())
