"""Rate limits in ThingsBoard's notation, `100:1,5000:60`: at most 100 in a second and 5,000 in a minute.

Each pair is a bucket of its first number that is refilled evenly over its seconds ("greedy": half of it is
back after half the time), full at the start. All buckets must have what is taken. A bucket is kept as one
number, the moment at which it will be full again (GCRA, ITU-T I.371), so that nothing has to be refilled.

The notation is what settings and profiles hold; the clock is handed in.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

MOST_PAIRS: Final = 8
LARGEST_CAPACITY: Final = 1_000_000_000
LONGEST_S: Final = 31 * 86_400
ALLOWED: Final = (
    f"pairs as 100:1,5000:60 (100 in a second and 5000 in a minute), at most {MOST_PAIRS} of them, each up to"
    f" {LARGEST_CAPACITY} in up to {LONGEST_S} seconds"
)
_PAIR: Final = re.compile(r"\s*([0-9]{1,10})\s*:\s*([0-9]{1,7})\s*")
_ROUNDING_S: Final = 1e-7  # what floats of a clock that runs for years cannot tell apart


class Bandwidth(msgspec.Struct, frozen=True):
    """So many in so many seconds."""

    capacity: int
    seconds: int

    @property
    def each_s(self) -> float:
        """The time in which one comes back."""
        return self.seconds / self.capacity


class RateLimit(msgspec.Struct, frozen=True):
    """One limit: every bandwidth holds."""

    bandwidths: tuple[Bandwidth, ...]

    @property
    def text(self) -> str:
        """In the notation."""
        return ",".join(f"{each.capacity}:{each.seconds}" for each in self.bandwidths)


def parse_rate_limit(text: str) -> RateLimit:
    """Raises ValueError without words; `ALLOWED` says what is. `;` stands for `,` (ThingsBoard's clients)."""
    pairs = text.replace(";", ",").split(",")
    if len(pairs) > MOST_PAIRS:
        raise ValueError
    return RateLimit(tuple(_bandwidth(pair) for pair in pairs))


def _bandwidth(pair: str) -> Bandwidth:
    found = _PAIR.fullmatch(pair)
    if found is None:
        raise ValueError
    capacity, seconds = int(found[1]), int(found[2])
    if not (1 <= capacity <= LARGEST_CAPACITY and 1 <= seconds <= LONGEST_S):
        raise ValueError
    return Bandwidth(capacity, seconds)


class Meter:
    """What one sender has used of one limit. `now`: seconds of one monotonic clock for all calls."""

    __slots__ = ("_full_at", "limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._full_at = [now] * len(limit.bandwidths)

    def wait_s(self, count: int, now: float) -> float:
        """After how many seconds `count` can be taken; 0.0: now. For ever, above a capacity."""
        longest = 0.0
        for full_at, bandwidth in zip(self._full_at, self.limit.bandwidths, strict=True):
            if count > bandwidth.capacity:
                return math.inf
            missing_s = (full_at - now if full_at > now else 0.0) + count * bandwidth.each_s
            longest = max(longest, missing_s - bandwidth.seconds)
        return longest if longest > _ROUNDING_S else 0.0

    def spend(self, count: int, now: float) -> None:
        """Takes them, be they there or not: what is missing is a debt that time pays."""
        for number, bandwidth in enumerate(self.limit.bandwidths):
            full_at = self._full_at[number]
            self._full_at[number] = (full_at if full_at > now else now) + count * bandwidth.each_s

    def take(self, count: int, now: float) -> bool:
        """Takes them if all are there."""
        if self.wait_s(count, now):
            return False
        self.spend(count, now)
        return True

    def is_full(self, now: float) -> bool:
        """Whether it is as if nothing had ever been taken."""
        return all(full_at <= now for full_at in self._full_at)
