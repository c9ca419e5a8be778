"""The store alone: how many messages a second are committed and folded, and whether the rate holds.

    python benchmarks/store_layout.py [--devices 500] [--seconds 60] [--data-dir DIR]

Feeds `telemetry.ingest` as fast as its backlog takes it, messages of three values from devices in random
order, one acknowledger for each device as in the server. Prints a line every five seconds: messages committed
a second, p50 and p99 of the time from `append` to the acknowledgement, how far folding is behind, and the
size on disk; at the end bytes a point in series.db and the CPU time of both processes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from thingpass.errors import ThingpassError
from thingpass.store.rows import Sample, Value
from thingpass.store.sqlite.connection import get_row, open_connection
from thingpass.store.sqlite.merge_plan import FANOUT
from thingpass.store.sqlite.store import SqliteStore
from thingpass.store.store import Store
from thingpass.telemetry.ingest import Ingest

WINDOW_S = 5.0
BURST = 200  # messages appended in one turn of the loop, as sockets that became readable together


class Meter:
    """Counts acknowledgements and keeps how long they took."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.delays: list[float] = []
        self.failed = 0


class Connection:
    """One device's acknowledger; packet ids are indexes of what was appended."""

    __slots__ = ("_meter", "_sent")

    def __init__(self, meter: Meter, sent: dict[int, float]) -> None:
        self._meter = meter
        self._sent = sent

    def stored(self, packet_ids: list[int]) -> None:
        now = time.perf_counter()
        self._meter.acknowledged += len(packet_ids)
        for packet_id in packet_ids:
            sent = self._sent.pop(packet_id, None)
            if sent is not None:
                self._meter.delays.append(now - sent)

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        self._meter.failed += len(packet_ids)


def messages(devices: int) -> Iterator[tuple[int, Sample]]:
    """Devices in random order; a slow random walk, two decimals, as sensors send it."""
    source = random.Random(1)
    start_ms = time.time_ns() // 1_000_000
    temperatures = [20.0 + source.random() for _ in range(devices)]
    prepared = [source.gauss(0, 0.1) for _ in range(4096)]
    at = 0
    while True:
        at += 1
        device = int(source.random() * devices)
        temperature = temperatures[device] = temperatures[device] + prepared[at & 4095]
        values: dict[str, Value] = {
            "temperature": round(temperature, 2),
            "humidity": 50 + (at * 7 & 7),
            "battery": round(3.7 - (at & 31) / 1000, 3),
        }
        yield device + 1, Sample(start_ms + at // 50, values)


async def feed(ingest: Ingest, devices: int, meter: Meter, seconds: float, rate: float) -> None:
    """At full speed when `rate` is 0, else so many messages a second."""
    sent: dict[int, float] = {}
    connections = [Connection(meter, sent) for _ in range(devices + 1)]
    source = messages(devices)
    packet_id = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        if ingest.full:
            drained = asyncio.get_running_loop().create_future()
            ingest.when_drained(lambda waiting=drained: waiting.set_result(None))  # type: ignore[misc]  # bound
            await drained
        for _ in range(BURST):
            device, sample = next(source)
            packet_id += 1
            if packet_id % 16 == 0:  # measuring each would cost as much as storing it
                sent[packet_id] = time.perf_counter()
            ingest.append(device, (sample,), connections[device], packet_id)
        ahead = packet_id / rate - (time.perf_counter() - began) if rate else 0.0
        await asyncio.sleep(max(ahead, 0.0))


def size_of(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in directory.glob(pattern))


def used_in(path: Path) -> int:
    """Bytes of the pages that are in use."""
    connection = open_connection(path, read_only=True)
    pages, free, size = (
        int(get_row(connection, f"PRAGMA {name}")[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    connection.close()
    return (pages - free) * size


async def settled(path: Path) -> None:
    """Until what the load left behind is settled into runs."""
    connection = open_connection(path, read_only=True)
    while get_row(connection, "SELECT count(*) FROM folds")[0] >= FANOUT:  # noqa: ASYNC110 (another process settles)
        await asyncio.sleep(0.1)
    connection.close()


async def report(store: SqliteStore, directory: Path, meter: Meter) -> None:
    print(f"{'seconds':>8} {'msg/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'unfolded':>9} {'MB':>8}")
    began = last = time.perf_counter()
    before = 0
    while True:
        await asyncio.sleep(WINDOW_S)
        now = time.perf_counter()
        delays, meter.delays = sorted(meter.delays), []
        p50, p99, most = (
            delays[int(len(delays) * part)] * 1000 if delays else 0 for part in (0.5, 0.99, 0.9999)
        )
        print(
            f"{now - began:8.1f} {(meter.acknowledged - before) / (now - last):9,.0f} {p50:8.1f} {p99:8.1f}"
            f" {most:8.1f} {store.unfolded_messages_now:9,} {size_of(directory, '*.db*') / 1e6:8.1f}",
            flush=True,
        )
        before, last = meter.acknowledged, now


async def run(arguments: argparse.Namespace, directory: Path) -> None:
    store = SqliteStore(directory)
    await store.open()
    interface: Store = store
    ingest = Ingest(interface)
    await ingest.start()
    meter = Meter()
    reporting = asyncio.create_task(report(store, directory, meter))
    began = time.perf_counter()
    await feed(ingest, arguments.devices, meter, arguments.seconds, arguments.rate)
    await ingest.stop()
    took = time.perf_counter() - began
    reporting.cancel()
    await store.fold_all()
    await settled(directory / "series.db")
    await store.close()
    points = 3 * max(meter.acknowledged, 1)
    own, child = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"committed and acknowledged: {meter.acknowledged:,} messages, {meter.acknowledged / took:,.0f}/s")
    print(f"not stored: {meter.failed}")
    size, used = size_of(directory, "series.db"), used_in(directory / "series.db")
    print(f"series.db: {size / points:.2f} bytes a point, {used / points:.2f} without pages to be used again")
    for name, usage in (("server", own), ("folding", child)):
        seconds = usage.ru_utime + usage.ru_stime
        print(
            f"{name}: {seconds:.1f} s CPU, {seconds / max(meter.acknowledged, 1) * 1e6:.2f} us a message,"
            f" {usage.ru_maxrss / 1024:.0f} MB at most, {usage.ru_oublock * 512 / 1e6:,.0f} MB written"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0 is as fast as possible")
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        uvloop.run(run(arguments, arguments.data_dir or Path(scratch)))


if __name__ == "__main__":
    main()
