"""What was acknowledged survives `kill -9` of the server, of the folding process, or of both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.store.appending import DEVICES, device_of
from thingpass.store.rows import DataPoint
from thingpass.store.sqlite.connection import open_connection
from thingpass.store.sqlite.store import SqliteStore

UNFOLDED = 1_000  # so that it folds, settles and merges all the time
ROOT = Path(__file__).parents[3]


@contextmanager
def appending(directory: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.store.appending", str(directory), str(UNFOLDED), str(first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[str], *, stored: int) -> tuple[int, list[int]]:
    """The last durable sample, once it is at least `stored`, and the folding processes that were seen."""
    assert process.stdout is not None
    folding: list[int] = []
    for line in process.stdout:
        word, number = line.split()[:2]
        assert word in ("stored", "folding")
        if word == "folding":
            folding.append(int(number))
        elif int(number) >= stored:
            return int(number), folding
    raise AssertionError("the process ended by itself")


def rest_of(process: subprocess.Popen[str], last: int) -> int:
    """The last durable sample that it managed to tell of."""
    assert process.stdout is not None
    for line in process.stdout.read().splitlines():
        if line.startswith("stored ") and line.split()[1].isdigit():
            last = int(line.split()[1])
    return last


async def numbers_in(directory: Path) -> set[int]:
    """Every sample that can be read; checks that each is where it belongs and was folded once."""
    store = SqliteStore(directory, unfolded_messages=UNFOLDED)
    await store.open()
    found: set[int] = set()
    try:
        await store.fold_all()
        for device in range(1, DEVICES + 1):
            points = (await store.series(device, ["n"], start_ms=0, end_ms=1 << 60, limit=1 << 30)).get(
                "n", []
            )
            assert all(point.ts_ms == point.value and device_of(point.ts_ms) == device for point in points)
            assert len({point.ts_ms for point in points}) == len(points)
            found.update(point.ts_ms for point in points)
            if points:
                assert await store.latest(device, ["n"]) == {"n": DataPoint(points[0].ts_ms, points[0].value)}
    finally:
        await store.close()
    connection = open_connection(directory / "series.db")
    counted = connection.execute(
        "SELECT (SELECT ifnull(sum(samples), 0) FROM folds)"
        " + (SELECT ifnull(sum(samples), 0) FROM runs WHERE complete)"
    ).fetchone()
    connection.close()
    assert counted == (len(found),)
    return found


@pytest.mark.timeout(300)
def test_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    first = 1
    lost: set[int] = set()
    for round_number in range(3):
        with appending(tmp_path, first) as process:
            last, _ = read_until(process, stored=first + 3_000 + 777 * round_number)
            process.kill()
            last = rest_of(process, last)
        found = asyncio.run(numbers_in(tmp_path))
        lost |= set(range(1, last + 1)) - found
        first = max(found) + 1  # the next round's numbers leave no gap
    assert lost == set()


@pytest.mark.timeout(300)
def test_killed_folding_process_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with appending(tmp_path, 1) as process:
        last, seen = read_until(process, stored=1_500)
        for _ in range(3):
            while not seen:
                last, seen = read_until(process, stored=last + 1)
            time.sleep(0.05)
            os.kill(seen[-1], signal.SIGKILL)
            last, seen = read_until(process, stored=last + 1_500)
        process.kill()
        last = rest_of(process, last)
    assert set(range(1, last + 1)) <= asyncio.run(numbers_in(tmp_path))
