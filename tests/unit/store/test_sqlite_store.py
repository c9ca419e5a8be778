"""What is the embedded store's own: files and locks, its processes, a full disk, what folding keeps."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from tests.contract.test_store import Registry, append, new_tenant
from thingpass.clock import ManualClock
from thingpass.errors import Unavailable
from thingpass.store.rows import DataPoint
from thingpass.store.samples import encode_sample
from thingpass.store.sqlite import fold_schedule
from thingpass.store.sqlite.connection import open_connection
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.ingest import Ingest

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data", unfolded_messages=100, clock=ManualClock())
    await store.open()
    yield store
    await store.close()


def count(directory: Path, file: str, sql: str) -> int:
    connection = open_connection(directory / file, read_only=True)
    try:
        return int(connection.execute(sql).fetchone()[0])
    finally:
        connection.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in another process)
            await asyncio.sleep(0.005)


class TestDirectory:
    async def test_directory_and_files_are_the_owners_alone(self, store: SqliteStore, tmp_path: Path) -> None:
        await append(store, 1, (1, {"a": 1}))
        await store.fold_all()
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "ota").stat().st_mode) == 0o700
        files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
        assert {"thingpass.db", "thingpass.db-wal", "series.db", "thingpass.lock"} <= {
            file.name for file in files
        }
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    async def test_second_process_is_refused_by_the_firsts_number(
        self, store: SqliteStore, tmp_path: Path
    ) -> None:
        with pytest.raises(Unavailable) as caught:
            await SqliteStore(tmp_path / "data").open()
        assert caught.value.code == "store-in-use"
        assert str(os.getpid()) in caught.value.sentence
        assert caught.value.mend is not None

    async def test_directory_that_cannot_be_made_is_a_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Unavailable, match="cannot be created"):
            await SqliteStore(tmp_path / "file" / "data").open()

    async def test_closed_store_says_so(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path)
        await store.open()
        await store.close()
        for call in (
            store.find_user("x"),
            store.count_users(),
            store.remove_attributes("x", "y", ["z"]),
            store.list_devices("x", limit=1),
            store.append_samples([(1, encode_sample(1, {}))]),
        ):
            with pytest.raises(Unavailable):
                await call
        await store.close()


class TestFolding:
    async def test_folding_begins_when_half_of_the_memory_is_full(
        self, store: SqliteStore, tmp_path: Path
    ) -> None:
        assert store.folding_pid is None
        for number in range(120):
            await append(store, 1, (number, {"a": number}))
        await until(lambda: store.unfolded_messages_now < 50)
        found = await store.series(1, ["a"], start_ms=0, end_ms=1000, limit=1000, descending=False)
        assert found == {"a": [DataPoint(number, number) for number in range(120)]}
        assert count(tmp_path / "data", "thingpass.db", "SELECT count(*) FROM journal") < 70

    async def test_old_samples_are_folded_by_age(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path, fold_after_s=0.05)
        await store.open()
        await append(store, 1, (1, {"a": 1}))
        await until(lambda: store.unfolded_messages_now == 0)
        assert await store.latest(1, None) == {"a": DataPoint(1, 1)}
        await store.close()

    async def test_appending_waits_while_the_memory_is_full(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await append(store, 1, (0, {"a": 0}))
        await store.fold_all()
        pid = store.folding_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await append(store, 1, *((number, {"a": number}) for number in range(100)))
            waiting = asyncio.create_task(append(store, 1, (100, {"a": 100})))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        finally:
            os.kill(pid, signal.SIGCONT)
        await waiting
        assert await store.latest(1, None) == {"a": DataPoint(100, 100)}

    async def test_store_closes_in_time_when_the_folding_process_hangs(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path, unfolded_messages=10)
        await store.open()
        ingest = Ingest(store)
        await ingest.start()
        await append(store, 1, (0, {"a": 0}))
        await store.fold_all()
        pid = store.folding_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await append(store, 1, *((number, {"a": number}) for number in range(20)))
        began = time.monotonic()
        await ingest.stop()
        await store.close()
        assert time.monotonic() - began < 4
        store = SqliteStore(tmp_path)
        await store.open()
        assert await store.latest(1, None) == {"a": DataPoint(19, 19)}
        await store.close()

    async def test_dead_folding_process_is_reported_and_replaced(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fold_schedule, "_FIRST_DELAY_S", 0.3)
        await append(store, 1, (0, {"a": 0}))
        await store.fold_all()
        first = store.folding_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(0.05)
        await append(store, 1, (1, {"a": 1}))
        folding = asyncio.create_task(store.fold_all())
        await until(lambda: store.folding_fault is not None)
        with pytest.raises(Unavailable) as caught:
            await store.check()
        assert caught.value.code == "store-folding"
        await folding
        await store.check()
        assert store.folding_pid not in (None, first)
        assert await store.latest(1, None) == {"a": DataPoint(1, 1)}

    async def test_folding_process_ends_with_the_server(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path)
        await store.open()
        await append(store, 1, (0, {"a": 0}))
        await store.fold_all()
        pid = store.folding_pid
        assert pid is not None
        for signal_number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # sent to the whole group by terminals and managers
            os.kill(pid, signal_number)
        await append(store, 1, (1, {"a": 1}))
        await store.fold_all()
        assert store.folding_pid == pid
        began = time.monotonic()
        await store.close()
        assert time.monotonic() - began < 2
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not (tmp_path / "series.db-wal").exists()

    async def test_series_of_a_removed_device_are_cleared_away(
        self, store: SqliteStore, tmp_path: Path
    ) -> None:
        registry = Registry(store, *new_tenant())
        await store.add_tenant(registry.tenant, registry.profile)
        device = await registry.add("boiler")
        for number in range(20):  # settled into a run, and some not yet
            await append(store, device.number, (number, {"a": number}))
            await store.fold_all()
        await store.remove_device(device.id)
        await append(store, device.number, (99, {"a": 1}))  # a packet that was on its way
        await store.fold_all()
        assert await store.latest(device.number, None) == {}
        directory = tmp_path / "data"
        assert count(directory, "thingpass.db", "SELECT count(*) FROM removed_devices") == 0
        assert count(directory, "series.db", "SELECT count(*) FROM removed_devices") == 1
        assert count(directory, "series.db", "SELECT count(*) FROM latest") == 0

    async def test_dropping_old_series_frees_what_arrived_before(
        self, store: SqliteStore, tmp_path: Path
    ) -> None:
        clock = store._clock
        assert isinstance(clock, ManualClock)
        old = clock.now_ms()
        await append(store, 1, (old, {"a": 1}))
        await store.fold_all()
        clock.advance(3600)
        new = clock.now_ms()
        await append(store, 1, (new - 1, {"a": 2}), (new + 1, {"a": 3}))
        await store.fold_all()
        await append(store, 1, (new - 2, {"a": 4}))
        await store.drop_series_before(new)
        found = await store.series(1, ["a"], start_ms=0, end_ms=1 << 60, limit=10)
        assert found == {"a": [DataPoint(new + 1, 3)]}
        assert count(tmp_path / "data", "series.db", "SELECT count(*) FROM folds") == 1

    async def test_journal_ids_go_on_above_what_is_folded(self, tmp_path: Path) -> None:
        """A journal that is empty, or comes from an older backup, must not number from 1 again."""
        store = SqliteStore(tmp_path)
        await store.open()
        for number in range(3):
            await append(store, 1, (number, {"a": number}))
        await store.fold_all()
        await store.close()
        (tmp_path / "thingpass.db").unlink()
        store = SqliteStore(tmp_path)
        await store.open()
        await append(store, 1, (9, {"a": 9}))
        await store.fold_all()
        assert await store.latest(1, None) == {"a": DataPoint(9, 9)}
        assert len((await store.series(1, ["a"], start_ms=0, end_ms=10, limit=10))["a"]) == 4
        await store.close()

    async def test_many_samples_in_memory_are_read_as_well(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path)
        await store.open()
        await append(store, 1, *((number, {"a": number}) for number in range(3_000)))
        assert await store.latest(1, ["a"]) == {"a": DataPoint(2_999, 2_999)}
        await store.close()


class TestFullDisk:
    async def test_full_disk_is_told_and_passes(self, store: SqliteStore) -> None:
        async def limit_pages(pages: int) -> None:
            await store._database.write(
                lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
            )

        await store.check()
        await limit_pages(1)
        with pytest.raises(Unavailable) as caught:
            await append(store, 1, (1, {"a": "x" * 100_000}))
        assert caught.value.code == "store-full"
        registry = Registry(store, *new_tenant())
        await limit_pages(1 << 30)
        await store.add_tenant(registry.tenant, registry.profile)
        await append(store, 1, (2, {"a": 2}))
        await store.check()
        assert await store.latest(1, None) == {"a": DataPoint(2, 2)}

    async def test_one_failed_write_does_not_undo_its_neighbours(self, store: SqliteStore) -> None:
        registry = Registry(store, *new_tenant())
        await store.add_tenant(registry.tenant, registry.profile)

        def slow(connection: apsw.Connection) -> None:
            time.sleep(0.05)  # so that the others gather and are committed together

        blocked = store._database.write(slow)
        results = await asyncio.gather(
            blocked,
            registry.add("a"),
            registry.add("a", "another token"),
            registry.add("b"),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results[1:]] == ["Device", "AlreadyExists", "Device"]
        assert (await store.list_devices(registry.tenant.id, limit=10)).total == 2

    def test_process_whose_files_may_not_grow_goes_on_when_they_may(self, tmp_path: Path) -> None:
        script = f"""
import asyncio, resource
from pathlib import Path
from thingpass.errors import Unavailable
from thingpass.store.samples import encode_sample
from thingpass.store.sqlite.store import SqliteStore

async def main():
    store = SqliteStore(Path({str(tmp_path)!r}))
    await store.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    stored, failed = [], 0
    for number in range(100):
        try:
            await store.append_samples([(1, encode_sample(number, {{"a": "x" * 20_000}}))])
            stored.append(number)
        except Unavailable as error:
            assert error.code in ("store-full", "store-failed"), error.code
            failed += 1
    assert stored and failed, (len(stored), failed)
    try:
        await store.check()
        raise SystemExit("the check passed")
    except Unavailable:
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.check()
    await store.append_samples([(1, encode_sample(1000, {{"a": 1}}))])
    stored.append(1000)
    await store.close()
    store = SqliteStore(Path({str(tmp_path)!r}))
    await store.open()
    found = await store.series(1, ["a"], start_ms=0, end_ms=2000, limit=2000, descending=False)
    assert {{point.ts_ms for point in found["a"]}} >= set(stored)
    await store.close()

asyncio.run(main())
"""
        completed = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        assert completed.returncode == 0, completed.stderr
