from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from thingpass.errors import Invalid, ThingpassError, Unavailable
from thingpass.metrics import Counters
from thingpass.store.rows import DataPoint, Sample
from thingpass.store.samples import decode_sample
from thingpass.telemetry import ingest as ingest_module
from thingpass.telemetry.ingest import Ingest


class SlowStore:
    """Takes batches, and commits one each time `commit` is called. Not a database: nothing is read back."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, Sample]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def append_samples(self, encoded: Sequence[tuple[int, bytes]]) -> None:
        await self.open.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.batches.append([(number, decode_sample(sample)) for number, sample in encoded])

    async def latest(self, device_number: int, keys: Iterable[str] | None) -> dict[str, DataPoint]:
        raise AssertionError

    async def series(
        self,
        device_number: int,
        keys: Sequence[str],
        *,
        start_ms: int,
        end_ms: int,
        limit: int,
        descending: bool = True,
    ) -> dict[str, list[DataPoint]]:
        raise AssertionError

    async def series_keys(self, device_number: int) -> list[str]:
        raise AssertionError


class Connection:
    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.refused: list[tuple[list[int], str]] = []

    def stored(self, packet_ids: list[int]) -> None:
        self.told.append(packet_ids)

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        self.refused.append((packet_ids, error.code))


@pytest.fixture
async def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def ingest(store: SlowStore) -> AsyncIterator[Ingest]:
    ingest = Ingest(store, backlog_messages=4)
    await ingest.start()
    yield ingest
    store.open.set()
    await ingest.stop()


def sample(number: int) -> Sample:
    return Sample(number, {"n": number})


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_idle_ingest_commits_at_once_and_then_acknowledges(store: SlowStore, ingest: Ingest) -> None:
    connection = Connection()
    ingest.append(7, [sample(1)], connection, 11)
    assert connection.told == []
    await settle()
    assert store.batches == [[(7, sample(1))]]
    assert connection.told == [[11]]


@pytest.mark.parametrize("error", [None, Unavailable("The disk is full.")])
async def test_one_acknowledgement_for_the_parts_of_a_gateway(
    store: SlowStore, ingest: Ingest, error: Exception | None
) -> None:
    """What is appended in one turn of the loop is one commit: who comes with the last part speaks for all."""
    gateway = Connection()
    store.open.clear()
    ingest.append(9, [sample(0)], None, 0)
    await settle()  # a commit runs
    for number in (1, 2, 3):
        ingest.append(number, [sample(number)], None, 0)
    ingest.append(9, (), gateway, 11)
    await settle()
    assert gateway.told == []
    store.error = error
    store.open.set()
    await settle()
    if error is None:
        assert store.batches[-1] == [(number, sample(number)) for number in (1, 2, 3)]
        assert (gateway.told, gateway.refused) == ([[11]], [])
    else:
        assert (gateway.told, gateway.refused) == ([], [([11], "unavailable")])


async def test_what_gathers_during_a_commit_is_the_next_commit(store: SlowStore, ingest: Ingest) -> None:
    first, second = Connection(), Connection()
    store.open.clear()
    ingest.append(1, [sample(1)], first, 1)
    await settle()
    ingest.append(2, [sample(2)], second, 5)
    ingest.append(1, [sample(3), sample(4)], first, 2)
    ingest.append(1, [sample(5)], first, 3)
    store.open.set()
    await settle()
    assert store.batches == [
        [(1, sample(1))],
        [(2, sample(2)), (1, sample(3)), (1, sample(4)), (1, sample(5))],
    ]
    assert first.told == [[1], [2, 3]]
    assert second.told == [[5]]


async def test_packet_without_samples_is_acknowledged(store: SlowStore, ingest: Ingest) -> None:
    connection = Connection()
    ingest.append(1, [], connection, 4)
    await settle()
    assert connection.told == [[4]]


async def test_packet_at_qos_0_is_stored_and_nobody_told(store: SlowStore, ingest: Ingest) -> None:
    ingest.append(1, [sample(1)], None, 0)
    await settle()
    assert store.batches == [[(1, sample(1))]]


async def test_value_that_cannot_be_stored_leaves_the_batch_as_it_was(
    store: SlowStore, ingest: Ingest
) -> None:
    connection = Connection()
    with pytest.raises(Invalid):
        ingest.append(1, [sample(1), Sample(2, {"n": float("nan")})], connection, 1)
    ingest.append(1, [sample(3)], connection, 2)
    await settle()
    assert store.batches == [[(1, sample(3))]]
    assert connection.told == [[2]]


async def test_full_backlog_is_reported_and_its_end_called_back(store: SlowStore, ingest: Ingest) -> None:
    called: list[str] = []
    ingest.when_drained(lambda: called.append("at once"))
    assert called == ["at once"]
    store.open.clear()
    for number in range(4):
        assert not ingest.full
        ingest.append(1, [sample(number)], None, 0)
    assert ingest.full
    ingest.when_drained(lambda: called.append("drained"))
    await settle()
    assert called == ["at once"]
    store.open.set()
    await settle()
    assert called == ["at once", "drained"]
    assert not ingest.full


async def test_long_samples_fill_the_backlog_sooner(store: SlowStore, ingest: Ingest) -> None:
    ingest.append(1, [Sample(1, {"text": "x" * 2_000})], None, 0)
    assert ingest.full


async def test_failed_commit_is_told_and_the_next_one_tried(store: SlowStore) -> None:
    counters = Counters()
    ingest = Ingest(store, counters=counters)
    await ingest.start()
    connection = Connection()
    store.error = Unavailable("The disk is full.", code="store-full")
    ingest.append(1, [sample(1)], connection, 1)
    await settle()
    assert connection.refused == [([1], "store-full")]
    with pytest.raises(Unavailable):
        await ingest.store_samples(1, [sample(2)])
    store.error = RuntimeError("a fault of ours")
    ingest.append(1, [sample(3)], connection, 3)
    await settle()
    assert connection.refused[1:] == [([3], "unavailable")]
    store.error = None
    await ingest.store_samples(1, [sample(4)])
    assert store.batches == [[(1, sample(4))]]
    assert (counters.commits, counters.commits_failed, counters.points_stored) == (1, 3, 1)
    await ingest.stop()


async def test_acknowledger_that_fails_does_not_harm_the_others(store: SlowStore, ingest: Ingest) -> None:
    class Broken(Connection):
        def stored(self, packet_ids: list[int]) -> None:
            raise OSError

    connection = Connection()
    ingest.append(1, [sample(1)], Broken(), 1)
    ingest.append(1, [sample(2)], connection, 2)
    await settle()
    assert connection.told == [[2]]


async def test_stopping_commits_what_was_appended(store: SlowStore) -> None:
    ingest = Ingest(store)
    await ingest.start()
    connection = Connection()
    ingest.append(1, [sample(1)], connection, 1)
    await ingest.stop()
    assert store.batches == [[(1, sample(1))]]
    assert connection.told == [[1]]
    with pytest.raises(Unavailable):
        await ingest.store_samples(1, [sample(2)])


async def test_stopping_does_not_wait_for_a_store_that_stands_still(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "_STOP_S", 0.05)
    ingest = Ingest(store)
    await ingest.start()
    connection = Connection()
    store.open.clear()
    ingest.append(1, [sample(1)], connection, 1)
    await settle()
    ingest.append(1, [sample(2)], connection, 2)
    await ingest.stop()
    assert connection.told == []
    assert [packet_ids for packet_ids, _ in connection.refused] == [[1], [2]]
