"""One load process, `python -m benchmarks.load_process`: a job on its input, answers on its output."""

from __future__ import annotations

import gc
import resource
import sys
from typing import Protocol

import msgspec

from benchmarks.load_answer import AnswerLoad
from benchmarks.load_call import CallLoad
from benchmarks.load_connect import ConnectLoad
from benchmarks.load_hold import HoldLoad
from benchmarks.load_messages import (
    Answer,
    AnswerJob,
    CallJob,
    ConnectJob,
    Failed,
    Go,
    HoldJob,
    Job,
    PublishJob,
    Ready,
    RequestJob,
    Result,
)
from benchmarks.load_publish import PublishLoad
from benchmarks.load_request import RequestLoad
from benchmarks.tls_client import ConnectionFailed


class Load(Protocol):
    """What all kinds of load have in common."""

    def open(self) -> int:
        """Opens the connections that the job starts with; gives their number. Raises ConnectionFailed."""

    def run(self, go: Go) -> Result: ...


def make_load(job: Job) -> Load:
    match job:
        case ConnectJob():
            return ConnectLoad(job)
        case PublishJob():
            return PublishLoad(job)
        case HoldJob():
            return HoldLoad(job)
        case RequestJob():
            return RequestLoad(job)
        case AnswerJob():
            return AnswerLoad(job)
        case CallJob():
            return CallLoad(job)


def raise_open_files_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    raise_open_files_limit()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        load = make_load(job)
        _answer(Ready(load.open()))
        line = sys.stdin.buffer.readline()
        if not line:
            return  # called off
        gc.freeze()  # connections are no garbage; without this, each full collection would look at them all
        _answer(load.run(msgspec.json.decode(line, type=Go)))
    except (ConnectionFailed, OSError) as failure:
        _answer(Failed(str(failure)))


def _answer(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
