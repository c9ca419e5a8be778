"""A process that appends samples for as long as it lives, for tests that kill it.

`python -m tests.unit.store.appending DIR UNFOLDED FIRST` prints `folding PID` whenever a new folding process
runs, and `stored N` when all samples up to N are durable. Sample N belongs to device N % 7 + 1, at time N.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from thingpass.errors import ThingpassError
from thingpass.store.rows import Sample
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.ingest import Ingest

DEVICES = 7


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Printer:
    def stored(self, packet_ids: list[int]) -> None:
        say(f"stored {packet_ids[-1]}")

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        say(f"failed {packet_ids[0]} {error.code}")


def device_of(number: int) -> int:
    return number % DEVICES + 1


async def append_for_ever(directory: Path, unfolded_messages: int, first: int) -> None:
    store = SqliteStore(directory, unfolded_messages=unfolded_messages)
    await store.open()
    ingest = Ingest(store, backlog_messages=500)
    await ingest.start()
    printer = Printer()
    folding: int | None = None
    number = first
    while True:
        if store.folding_pid not in (None, folding):
            folding = store.folding_pid
            say(f"folding {folding}")
        for _ in range(20):
            ingest.append(device_of(number), [Sample(number, {"n": number, "x": 0.5})], printer, number)
            number += 1
        await asyncio.sleep(0.002 if not ingest.full else 0.02)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(append_for_ever(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
