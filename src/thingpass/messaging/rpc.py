"""Calls to devices: who waits for what, who carries it, what came back (device API reference, 2.7).

A call goes to the listener of its device that came last and takes it. What nobody took waits for the next
`listen`, which offers everything that has not ended: also what was delivered and not answered, since a
device that subscribes anew may have lost it (as ThingsBoard does it). A listener that goes loses what it
carried, and that is offered to the others.

Calls that are to outlive this server are `kept_calls.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from thingpass.clock import Clock
from thingpass.errors import ThingpassError, Unavailable
from thingpass.messaging.kept_calls import KeptCalls, NewKeptCall
from thingpass.messaging.listeners import Delivery, Listeners, RpcListener, RpcRequest
from thingpass.messaging.pending_calls import (
    MOST_WAITING,
    MOST_WAITING_PER_DEVICE,
    Calls,
    DeviceAway,
    DeviceRefused,
    DeviceSilent,
    KeptCall,
    PendingCall,
    RequestIds,
    TooManyCalls,
    WaitingCall,
)
from thingpass.metrics import Counters
from thingpass.store.rows import RpcCall
from thingpass.store.store import RpcStore

ACKNOWLEDGED_WITHIN_S: Final = 10.0  # a kept call counts as timed out after that; ThingsBoard's bound

_OUTCOMES: Final[dict[type[ThingpassError], str]] = {
    DeviceAway: "away",
    DeviceSilent: "silent",
    DeviceRefused: "refused",
}


class RpcService:
    """Everything about calls to devices. On one event loop only."""

    def __init__(self, store: RpcStore, clock: Clock, counters: Counters, *, kept_for_s: float) -> None:
        """`kept_for_s`: how long a kept call that has ended can be read, from the end of its time."""
        self._counters = counters
        self._listeners: Listeners[RpcListener] = Listeners()
        self._waiting: Calls[WaitingCall] = Calls()
        self._ids = RequestIds()
        self._stopped = False
        self.kept = KeptCalls(
            store,
            clock,
            self._ids,
            offer=self._offer,
            wanted=lambda device_id: bool(self._listeners.of(device_id)),
            kept_for_s=kept_for_s,
        )

    def start(self) -> None:
        self.kept.start()

    def stop_waiting(self) -> None:
        """Tells everybody who waits that the server stops; new calls are refused."""
        self._stopped = True
        for call in self._waiting:
            call.withdrawn(Unavailable("The server stops.", mend="Try again when it runs again."))
            self._forget(call)

    async def close(self) -> None:
        """Stores what is not stored yet."""
        self.stop_waiting()
        await self.kept.close()

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return len(self._waiting)

    # Listeners

    def listen(self, device_id: str, listener: RpcListener) -> None:
        """The listener takes calls from now on, and is offered all that have not ended."""
        self._listeners.add(device_id, listener)
        self._offer_waiting(device_id, listener, delivered=True)
        self.kept.load(device_id, delivered=True)

    def resume(self, device_id: str, listener: RpcListener) -> None:
        """The listener has been there all along and can take calls again: no call is delivered twice."""
        self._listeners.add(device_id, listener)
        self._offer_waiting(device_id, listener, delivered=False)
        self.kept.load(device_id, delivered=False)

    def leave(self, device_id: str, listener: RpcListener) -> None:
        """The listener takes no more; what it carried is lost on the way."""
        self._listeners.remove(device_id, listener)
        for call in (*self._waiting.of(device_id), *self.kept.of(device_id)):
            if call.holder is listener:
                call.holder = None
                call.was_lost()
                if not self._forget_ended(call):
                    self._offer(call)
        if not self._listeners.of(device_id):
            self.kept.unload(device_id)

    def device_removed(self, device_id: str) -> None:
        for call in self._waiting.of(device_id):
            call.withdrawn(DeviceAway("The device was removed."))
            self._forget(call)
        self.kept.unload(device_id)

    # Calling

    async def call(
        self, device_id: str, method: str, params_json: str, *, oneway: bool, timeout_s: float
    ) -> bytes | None:
        """The device's answer as it came; None when a one-way call was delivered.

        Raises DeviceAway, DeviceSilent, DeviceRefused, TooManyCalls, Unavailable.
        """
        self._check_room(device_id)
        loop = asyncio.get_running_loop()
        started = loop.time()
        request = RpcRequest(self._new_id(device_id), method, params_json, oneway, started + timeout_s)
        call = WaitingCall(device_id, request, loop.create_future(), timeout_s)
        self._waiting.add(call)
        call.timers.append(loop.call_at(request.expires_at, self._expire, call))
        self._offer(call)
        try:
            payload = await call.outcome
        except ThingpassError as error:
            self._counters.count_rpc(_OUTCOMES.get(type(error), "withdrawn"))
            raise
        finally:
            call.ended = True
            self._forget(call)
        self._counters.rpc_seconds.observe(loop.time() - started)
        self._counters.count_rpc("delivered" if oneway else "answered")
        return payload

    async def call_and_keep(self, new: NewKeptCall) -> RpcCall:
        """The call is stored when this returns. Raises NotFound, AlreadyExists, Unavailable."""
        if self._stopped:
            raise Unavailable("The server stops.")
        row = await self.kept.add(new)
        self._counters.count_rpc("kept")
        if self._listeners.of(new.device_id):
            self.kept.load(new.device_id, delivered=False)
        return row

    async def answered(self, device_id: str, request_id: int, payload: bytes) -> bool:
        """The device answered; returns when that is stored (a kept call). Whether a call waited for it."""
        call = self._waiting.find(device_id, request_id)
        if call is None:
            return await self.kept.answered(device_id, request_id, payload)
        if call.request.oneway:
            return False
        call.was_answered(payload)
        self._forget(call)
        return True

    def answered_at_once(self, device_id: str, request_id: int, payload: bytes) -> bool:
        """As `answered`, for calls that nothing has to be stored for; False: ask `answered`."""
        call = self._waiting.find(device_id, request_id)
        if call is None or call.request.oneway:
            return False
        call.was_answered(payload)
        self._forget(call)
        return True

    # Offering

    def _offer_waiting(self, device_id: str, listener: RpcListener, *, delivered: bool) -> None:
        for call in self._waiting.of(device_id):
            if delivered or not call.delivered:
                self._hand_over(call, listener)

    def _offer(self, call: PendingCall) -> None:
        for listener in reversed(self._listeners.of(call.device_id)):
            if self._hand_over(call, listener):
                return

    def _hand_over(self, call: PendingCall, listener: RpcListener) -> bool:
        """Whether it is on its way to the device."""
        if call.ended or call.holder is not None:
            return True
        call.holder = listener
        if not listener.rpc_requested(call.request, partial(self._report, call, listener)):
            call.holder = None
            return False
        return True

    def _report(self, call: PendingCall, listener: RpcListener, delivery: Delivery) -> None:
        if call.ended or call.holder is not listener:
            return
        _ON_DELIVERY[delivery](call)
        if delivery is Delivery.SENT:
            if isinstance(call, KeptCall):
                self.kept.expect_acknowledgement(call, ACKNOWLEDGED_WITHIN_S)
            return
        call.holder = None
        self._forget_ended(call)

    def _forget_ended(self, call: PendingCall) -> bool:
        if call.ended:
            self._forget(call)
        return call.ended

    def _expire(self, call: WaitingCall) -> None:
        if not call.ended:
            call.expired()
        self._forget(call)

    def _forget(self, call: PendingCall) -> None:
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()
        if isinstance(call, WaitingCall):
            self._waiting.remove(call)
        elif isinstance(call, KeptCall):
            self.kept.forget(call)

    def _check_room(self, device_id: str) -> None:
        if self._stopped:
            raise Unavailable("The server stops.")
        if len(self._waiting) >= MOST_WAITING:
            raise TooManyCalls(f"{MOST_WAITING} calls are waiting for devices already.", mend="Try later.")
        if self._waiting.count_of(device_id) >= MOST_WAITING_PER_DEVICE:
            raise TooManyCalls(
                f"{MOST_WAITING_PER_DEVICE} calls are waiting for this device already.", mend="Try later."
            )

    def _new_id(self, device_id: str) -> int:
        while True:
            request_id = self._ids.next()
            if self._waiting.find(device_id, request_id) is None and not self.kept.has(device_id, request_id):
                return request_id


_ON_DELIVERY: Final[dict[Delivery, Callable[[PendingCall], None]]] = {
    Delivery.SENT: lambda call: call.was_sent(),
    Delivery.DELIVERED: lambda call: call.was_delivered(),
    Delivery.REFUSED: lambda call: call.was_refused(),
}
