"""Threads for handshakes, so that a connect storm uses every core and delays no connected device.

OpenSSL works without the GIL, so a handshake's arithmetic (most of a millisecond) runs beside the loop. A
handshake takes one hop per flight: the thread does what it can, then the loop waits for the socket.
Results come back in batches, one wake-up of the loop for all that finished meanwhile.
"""

from __future__ import annotations

import asyncio
import collections
import os
import queue
import threading
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)


class HandshakeStep(Protocol):
    """One flight of one handshake."""

    def run(self) -> None:
        """Called in a thread of the pool: the work. Keeps its outcome, raises nothing."""

    def finished(self) -> None:
        """Called on the loop after `run`."""


class HandshakePool:
    """A bounded pool; `submit` on the loop's thread only."""

    def __init__(self, *, threads: int = 0) -> None:
        """`threads`: 0 means one per core."""
        self._threads_wanted = threads or os.cpu_count() or 1
        self._steps: queue.SimpleQueue[HandshakeStep | None] = queue.SimpleQueue()
        self._done: collections.deque[HandshakeStep] = collections.deque()
        self._wake_scheduled = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for number in range(self._threads_wanted):
            thread = threading.Thread(target=self._work, name=f"handshake-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def submit(self, step: HandshakeStep) -> None:
        self._steps.put(step)

    @property
    def waiting(self) -> int:
        """Steps that no thread has taken yet."""
        return self._steps.qsize()

    async def stop(self) -> None:
        """Ends the threads after the step that each is in."""
        for _ in self._threads:
            self._steps.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=2)

    def _work(self) -> None:
        assert self._loop is not None
        while (step := self._steps.get()) is not None:
            step.run()
            self._done.append(step)
            # Appending first and looking second: the loop may have just emptied the deque, never missed it.
            if not self._wake_scheduled:
                self._wake_scheduled = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: the server has stopped

    def _deliver(self) -> None:
        self._wake_scheduled = False
        done = self._done
        while done:
            step = done.popleft()
            try:
                step.finished()
            except Exception:
                log.exception("handshake.finish_failed")
