"""The one thread that writes `thingpass.db`: jobs in order, whatever gathered in one transaction.

A job that breaks a constraint is undone alone, by a savepoint; an error of the disk undoes the whole
transaction and reaches every job in it. One thread hop brings all results back to the loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import apsw
import structlog

from thingpass.errors import ThingpassError, Unavailable
from thingpass.store.sqlite.connection import open_connection, translate

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class _Job(Generic[T]):
    __slots__ = ("error", "future", "result", "run", "single_statement")

    def __init__(
        self,
        run: Callable[[apsw.Connection], T],
        future: asyncio.Future[T],
        single_statement: bool,
    ) -> None:
        self.run = run
        self.future = future
        self.single_statement = single_statement
        self.result: T | None = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        if self.future.done():  # the caller was cancelled meanwhile
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # None only where T is None


class Writer:
    """Runs jobs on its own connection in its own thread."""

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.committed_at = -math.inf  # monotonic; -inf when the last commit failed

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, run: Callable[[apsw.Connection], T], *, single_statement: bool = False
    ) -> asyncio.Future[T]:
        """Resolves when what `run` wrote is durable. Raises what it raised, translated.

        `single_statement` promises that `run` executes one statement at most: alone, it then needs no
        transaction around it, which saves the thread two waits for the interpreter lock.
        """
        loop = self._loop
        if loop is None:
            raise Unavailable("The store is closed.")
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(run, future, single_statement))  # type: ignore[arg-type]  # Job is invariant
        return future

    async def stop(self) -> None:
        """Finishes what was submitted, then closes the connection."""
        thread, self._thread, self._loop = self._thread, None, None
        if thread is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        loop = self._loop
        assert loop is not None
        connection: apsw.Connection | None = None
        stopping = False
        while not stopping:
            batch, stopping = self._gather()
            try:
                if connection is None:
                    connection = open_connection(self._path, synchronous=self._synchronous)
                _run(connection, batch)
            except Exception as error:  # the edge of the thread: the callers get it, the thread goes on
                if not isinstance(error, ThingpassError):
                    _log.exception("store_write_failed")
                for job in batch:
                    job.error = error
            if batch:
                try:
                    loop.call_soon_threadsafe(self._deliver, batch)
                except RuntimeError:  # the loop was closed without stopping the store
                    stopping = True
        if connection is not None:
            connection.close()

    def _deliver(self, batch: list[_Job[object]]) -> None:
        failed = any(isinstance(job.error, Unavailable) for job in batch)
        self.committed_at = -math.inf if failed else time.monotonic()
        for job in batch:
            job.deliver()

    def _gather(self) -> tuple[list[_Job[object]], bool]:
        job = self._jobs.get()
        batch: list[_Job[object]] = []
        while job is not None:
            batch.append(job)
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True


def _run(connection: apsw.Connection, batch: list[_Job[object]]) -> None:
    try:
        if len(batch) == 1 and batch[0].single_statement:
            _run_alone(connection, batch[0])
        elif batch:
            _run_together(connection, batch)
    except apsw.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise translate(error) from error


def _run_alone(connection: apsw.Connection, job: _Job[object]) -> None:
    try:
        job.result = job.run(connection)
    except apsw.Error:
        raise
    except Exception as error:
        job.error = error


def _run_together(connection: apsw.Connection, batch: list[_Job[object]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for job in batch:
        connection.execute("SAVEPOINT job")
        try:
            job.result = job.run(connection)
        except Exception as error:
            if not connection.in_transaction:  # the disk: SQLite has undone everything by itself
                raise
            connection.execute("ROLLBACK TO job")
            job.error = translate(error) if isinstance(error, apsw.Error) else error
        connection.execute("RELEASE job")
    connection.execute("COMMIT")
