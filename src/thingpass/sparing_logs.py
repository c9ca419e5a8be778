"""Log lines that a device can cause as often as it likes: one a minute for each device and event.

The line after that says how many were left out. A bad message costs less than a good one, and a broken device
fills no disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

QUIET_S: Final = 60.0
MOST_KEPT: Final = 4_096
"""Devices and events that are remembered; with more than that at once, all may log again."""


class Log(Protocol):
    """structlog's, as far as it is needed here."""

    def info(self, event: str, **facts: object) -> object: ...


class SparingLog:
    """One per module, beside its `log`."""

    def __init__(self, log: Log, time_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._time_s = time_s
        self._quiet_until: dict[tuple[str, str | None], float] = {}
        self._left_out: dict[tuple[str, str | None], int] = {}

    def info(self, event: str, *, device: str | None, **facts: object) -> None:
        """`device` is its name, which the line has too."""
        key, now = (event, device), self._time_s()
        if now < self._quiet_until.get(key, now):
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        if len(self._quiet_until) >= MOST_KEPT:
            self._quiet_until.clear()
            self._left_out.clear()
        self._quiet_until[key] = now + QUIET_S
        if left_out := self._left_out.pop(key, 0):
            facts["left_out"] = left_out
        self._log.info(event, device=device, **facts)
