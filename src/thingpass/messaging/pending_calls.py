"""Calls to devices that have not ended: what happens to one of them, as methods, and where they are kept.

Two kinds differ in who learns what became of them: of a `WaitingCall` the caller who waits, of a `KeptCall`
the store. Who carries a call, and when it is offered to whom, is `rpc.py`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from thingpass.errors import Unavailable
from thingpass.messaging.listeners import RpcListener, RpcRequest
from thingpass.messaging.rpc_statuses import RpcStatus
from thingpass.store.rows import RpcCall

MOST_WAITING: Final = 10_000  # callers of all devices; each holds an HTTP request open
MOST_WAITING_PER_DEVICE: Final = 100
LARGEST_REQUEST_ID: Final = 2**31 - 1  # devices read it as a signed 32-bit number


class DeviceAway(Unavailable):
    """Nobody took the call: the device was not there, or did not want calls."""

    code = "device-away"


class DeviceSilent(Unavailable):
    """The call was handed to the device, which did not acknowledge or answer it in time."""

    code = "device-silent"


class DeviceRefused(Unavailable):
    """The call cannot be delivered to this device."""

    code = "device-refused"


class TooManyCalls(Unavailable):
    """A bound on calls that wait is reached."""

    code = "too-many-calls"


class PendingCall:
    """One call. `holder` is who carries it, from being taken until it is delivered or lost."""

    def __init__(self, device_id: str, request: RpcRequest) -> None:
        self.device_id = device_id
        self.request = request
        self.holder: RpcListener | None = None
        self.sent = False  # written to a device at least once
        self.delivered = False
        self.ended = False
        self.timers: list[asyncio.TimerHandle] = []

    def was_sent(self) -> None:
        self.sent = True

    def was_delivered(self) -> None:
        """A one-way call ends with it."""
        self.delivered = True

    def was_lost(self) -> None:
        """It did not arrive, as far as is known, and will be offered again."""

    def was_refused(self) -> None:
        """Ends it."""

    def was_answered(self, payload: bytes) -> None:
        """Ends it."""

    def expired(self) -> None:
        """Ends it."""


class WaitingCall(PendingCall):
    """Somebody waits for `outcome`: the answer, or None for a one-way call."""

    def __init__(
        self, device_id: str, request: RpcRequest, outcome: asyncio.Future[bytes | None], timeout_s: float
    ) -> None:
        super().__init__(device_id, request)
        self.outcome = outcome
        self._timeout_s = timeout_s

    def was_delivered(self) -> None:
        super().was_delivered()
        if self.request.oneway:
            self._end(None)

    def was_refused(self) -> None:
        self._fail(
            DeviceRefused("The device cannot take this call: it is too large for it, or was refused by it.")
        )

    def was_answered(self, payload: bytes) -> None:
        self._end(payload)

    def expired(self) -> None:
        within = f"within {self._timeout_s:g} s"
        if not self.sent:
            self._fail(
                DeviceAway(
                    f"The device was not there to take the call {within}.",
                    mend="It has to be connected and subscribed to calls.",
                )
            )
        elif self.request.oneway:
            self._fail(DeviceSilent(f"The device did not acknowledge the call {within}."))
        else:
            self._fail(DeviceSilent(f"The device did not answer the call {within}."))

    def withdrawn(self, why: Unavailable) -> None:
        """Ends it from this side."""
        self._fail(why)

    def _end(self, payload: bytes | None) -> None:
        self.ended = True
        if not self.outcome.done():
            self.outcome.set_result(payload)

    def _fail(self, error: Unavailable) -> None:
        self.ended = True
        if not self.outcome.done():
            self.outcome.set_exception(error)


class KeptCall(PendingCall):
    """`row` is what is to be stored; `changed` is called when it has become another."""

    def __init__(self, row: RpcCall, request: RpcRequest, changed: Callable[[KeptCall], None]) -> None:
        super().__init__(row.device_id, request)
        self.row = row
        self._changed = changed
        self.delivered = row.status == RpcStatus.DELIVERED
        self.saving: asyncio.Task[None] | None = None

    def was_sent(self) -> None:
        super().was_sent()
        if not self.delivered:
            self._become(RpcStatus.SENT)

    def was_delivered(self) -> None:
        super().was_delivered()
        self._become(RpcStatus.DELIVERED, ends=self.request.oneway)

    def was_lost(self) -> None:
        if self.row.status == RpcStatus.SENT:
            self._not_acknowledged(RpcStatus.QUEUED)

    def timed_out(self) -> None:
        """No acknowledgement for too long, on a connection that stands."""
        if self.row.status == RpcStatus.SENT:
            self._not_acknowledged(RpcStatus.TIMEOUT)

    def was_refused(self) -> None:
        self._become(RpcStatus.FAILED, ends=True)

    def was_answered(self, payload: bytes) -> None:
        self._become(RpcStatus.SUCCESSFUL, ends=True, response=payload)

    def expired(self) -> None:
        self._become(RpcStatus.EXPIRED, ends=True)

    def _not_acknowledged(self, status: RpcStatus) -> None:
        attempts = self.row.attempts + 1
        if attempts > self.row.retries:
            self._become(RpcStatus.FAILED, ends=True, attempts=attempts)
        else:
            self._become(status, attempts=attempts)

    def _become(
        self,
        status: RpcStatus,
        *,
        ends: bool = False,
        attempts: int | None = None,
        response: bytes | None = None,
    ) -> None:
        self.ended = ends
        self.row = msgspec.structs.replace(
            self.row,
            status=status.value,
            live=not ends,
            attempts=self.row.attempts if attempts is None else attempts,
            response=response,
        )
        self._changed(self)


CallT = TypeVar("CallT", bound=PendingCall)


class Calls(Generic[CallT]):
    """Calls by device and request id, in the order of their coming."""

    def __init__(self) -> None:
        self._by_device: dict[str, dict[int, CallT]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[CallT]:
        return iter([call for calls in self._by_device.values() for call in calls.values()])

    def add(self, call: CallT) -> None:
        self._by_device.setdefault(call.device_id, {})[call.request.id] = call
        self._count += 1

    def remove(self, call: CallT) -> None:
        """Nothing happens if it is not there."""
        calls = self._by_device.get(call.device_id, {})
        if calls.get(call.request.id) is call:
            del calls[call.request.id]
            self._count -= 1
            if not calls:
                del self._by_device[call.device_id]

    def find(self, device_id: str, request_id: int) -> CallT | None:
        return self._by_device.get(device_id, {}).get(request_id)

    def of(self, device_id: str) -> list[CallT]:
        return list(self._by_device.get(device_id, {}).values())

    def count_of(self, device_id: str) -> int:
        return len(self._by_device.get(device_id, ()))


class RequestIds:
    """One number after the other for all devices, from a beginning that is drawn.

    A device may answer after a restart of the server what it was asked before it. ThingsBoard counts from 0
    again, and takes such an answer for one to another call; here the two meet once in a billion.
    """

    def __init__(self) -> None:
        self._last = secrets.randbelow(LARGEST_REQUEST_ID // 2)

    def next(self) -> int:
        self._last = self._last % LARGEST_REQUEST_ID + 1
        return self._last
