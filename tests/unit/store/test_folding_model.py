"""Journal, memory, runs and merges together against a dictionary, under any order of events."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from thingpass.store.migrate import load_migrations, migrate
from thingpass.store.rows import DataPoint, Value
from thingpass.store.samples import decode_sample, encode_sample
from thingpass.store.sqlite import folder, fresh, merge_plan, merging, runs, settling
from thingpass.store.sqlite.connection import SqliteMigrations, open_connection
from thingpass.store.sqlite.folded import FoldedSeries, read_latest, read_range
from thingpass.store.sqlite.folder import Folder
from thingpass.store.sqlite.folding import open_series
from thingpass.store.sqlite.folding_messages import Done, DropBefore, Fold, Folded
from thingpass.store.sqlite.fresh import WEEK_MS
from thingpass.store.sqlite.journal import decode_batch, drop_slice, encode_batch, insert_batch, read_batches
from thingpass.store.sqlite.points import UNFOLDED, PointRange, newest_points
from thingpass.store.sqlite.unfolded import Unfolded

KEYS = ("a", "b", "c")
SMALL = {
    (folder, "_EASY_FOLDS"): 4,
    (fresh, "_BLOCK_BYTES"): 60,
    (settling, "CHUNK_SAMPLES"): 6,
    (settling, "_DECODED_AT_ONCE"): 5,
    (settling, "_STEP_BLOCKS"): 1,
    (merging, "CHUNK_SAMPLES"): 6,
    (merging, "_STANDS_ALONE"): 3,
    (merging, "_STEP_CHUNKS"): 2,
    (merge_plan, "FANOUT"): 2,
    (runs, "_TIGHT_FROM"): 2,
}

SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 12),
        st.dictionaries(st.sampled_from(KEYS), st.integers(0, 99), max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(autouse=True, scope="module")
def _small_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in SMALL.items():
            patch.setattr(module, name, value)
        yield


class FoldingModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.devices = [1, 2, 300]
        self.points: dict[tuple[int, str], dict[int, Value]] = {}
        self.newest: dict[tuple[int, str], tuple[int, Value]] = {}
        self.kept_from = -(1 << 63)
        self.now_ms = 100 * WEEK_MS
        self.last_id = 0
        self.unfolded = Unfolded()
        self.scratch = tempfile.TemporaryDirectory()
        self.directory = Path(self.scratch.name)

    @initialize()
    def create(self) -> None:
        self.writer = open_connection(self.directory / "thingpass.db", synchronous="normal")
        migrate(SqliteMigrations(self.writer), load_migrations("sqlite", "thingpass"), "thingpass.db")
        self._open()

    def _open(self) -> None:
        self.series = open_series(self.directory)
        self.series.execute("PRAGMA synchronous = OFF")
        self.journal = open_connection(self.directory / "thingpass.db", read_only=True)
        self.folder = Folder(self.series, self.journal)
        self.reads = open_connection(self.directory / "series.db", read_only=True)
        self.folded = FoldedSeries(self.directory / "series.db")
        self.folded.open()

    def _close(self) -> None:
        connections: tuple[apsw.Connection | None, ...] = (
            self.series,
            self.journal,
            self.reads,
            self.folded._connection,
        )
        for connection in connections:
            assert connection is not None
            connection.close()
        self.folded._scanner._thread.shutdown()

    def teardown(self) -> None:
        if hasattr(self, "reads"):
            self._close()
            self.writer.close()
        self.scratch.cleanup()

    @rule(samples=SAMPLES)
    def append(self, samples: list[tuple[int, int, dict[str, Value]]]) -> None:
        samples = [(self.devices[place], ts_ms, values) for place, ts_ms, values in samples]
        encoded = [(device, encode_sample(ts_ms, values)) for device, ts_ms, values in samples]
        self.last_id += 1
        insert_batch(self.writer, self.last_id, len(encoded), encode_batch(encoded))
        self.unfolded.add(self.last_id, encoded)
        for device, ts_ms, values in samples:
            for key, value in values.items():
                self.points.setdefault((device, key), {})[ts_ms] = value
                if self.newest.get((device, key), (-1, 0))[0] <= ts_ms:
                    self.newest[device, key] = (ts_ms, value)

    @rule(drop_journal=st.booleans())
    def fold(self, drop_journal: bool) -> None:
        self.unfolded.seal()
        through = self.unfolded.sealed_through
        if through is None:
            return
        for answer in self.folder.carry_out(Fold(7, through, self.now_ms)):
            if isinstance(answer, Folded):
                self.unfolded.drop(answer.through)
            else:
                assert answer == Done(7)
        assert self.folded.folded_through() == through
        while drop_journal and drop_slice(self.writer, through):
            pass

    @rule(steps=st.integers(1, 6))
    def tidy(self, steps: int) -> None:
        while steps and self.folder.tidy_some():
            steps -= 1

    @rule()
    def let_a_week_pass(self) -> None:
        self.now_ms += WEEK_MS

    @rule(before=st.integers(0, 12))
    def drop_before(self, before: int) -> None:
        # Times here are far before any arrival: what is dropped is what the samples' own times say.
        assert list(self.folder.carry_out(DropBefore(8, before))) == [Done(8)]
        self.kept_from = max(self.kept_from, before)

    @rule(place=st.integers(0, 2))
    @precondition(lambda self: self.last_id > 0)
    def replace_device(self, place: int) -> None:
        """A device is removed and another one added: its number is a new one."""
        device = self.devices[place]
        self.writer.execute("INSERT INTO removed_devices VALUES (?)", (device,))
        self.fold(True)
        self.writer.execute("DELETE FROM removed_devices")
        self.devices[place] = device + 10

    @rule()
    def restart(self) -> None:
        self._close()
        self._open()
        self.unfolded = Unfolded()
        for journal_id, blob in read_batches(self.writer, self.folded.folded_through(), self.last_id):
            self.unfolded.add(journal_id, decode_batch(blob))

    @invariant()
    def newest_values_are_the_models(self) -> None:
        if not hasattr(self, "reads"):
            return
        for device in self.devices:
            unfolded = map(decode_sample, self.unfolded.samples(device))
            assert newest_points(read_latest(self.reads, device, None), unfolded, None) == {
                key: DataPoint(*point) for (number, key), point in self.newest.items() if number == device
            }

    @rule(
        place=st.integers(0, 2),
        start=st.integers(-1, 13),
        length=st.integers(0, 14),
        limit=st.integers(1, 15),
        descending=st.booleans(),
        keys=st.lists(st.sampled_from([*KEYS, "absent"]), unique=True, min_size=1),
    )
    def read(
        self, place: int, start: int, length: int, limit: int, descending: bool, keys: list[str]
    ) -> None:
        device = self.devices[place]
        points = PointRange(
            keys,
            start_ms=max(start, self.kept_from),
            end_ms=start + length,
            limit=limit,
            descending=descending,
        )
        points.add_samples(UNFOLDED, map(decode_sample, self.unfolded.samples(device)))
        read_range(self.reads, device, points)
        expected = {}
        for key in keys:
            known = self.points.get((device, key), {})
            times = [ts_ms for ts_ms in known if max(start, self.kept_from) <= ts_ms < start + length]
            if times:
                times = sorted(times, reverse=descending)[:limit]
                expected[key] = [DataPoint(ts_ms, known[ts_ms]) for ts_ms in times]
        assert points.result() == expected


TestFoldingModel = FoldingModel.TestCase
TestFoldingModel.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
