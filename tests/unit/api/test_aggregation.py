"""Buckets of time and what each gives (rest-api reference 5.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.api.aggregation import (
    Aggregation,
    Aggregator,
    IntervalType,
    calendar_buckets,
    equal_buckets,
)
from thingpass.errors import Invalid
from thingpass.store.rows import DataPoint, JsonText


def aggregate(aggregation, *points, start=0, end=10_000, interval=5_000, descending=False):
    aggregator = Aggregator(equal_buckets(start, end, interval), aggregation)
    aggregator.add([DataPoint(ts, value) for ts, value in points])
    return [(point.ts_ms, point.value) for point in aggregator.results(descending=descending)]


@pytest.mark.parametrize(
    ("aggregation", "values", "expected"),
    [
        (Aggregation.MIN, (3, 1, 2), 1),
        (Aggregation.MAX, (3, 1, 2), 3),
        (Aggregation.SUM, (3, 1, 2), 6),
        (Aggregation.AVG, (3, 1, 2), 2.0),
        (Aggregation.COUNT, (3, 1, 2), 3),
        (Aggregation.SUM, (1, 0.5), 1.5),
        (Aggregation.MIN, (1, 2.5), 1.0),
        (Aggregation.MIN, ("b", "a"), "a"),
        (Aggregation.MAX, ("b", "a", True), "b"),
        (Aggregation.MAX, ("b", 7), 7),
        (Aggregation.COUNT, ("b", True, JsonText("{}"), 1), 4),
        (Aggregation.SUM, (2**62, 2**62), float(2**63)),
    ],
)
def test_one_bucket(aggregation, values, expected):
    found = aggregate(aggregation, *((at, value) for at, value in enumerate(values)))
    assert found == [(2_500, expected)]
    assert type(found[0][1]) is type(expected)


@pytest.mark.parametrize("aggregation", [Aggregation.SUM, Aggregation.AVG, Aggregation.MIN])
def test_bucket_without_numbers_is_left_out(aggregation):
    assert aggregate(aggregation, (0, True), (1, JsonText("{}"))) == []


def test_each_point_lies_in_one_bucket_and_the_end_is_excluded():
    points = [(0, 1), (4_999, 1), (5_000, 1), (9_999, 1), (10_000, 1), (-1, 1)]
    assert aggregate(Aggregation.COUNT, *points) == [(2_500, 2), (7_500, 2)]


def test_last_bucket_is_cut_at_the_end():
    assert aggregate(Aggregation.COUNT, (6_000, 1), end=7_000) == [(6_000, 1)]


def test_newest_first():
    found = aggregate(Aggregation.COUNT, (0, 1), (6_000, 1), descending=True)
    assert [ts for ts, _ in found] == [7_500, 2_500]


@given(
    values=st.lists(st.tuples(st.integers(0, 99_999), st.integers(-(2**40), 2**40)), max_size=50),
    interval=st.integers(1_000, 30_000),
)
def test_buckets_count_every_point_once(values, interval):
    counted = aggregate(Aggregation.COUNT, *values, end=100_000, interval=interval)
    assert sum(count for _, count in counted) == len(values)
    summed = aggregate(Aggregation.SUM, *values, end=100_000, interval=interval)
    assert sum(part for _, part in summed) == sum(value for _, value in values)


def test_too_many_intervals_are_refused_by_number():
    with pytest.raises(Invalid, match=r"Number of intervals is to high - 701"):
        equal_buckets(0, 701_000, 1_000)
    assert len(equal_buckets(0, 700_000, 1_000).starts) == 700


def test_range_turned_round_is_refused():
    with pytest.raises(Invalid):
        equal_buckets(10_000, 0, 1_000)


def test_negative_interval_is_refused():
    with pytest.raises(Invalid, match="'interval' must be greater than 0, but got '-5'"):
        equal_buckets(0, 10, -5)


def starts(kind, start, end, zone=UTC):
    found = calendar_buckets(int(start.timestamp() * 1000), int(end.timestamp() * 1000), kind, zone)
    return [datetime.fromtimestamp(ms / 1000, zone).strftime("%Y-%m-%d %H:%M") for ms in found.starts]


def test_weeks_begin_on_sunday_or_monday():
    start, end = datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 12, 9, tzinfo=UTC)  # a Wednesday
    assert starts(IntervalType.WEEK, start, end) == [
        "2026-11-25 12:00",
        "2026-11-29 00:00",
        "2026-12-06 00:00",
    ]
    assert starts(IntervalType.WEEK_ISO, start, end) == [
        "2026-11-25 12:00",
        "2026-11-30 00:00",
        "2026-12-07 00:00",
    ]


def test_a_week_that_begins_on_its_first_day_is_whole():
    start = datetime(2026, 11, 29, tzinfo=UTC)  # a Sunday
    assert starts(IntervalType.WEEK, start, datetime(2026, 12, 7, tzinfo=UTC)) == [
        "2026-11-29 00:00",
        "2026-12-06 00:00",
    ]


def test_months_and_quarters_over_the_turn_of_a_year():
    start, end = datetime(2026, 11, 25, tzinfo=UTC), datetime(2027, 5, 1, tzinfo=UTC)
    assert starts(IntervalType.MONTH, start, end)[1:4] == [
        "2026-12-01 00:00",
        "2027-01-01 00:00",
        "2027-02-01 00:00",
    ]
    assert starts(IntervalType.QUARTER, start, end)[1:] == ["2027-01-01 00:00", "2027-04-01 00:00"]


def test_local_midnight_holds_over_the_change_of_clocks():
    zone = ZoneInfo("Europe/Kyiv")
    start, end = datetime(2026, 10, 1, tzinfo=zone), datetime(2026, 12, 1, tzinfo=zone)
    assert starts(IntervalType.MONTH, start, end, zone) == ["2026-10-01 00:00", "2026-11-01 00:00"]


def test_calendar_range_of_millennia_is_refused():
    with pytest.raises(Invalid):
        calendar_buckets(0, 10**15, IntervalType.WEEK, UTC)
    with pytest.raises(Invalid):
        calendar_buckets(10**17, 10**17 + 1, IntervalType.WEEK, UTC)
