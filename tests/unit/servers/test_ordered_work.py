from __future__ import annotations

import asyncio

from thingpass.servers.ordered_work import OrderedWork


class Record:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: list[Exception] = []
        self.work = OrderedWork(
            asyncio.get_running_loop(), after_each=lambda: self.done.append("|"), failed=self.failed.append
        )

    async def step(self, name: str, wait_s: float = 0.0) -> None:
        await asyncio.sleep(wait_s)
        self.done.append(name)

    async def fail(self, error: Exception) -> None:
        raise error


async def test_work_is_done_in_the_order_of_arrival() -> None:
    record = Record()
    record.work.add(record.step("slow", 0.02))
    record.work.add(record.step("quick"))
    assert len(record.work) == 2
    await asyncio.sleep(0.1)
    assert record.done == ["slow", "|", "quick", "|"]
    assert len(record.work) == 0


async def test_work_that_fails_is_reported_and_the_next_goes_on() -> None:
    record, error = Record(), RuntimeError("x")
    record.work.add(record.fail(error))
    record.work.add(record.step("next"))
    await asyncio.sleep(0.05)
    assert record.failed == [error]
    assert record.done == ["|", "next", "|"]


async def test_work_goes_on_after_a_pause() -> None:
    record = Record()
    record.work.add(record.step("first"))
    await asyncio.sleep(0.05)
    record.work.add(record.step("second"))
    await asyncio.sleep(0.05)
    assert record.done == ["first", "|", "second", "|"]


async def test_cancelled_work_is_not_done_and_leaves_no_warning() -> None:
    record = Record()
    record.work.add(record.step("never", 10))
    record.work.add(record.step("never either"))
    await asyncio.sleep(0)
    record.work.cancel()
    await asyncio.sleep(0.05)
    assert record.done == []
