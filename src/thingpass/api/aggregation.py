"""Telemetry by interval: MIN, MAX, AVG, SUM, COUNT over buckets of time (rest-api reference 5.4). Pure.

Which value a bucket gives: COUNT counts points of every kind; the others look at numbers, and MIN and MAX at
texts where a bucket holds no number. Booleans and JSON are only counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

import msgspec

from thingpass.errors import Invalid
from thingpass.store.rows import DataPoint, JsonText, Value

MAX_BUCKETS = 700
LONGEST = 2**63  # a LONG lies below, in absolute value


class Aggregation(StrEnum):
    NONE = "NONE"
    MIN = "MIN"
    MAX = "MAX"
    AVG = "AVG"
    SUM = "SUM"
    COUNT = "COUNT"


class IntervalType(StrEnum):
    MILLISECONDS = "MILLISECONDS"
    WEEK = "WEEK"  # begins on Sunday
    WEEK_ISO = "WEEK_ISO"  # begins on Monday
    MONTH = "MONTH"
    QUARTER = "QUARTER"


class Buckets(msgspec.Struct, frozen=True):
    """Where each bucket begins, ascending, and where the last one ends; milliseconds."""

    starts: Sequence[int]
    end_ms: int

    def place(self, ts_ms: int) -> int:
        """The bucket's number; -1 outside of all."""
        return bisect_right(self.starts, ts_ms) - 1 if ts_ms < self.end_ms else -1

    def middle(self, place: int) -> int:
        start = self.starts[place]
        end = self.starts[place + 1] if place + 1 < len(self.starts) else self.end_ms
        return start + (end - start) // 2


def equal_buckets(start_ms: int, end_ms: int, interval_ms: int) -> Buckets:
    """Buckets of equal length, the last one cut at the end. Raises Invalid for too many."""
    if interval_ms < 1:
        raise Invalid(f"Invalid TsKvQuery: 'interval' must be greater than 0, but got '{interval_ms}'")
    count = (end_ms - start_ms) // max(interval_ms, 1000)
    if count < 0 or count > MAX_BUCKETS:
        raise Invalid(
            f"Incorrect TsKvQuery. Number of intervals is to high - {count}. "
            "Please increase 'interval' parameter for your query or reduce the time range of the query."
        )
    return Buckets(range(start_ms, end_ms, interval_ms), end_ms)


def calendar_buckets(start_ms: int, end_ms: int, kind: IntervalType, zone: tzinfo) -> Buckets:
    """Buckets that end with weeks, months or quarters of a time zone. Raises Invalid for too many.

    The first bucket begins at `start_ms`, wherever that lies in its week, month or quarter.
    """
    starts: list[int] = []
    at_ms = start_ms
    try:
        while at_ms < end_ms and len(starts) <= MAX_BUCKETS:
            starts.append(at_ms)
            at_ms = _next_calendar_edge(at_ms, kind, zone)
    except (OverflowError, ValueError, OSError) as error:
        raise Invalid("Incorrect TsKvQuery. The time range reaches beyond the calendar.") from error
    if len(starts) > MAX_BUCKETS:
        raise Invalid(
            "Incorrect TsKvQuery. Number of intervals is to high. Reduce the time range of the query."
        )
    return Buckets(starts, end_ms)


def _next_calendar_edge(at_ms: int, kind: IntervalType, zone: tzinfo) -> int:
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if kind is IntervalType.WEEK:
        following = midnight + timedelta(days=7 - at.isoweekday() % 7)
    elif kind is IntervalType.WEEK_ISO:
        following = midnight + timedelta(days=8 - at.isoweekday())
    else:
        months = 1 if kind is IntervalType.MONTH else 3
        index = at.year * 12 + (at.month - 1) // months * months + months
        following = midnight.replace(year=index // 12, month=index % 12 + 1, day=1)
    return int(following.timestamp() * 1000)


class _Bucket:
    __slots__ = ("count", "largest", "largest_text", "numbers", "smallest", "smallest_text", "sum", "whole")

    def __init__(self) -> None:
        self.count = 0
        self.numbers = 0
        self.whole = True  # no number with a fraction among them
        self.sum: int | float = 0
        self.smallest: int | float = 0
        self.largest: int | float = 0
        self.smallest_text: str | None = None
        self.largest_text: str | None = None

    def add(self, value: Value) -> None:
        self.count += 1
        if isinstance(value, bool | JsonText):
            return
        if isinstance(value, str):
            low, high = self.smallest_text, self.largest_text
            self.smallest_text = value if low is None or value < low else low
            self.largest_text = value if high is None or value > high else high
            return
        if self.numbers == 0:
            self.smallest = self.largest = value
        elif value < self.smallest:
            self.smallest = value
        elif value > self.largest:
            self.largest = value
        self.numbers += 1
        self.sum += value
        self.whole = self.whole and isinstance(value, int)

    def number(self, value: int | float) -> Value | None:
        if self.numbers == 0:
            return None
        return value if self.whole and -LONGEST <= value < LONGEST else float(value)


_RESULTS: dict[Aggregation, Callable[[_Bucket], Value | None]] = {
    Aggregation.COUNT: lambda bucket: bucket.count,
    Aggregation.SUM: lambda bucket: bucket.number(bucket.sum),
    Aggregation.AVG: lambda bucket: bucket.sum / bucket.numbers if bucket.numbers else None,
    Aggregation.MIN: lambda bucket: (
        bucket.number(bucket.smallest) if bucket.numbers else bucket.smallest_text
    ),
    Aggregation.MAX: lambda bucket: bucket.number(bucket.largest) if bucket.numbers else bucket.largest_text,
}


class Aggregator:
    """Takes points in any order, some at a time; memory grows with buckets, not with points."""

    def __init__(self, buckets: Buckets, aggregation: Aggregation) -> None:
        self._buckets = buckets
        self._result = _RESULTS[aggregation]
        self._filled: dict[int, _Bucket] = {}

    def add(self, points: Iterable[DataPoint]) -> None:
        for point in points:
            place = self._buckets.place(point.ts_ms)
            if place < 0:
                continue
            bucket = self._filled.get(place)
            if bucket is None:
                bucket = self._filled[place] = _Bucket()
            bucket.add(point.value)

    def results(self, *, descending: bool) -> list[DataPoint]:
        """One point a bucket, at the bucket's middle; buckets without a result are left out."""
        found: list[DataPoint] = []
        for place in sorted(self._filled, reverse=descending):
            value = self._result(self._filled[place])
            if value is not None:
                found.append(DataPoint(self._buckets.middle(place), value))
        return found
