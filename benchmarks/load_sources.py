"""The load processes of one measurement, seen from the benchmark: start, wait until ready, go, gather."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.load_messages import Answer, Failed, Go, Job, Ready, Result

_HEAD_START_S = 0.2  # until the slowest process has read its Go


Answered = TypeVar("Answered", Ready, Result)


class LoadFailed(Exception):
    """A load process could not do its job; the text says why."""


class LoadSources:
    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def wait_until_ready(self) -> int:
        """Waits until all connections are open; gives their number."""
        return sum(self._read(process, Ready).connections for process in self._processes)

    def run(
        self, *, warm_up_s: float, duration_s: float, window_s: float, sample: Callable[[], None]
    ) -> list[Result]:
        """Lets them all go and gathers their results; calls `sample` when counting begins and ends."""
        measure_from = time.monotonic() + _HEAD_START_S + warm_up_s
        go = Go(measure_from, measure_from + duration_s, window_s)
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(go) + b"\n")
            process.stdin.flush()
        for at in (go.measure_from, go.measure_until):
            time.sleep(max(0.0, at - time.monotonic()))
            sample()
        return [self._read(process, Result) for process in self._processes]

    def _read(self, process: subprocess.Popen[bytes], wanted: type[Answered]) -> Answered:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise LoadFailed(f"a load process ended with status {process.wait()}")
        answer = msgspec.json.decode(line, type=Answer)
        if isinstance(answer, Failed):
            raise LoadFailed(answer.reason)
        if not isinstance(answer, wanted):
            raise LoadFailed(f"a load process answered out of turn: {type(answer).__name__}")
        return answer


@contextmanager
def load_sources(jobs: Sequence[Job]) -> Iterator[LoadSources]:
    """Starts one process for each job; ends them all in the end."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "benchmarks.load_process"]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        for _ in jobs
    ]
    try:
        for process, job in zip(processes, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
        yield LoadSources(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
