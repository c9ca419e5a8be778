"""A fleet of several processes: each runs its share, and this one adds up what they count.

A worker (`python -m thingpass.simulation.processes`) reads its plan as one line of JSON from its standard
input, because there are tokens and keys in it, and ends when that input ends. It writes its counts as lines.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Final

import msgspec

from thingpass.errors import ThingpassError, Unavailable
from thingpass.simulation.fleet import Fleet, Plan, shares
from thingpass.simulation.tally import Snapshot, merge

REPORT_EVERY_S: Final = 0.25
LONGEST_LINE: Final = 16 * 1024 * 1024
STOP_TIMEOUT_S: Final = 15.0


class _Report(msgspec.Struct, frozen=True):
    """A line of a worker: its counts, or why it could not start."""

    counts: Snapshot | None = None
    sentence: str | None = None
    mend: str | None = None


class ProcessFleet:
    """The same as `Fleet`, over several processes."""

    def __init__(self, plan: Plan, processes: int) -> None:
        parts = shares(plan.devices, processes)
        self._plans = [
            msgspec.structs.replace(plan, devices=part, connect_rate=plan.connect_rate / len(parts))
            for part in parts
        ]
        self._counts = [Snapshot(wanted=len(part)) for part in parts]
        self._ending = asyncio.Event()
        self._failure: Unavailable | None = None

    def snapshot(self) -> Snapshot:
        return merge(self._counts)

    def stop(self) -> None:
        self._ending.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, plan in enumerate(self._plans):
                group.create_task(self._run_one(number, plan))
        if self._failure is not None:
            raise self._failure

    async def _run_one(self, number: int, plan: Plan) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "thingpass.simulation.processes"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is this process's: it ends the others in order
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        stopping = asyncio.create_task(self._close_when_ending(process.stdin))
        try:
            while line := await process.stdout.readline():
                self._take(number, msgspec.json.decode(line, type=_Report))
            self.stop()  # one that ended by itself takes the others along
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        finally:
            stopping.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _close_when_ending(self, pipe: asyncio.StreamWriter) -> None:
        await self._ending.wait()
        pipe.close()

    def _take(self, number: int, report: _Report) -> None:
        if report.counts is not None:
            self._counts[number] = report.counts
        if report.sentence is not None:
            self._failure = Unavailable(report.sentence, mend=report.mend)
            self.stop()


async def _work(plan: Plan) -> None:
    fleet = Fleet(plan)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _end_with_input, fleet)
    loop.add_signal_handler(signal.SIGTERM, fleet.stop)
    running = asyncio.create_task(fleet.run())
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=REPORT_EVERY_S)
            _say(_Report(counts=fleet.snapshot()))
        running.result()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _end_with_input(fleet: Fleet) -> None:
    if not os.read(sys.stdin.fileno(), 4_096):
        fleet.stop()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _say(report: _Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    import uvloop

    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(plan))
    except ThingpassError as error:
        _say(_Report(sentence=error.sentence, mend=error.mend))
    except BrokenPipeError:
        pass  # the fleet's first process is gone: nobody is told


if __name__ == "__main__":
    main()
