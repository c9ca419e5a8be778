"""How often something may be tried in vain: a bound for each key within a window, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from thingpass.clock import Clock

WINDOW_S = 300.0
MAX_KEPT = 10_000
"""Keys; the one not seen for longest goes first."""


class Attempts:
    """Failed attempts by key (an account, an address). Use it on one thread."""

    def __init__(self, clock: Clock, *, bound: int, window_s: float = WINDOW_S) -> None:
        self._clock = clock
        self._bound = bound
        self._window_s = window_s
        self._kept: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Seconds until the key may try again; 0: now."""
        failures = self._kept.get(key)
        if failures is None:
            return 0
        now = self._clock.monotonic()
        failures = [at for at in failures if at > now - self._window_s]
        if not failures:
            del self._kept[key]
            return 0
        self._kept[key] = failures
        return int(failures[-self._bound] + self._window_s - now) + 1 if len(failures) >= self._bound else 0

    def note(self, key: str) -> None:
        """Counts an attempt as failed."""
        self._kept.setdefault(key, []).append(self._clock.monotonic())
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def take_back(self, key: str) -> None:
        """Forgets the latest attempt: it was none."""
        failures = self._kept.get(key)
        if failures:
            failures.pop()

    def forget(self, key: str) -> None:
        """Forgets all of them: an attempt succeeded."""
        self._kept.pop(key, None)
