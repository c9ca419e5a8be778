"""Stored values as ThingsBoard's telemetry routes write them: as texts by default, as they are if strict."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeAlias

import msgspec

from thingpass.store.rows import Attribute, DataPoint, JsonText, Value

Encodable: TypeAlias = bool | int | float | str | msgspec.Raw | None


class PointShape(msgspec.Struct, frozen=True):
    ts: int
    value: Encodable


class AttributeShape(msgspec.Struct, frozen=True, rename="camel"):
    last_update_ts: int
    key: str
    value: Encodable


def native(value: Value) -> Encodable:
    """The value as JSON of its own kind; a stored JSON text is put in as it was sent."""
    if isinstance(value, JsonText):
        return msgspec.Raw(value.encode())
    return value


def text(value: Value) -> str:
    """The value as text, as Java writes it: `true`, `22.0`, `1.0E10` (rest-api reference 5.2)."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return java_double(value)


def java_double(number: float) -> str:
    """`Double.toString` of Java 19 and later: the shortest digits that give the same number again."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return repr(number)
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    fraction = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{fraction}E{exponent + len(digits) - 1}"


def points(found: Iterable[DataPoint], *, strict: bool) -> list[PointShape]:
    if strict:
        return [PointShape(point.ts_ms, native(point.value)) for point in found]
    return [PointShape(point.ts_ms, text(point.value)) for point in found]


def attributes(found: Iterable[Attribute]) -> list[AttributeShape]:
    """Attributes always have their own kinds (reference 5.2)."""
    return [AttributeShape(row.updated_at_ms, row.key, native(row.value)) for row in found]
