"""Reading time ranges for the telemetry routes: page by page, as points or by interval, bounded.

A long range is read in pages and turned into JSON or sums in a thread, a page at a time, so that the loop,
which devices share, never waits for more than one page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from thingpass.api.aggregation import Aggregation, Aggregator, Buckets
from thingpass.api.value_texts import points
from thingpass.errors import Invalid
from thingpass.store.rows import DataPoint
from thingpass.telemetry.series import SeriesService

PAGE_POINTS = 5_000
MAX_POINTS = 1_000_000
"""Of one answer, or looked at for one aggregation: about 50 MB of JSON, a second of one core."""

INLINE_POINTS = 200  # fewer are turned into JSON at once: a thread would cost more


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A range of one device: start included, end excluded, milliseconds."""

    device_number: int
    keys: tuple[str, ...]
    start_ms: int
    end_ms: int
    descending: bool
    strict: bool


async def read_points(series: SeriesService, query: HistoryQuery, *, limit: int) -> bytes:
    """The JSON of at most `limit` points a key. Raises Invalid when that is more than MAX_POINTS."""
    members: list[bytes] = []
    total = 0
    for key in query.keys:
        chunks: list[bytes] = []
        async for page in _pages(series, query, key, limit=limit, descending=query.descending):
            total += len(page)
            if total > MAX_POINTS:
                raise _too_many()
            chunks.append(await _encode(page, strict=query.strict))
        if chunks:
            members.append(_member(key, chunks))
    return b"{" + b",".join(members) + b"}"


async def read_aggregated(
    series: SeriesService, query: HistoryQuery, buckets: Buckets, aggregation: Aggregation
) -> bytes:
    """The JSON of one value a bucket and key. Raises Invalid when more than MAX_POINTS lie in the range."""
    members: list[bytes] = []
    total = 0
    for key in query.keys:
        aggregator = Aggregator(buckets, aggregation)
        async for page in _pages(series, query, key, limit=MAX_POINTS + 1, descending=False):
            total += len(page)
            if total > MAX_POINTS:
                raise _too_many()
            await asyncio.to_thread(aggregator.add, page)
        results = aggregator.results(descending=query.descending)
        if results:
            members.append(_member(key, [await _encode(results, strict=query.strict)]))
    return b"{" + b",".join(members) + b"}"


async def _pages(
    series: SeriesService, query: HistoryQuery, key: str, *, limit: int, descending: bool
) -> AsyncIterator[list[DataPoint]]:
    start_ms, end_ms, left = query.start_ms, query.end_ms, limit
    while left > 0 and start_ms < end_ms:
        wanted = min(left, PAGE_POINTS)
        found = await series.read(
            query.device_number, (key,), start_ms=start_ms, end_ms=end_ms, limit=wanted, descending=descending
        )
        page = found.get(key, [])
        if page:
            yield page
        if len(page) < wanted:
            return
        left -= len(page)
        # A key has one point at a time, so the next page begins beside the last point of this one.
        if descending:
            end_ms = page[-1].ts_ms
        else:
            start_ms = page[-1].ts_ms + 1


async def _encode(page: Sequence[DataPoint], *, strict: bool) -> bytes:
    if len(page) <= INLINE_POINTS:
        return _encode_now(page, strict)
    return await asyncio.to_thread(_encode_now, page, strict)


def _encode_now(page: Sequence[DataPoint], strict: bool) -> bytes:
    return msgspec.json.encode(points(page, strict=strict))[1:-1]


def _member(key: str, chunks: list[bytes]) -> bytes:
    return msgspec.json.encode(key) + b":[" + b",".join(chunks) + b"]"


def _too_many() -> Invalid:
    return Invalid(
        f"The time range holds more than {MAX_POINTS} points.",
        mend="Ask for fewer keys, a shorter range, or a smaller limit.",
    )
