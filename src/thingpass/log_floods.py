"""What others can cause at will is not written each time: a few lines a minute, and how many were held back.

A device with broken firmware, or a stranger, may send thousands of bad messages a second. Each is counted in
the metrics; in the log the first ones explain it, and the rest would only fill the disk.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Final, TypeVar

import structlog
from structlog.typing import EventDict, WrappedLogger

K = TypeVar("K")

WHO_CAUSES: Final = {
    "attributes.not_expressible": "device_id",
    "call.not_expressible": "device_id",
    "claim.offered": "device",
    "claim.refused": "device",
    "connection.silent": "device",  # none: a stranger who asks for an identity
    "connection.too_far_behind": "device",
    "connection.work_failed": "problem",  # the store's, for everybody at once
    "device answer cut": "code",
    "gateway.device_ended": "device",
    "gateway.parts_rejected": "gateway",
    "message.rejected": "device",
    "message.too_large": "device",
    "ota.refused": "device",
}
"""Events -> which of their values says who causes them."""

WINDOW_S: Final = 60.0
LINES_OF_ONE: Final = 5
LINES_OF_ALL: Final = 300
MOST_REMEMBERED: Final = 2_000


class HoldBackFloods:
    """A processor of structlog. Use it on one thread; on several, some lines more may come."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._of_one: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self._of_all: dict[str, _Window] = {}

    def holds_back(self, event: str, who: object) -> bool:
        """Whether a line would not be written now; it is counted then, and need not be made.

        Making a line costs eight microseconds, as much as storing a good message.
        """
        found = self._of_one.get((event, str(who)))
        if found is None or found.lines < LINES_OF_ONE or self._now() - found.began >= WINDOW_S:
            return False
        found.held_back += 1
        return True

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
        event = event_dict["event"]
        who = WHO_CAUSES.get(event)
        if who is None:
            return event_dict
        now = self._now()
        of_one = _current(self._of_one, (event, str(event_dict.get(who))), now)
        of_all = _current(self._of_all, event, now)
        if len(self._of_one) > MOST_REMEMBERED:
            self._of_one.popitem(last=False)  # the one that began first
        if of_one.lines >= LINES_OF_ONE or of_all.lines >= LINES_OF_ALL:
            of_one.held_back += 1
            raise structlog.DropEvent
        of_one.lines += 1
        of_all.lines += 1
        if of_one.held_back_before:
            event_dict["held_back"] = of_one.held_back_before
            of_one.held_back_before = 0
        return event_dict


class _Window:
    __slots__ = ("began", "held_back", "held_back_before", "lines")

    def __init__(self, began: float, held_back_before: int) -> None:
        self.began = began
        self.lines = 0
        self.held_back = 0
        self.held_back_before = held_back_before


def _current(windows: MutableMapping[K, _Window], key: K, now: float) -> _Window:
    found = windows.get(key)
    if found is None or now - found.began >= WINDOW_S:
        windows.pop(key, None)
        before = 0 if found is None else found.held_back + found.held_back_before
        found = windows[key] = _Window(now, before)
    return found


FLOODS: Final = HoldBackFloods()
"""The process's, as its logging is."""
