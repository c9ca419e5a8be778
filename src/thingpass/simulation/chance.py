"""Chance that can be repeated: numbers that depend on a seed and a place, and on nothing that went before.

A generator per device would keep 2.5 kB each, and its numbers would depend on how often it was asked. Here
the value of any moment can be computed at any moment, so two runs of one seed measure the same.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """64 well-mixed bits of the numbers, in their order (the finaliser of SplitMix64, once for each)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ number) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state = (state ^ state >> 31) + 0x9E3779B97F4A7C15 & _MASK
    return state


def fraction(*numbers: int) -> float:
    """0.0 up to, and without, 1.0."""
    return (mix(*numbers) >> 11) / (1 << 53)


def between(low: float, high: float, *numbers: int) -> float:
    return low + (high - low) * fraction(*numbers)


def drift(seed: int, at_s: float, step_s: float) -> float:
    """A line without jumps between -1 and 1: a number for every `step_s`, and a smooth way in between."""
    step, part = divmod(at_s / step_s, 1.0)
    smooth = part * part * (3 - 2 * part)
    before = fraction(seed, int(step))
    after = fraction(seed, int(step) + 1)
    return 2 * (before + (after - before) * smooth) - 1
