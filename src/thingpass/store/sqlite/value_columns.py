"""The values of one key, made small and back: each kind of column is a row in `_KINDS`.

| kind | holds | for |
|---|---|---|
| 0 | the values as they are | texts, booleans, JSON texts, mixtures, numbers that fit no other kind |
| 1 | the first whole number, then differences | whole numbers |
| 2 + p | the same of value x 10^p | doubles with at most p decimal places, such as 22.75 (p = 2) |

Every kind gives back exactly what was put in: bit for bit for doubles, and a whole number never becomes a
double or the reverse.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from operator import sub
from typing import Final, TypeAlias, cast

from thingpass.store.rows import Value

PackedValues: TypeAlias = tuple[int, list[Value]]

PLAIN: Final = 0
_DIFFERENCES: Final = 1
_DECIMALS: Final = 2

_MOST_PLACES: Final = 4
_EXACT: Final = 1 << 53  # whole numbers up to here are exact as doubles
_BOUND: Final = 1 << 62  # two numbers within it differ by less than 64 bits


def pack_values(values: list[Value]) -> PackedValues:
    kinds = set(map(type, values))
    if kinds == {int}:
        return _pack_whole(cast("list[int]", values), _DIFFERENCES) or (PLAIN, values)
    if kinds == {float}:
        return _pack_decimals(cast("list[float]", values)) or (PLAIN, values)
    return PLAIN, values


def unpack_values(kind: int, values: list[Value]) -> list[Value]:
    """Raises ValueError for an unknown kind."""
    if kind == PLAIN:
        return values
    if not _DIFFERENCES <= kind <= _DECIMALS + _MOST_PLACES:
        raise ValueError(f"unknown kind of column {kind}")
    whole = list(accumulate(cast("list[int]", values)))  # pack_values put whole numbers there
    if kind == _DIFFERENCES:
        return list(whole)
    power = 10 ** (kind - _DECIMALS)
    return [number / power for number in whole]


def _pack_whole(numbers: list[int], kind: int) -> PackedValues | None:
    if min(numbers) <= -_BOUND or max(numbers) >= _BOUND:
        return None
    return kind, [numbers[0], *map(sub, numbers[1:], numbers)]


def _pack_decimals(numbers: list[float]) -> PackedValues | None:
    wanted = array("d", numbers).tobytes()
    if max(numbers) * 10**_MOST_PLACES >= _EXACT or min(numbers) * 10**_MOST_PLACES <= -_EXACT:
        return None
    for places in range(_MOST_PLACES + 1):
        power = 10**places
        # The first value tells most columns apart before the whole of them is worked through.
        if round(numbers[0] * power) / power != numbers[0]:
            continue
        whole = [round(number * power) for number in numbers]
        # Compared as bytes: -0.0 equals 0.0, but is another double.
        if array("d", [number / power for number in whole]).tobytes() == wanted:
            return _pack_whole(whole, _DECIMALS + places)
    return None
