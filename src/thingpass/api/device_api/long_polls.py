"""Requests that wait for something to happen: the next change of shared attributes, the next call.

Each is one more listener of its device beside MQTT sessions (`messaging.listeners`), for as long as it waits.
It costs a task, two futures and a timer, and no thread. A device has a few of them at most: one that came
back without having said goodbye ends its oldest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from thingpass.errors import Forbidden, Invalid, ThingpassError, Unauthenticated
from thingpass.messaging.listeners import ReportDelivery, RpcRequest
from thingpass.store.rows import Value

MOST_PER_DEVICE: Final = 8
DEFAULT_TIMEOUT_S: Final = 60.0
LONGEST_TIMEOUT_DIGITS: Final = 12


class NothingCame(ThingpassError):
    """The time is over, or the server ends the request: the device asks again."""

    code = "nothing-came"

    def __init__(self) -> None:
        super().__init__("Nothing came in time.")


class LongPoll:
    """`came` is done when there is something to answer; as an error when there is something else to say."""

    __slots__ = ("came",)

    def __init__(self) -> None:
        self.came: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _wake(self) -> None:
        if not self.came.done():
            self.came.set_result(None)

    def end(self, error: ThingpassError) -> None:
        if not self.came.done():
            self.came.set_exception(error)
            self.came.exception()  # looked at, whether or not anybody still waits


class AttributePoll(LongPoll):
    """An `AttributeListener` for one change: what is saved and removed at the same time comes together."""

    __slots__ = ("removed", "saved")

    def __init__(self) -> None:
        super().__init__()
        self.saved: dict[str, Value] = {}
        self.removed: list[str] = []

    def attributes_saved(self, values: Mapping[str, Value]) -> None:
        self.saved.update(values)
        self._wake()

    def attributes_removed(self, keys: Sequence[str]) -> None:
        self.removed.extend(keys)
        self._wake()


class RpcPoll(LongPoll):
    """An `RpcListener` for one call."""

    __slots__ = ("report", "request")

    def __init__(self) -> None:
        super().__init__()
        self.request: RpcRequest | None = None
        self.report: ReportDelivery | None = None

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        if self.came.done():
            return False
        self.request, self.report = request, report
        self._wake()
        return True


class LongPolls:
    """Those that wait now, by device. One owner for all, so that they can be ended."""

    def __init__(self) -> None:
        self._by_device: dict[str, dict[LongPoll, None]] = {}
        self._count = 0
        self._stopped = False

    def __len__(self) -> int:
        return self._count

    async def wait(self, device_id: str, poll: LongPoll, timeout_s: float, gone: asyncio.Task[None]) -> bool:
        """Whether something came and the client is there to hear it.

        Raises NothingCame, and what the poll was ended with.
        """
        self._enter(device_id, poll)
        try:
            await asyncio.wait((poll.came, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(device_id, poll)
        if gone.done():
            gone.result()  # raises what its body was refused with
            return False
        if not poll.came.done():
            poll.came.cancel()  # nothing is taken from now on
            raise NothingCame
        poll.came.result()
        return True

    def _enter(self, device_id: str, poll: LongPoll) -> None:
        if self._stopped:
            raise NothingCame
        polls = self._by_device.setdefault(device_id, {})
        if len(polls) >= MOST_PER_DEVICE:
            next(iter(polls)).end(NothingCame())
        polls[poll] = None
        self._count += 1

    def _leave(self, device_id: str, poll: LongPoll) -> None:
        polls = self._by_device[device_id]
        del polls[poll]
        self._count -= 1
        if not polls:
            del self._by_device[device_id]

    def credentials_changed(self, device_id: str) -> None:
        self._end(device_id, Unauthenticated("The device's credentials were changed."))

    def device_removed(self, device_id: str) -> None:
        self._end(device_id, Forbidden("Device was deleted!"))

    def stop(self) -> None:
        """Answers everybody as if their time were over: their next request finds the server gone, or back."""
        self._stopped = True
        for device_id in list(self._by_device):
            self._end(device_id, NothingCame())

    def _end(self, device_id: str, error: ThingpassError) -> None:
        for poll in self._by_device.get(device_id, ()):
            poll.end(error)


def timeout_s(parameters: Mapping[str, str], longest_s: float) -> float:
    """`timeout` is in milliseconds; 0 and none mean a minute (device API reference, 6)."""
    text = parameters.get("timeout", "")
    if text in ("", "0"):
        return min(DEFAULT_TIMEOUT_S, longest_s)
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_TIMEOUT_DIGITS):
        raise Invalid(f"The timeout {text[:20]!r} is not a number of milliseconds.")
    return min(int(text) / 1000, longest_s)
