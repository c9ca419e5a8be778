"""Free memory goes back once a burst of handshakes is over, and not before."""

from __future__ import annotations

import asyncio
import platform

import pytest

from thingpass.metrics import Counters
from thingpass.servers import heap_trimmer
from thingpass.servers.heap_trimmer import WORTH_TRIMMING, HeapTrimmer, find_malloc_trim


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_trimmer, "LOOK_EVERY_S", 0.001)


async def looks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0.005)


async def test_trims_once_when_a_burst_is_over() -> None:
    counters, trims = Counters(), asyncio.Queue[None]()
    loop = asyncio.get_running_loop()
    trimmer = HeapTrimmer(counters, lambda: loop.call_soon_threadsafe(trims.put_nowait, None))
    trimmer.start()
    try:
        await looks(3)
        assert trims.empty()
        counters.handshakes_completed += WORTH_TRIMMING
        await asyncio.wait_for(trims.get(), 10)
        await looks(3)
        assert trims.empty()
        counters.handshakes_completed += WORTH_TRIMMING - 1
        await looks(3)
        assert trims.empty(), "too few to be worth it"
    finally:
        await trimmer.stop()


async def test_trims_now_and_then_while_devices_never_stop_arriving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_trimmer, "TRIM_EVERY_S", 0.003)
    counters, trimmed = Counters(), asyncio.Event()
    loop = asyncio.get_running_loop()
    trimmer = HeapTrimmer(counters, lambda: loop.call_soon_threadsafe(trimmed.set))
    trimmer.start()
    try:
        while not trimmed.is_set():
            counters.handshakes_completed += WORTH_TRIMMING
            await asyncio.sleep(0)
    finally:
        await trimmer.stop()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_glibc_has_the_function() -> None:
    trim = find_malloc_trim()
    assert trim is not None
    assert trim() in (0, 1)
