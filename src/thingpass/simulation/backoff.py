"""When a device that lost its connection tries again."""

from __future__ import annotations

from typing import Final

from thingpass.simulation.chance import between

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0


def pause_s(failures: int, *chance: int) -> float:
    """After `failures` (1, 2, ...) in a row: doubling up to a minute, each device at a moment of its own.

    From half of the time on: a fleet that lost its server together must not come back together.
    """
    longest = min(FIRST_S * 2 ** min(max(failures, 1) - 1, 16), LONGEST_S)
    return between(longest / 2, longest, *chance, failures)
