"""Which sockets are ready: one epoll for all device connections, in the event loop as a single descriptor.

The loop's own `add_reader` keeps 650 bytes a connection (uvloop: a poll handle, a callback handle, a context)
and runs each callback as one of its own. Here a connection costs an entry of a dictionary, and a turn of the
loop takes what is ready, up to a bound, in one go. Where there is no epoll the loop's functions serve.

Level-triggered, as the loop's: what was not read is reported again. A callback must not raise; one that does
is logged, and the others get theirs.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Final, Protocol

import structlog

log = structlog.get_logger(__name__)

MOST_PER_TURN: Final = 512
"""Callbacks in one go, some 5 ms of messages, before timers and everybody else get their turn."""


class Readiness(Protocol):
    """`remove_...` of what is not there does nothing. Remove a descriptor before it is closed."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None: ...
    def remove_reader(self, fd: int) -> None: ...
    def add_writer(self, fd: int, callback: Callable[[], None]) -> None: ...
    def remove_writer(self, fd: int) -> None: ...
    def close(self) -> None: ...


class LoopReadiness:
    """By the loop's own functions."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._loop.add_reader(fd, callback)

    def remove_reader(self, fd: int) -> None:
        self._loop.remove_reader(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._loop.add_writer(fd, callback)

    def remove_writer(self, fd: int) -> None:
        self._loop.remove_writer(fd)

    def close(self) -> None:
        """The loop's owner closes it."""


if sys.platform == "linux":

    class EpollReadiness:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._epoll = select.epoll()
            self._readers: dict[int, Callable[[], None]] = {}
            self._writers: dict[int, Callable[[], None]] = {}
            loop.add_reader(self._epoll.fileno(), self._dispatch)

        def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
            before = self._mask(fd)
            self._readers[fd] = callback
            self._update(fd, before)

        def remove_reader(self, fd: int) -> None:
            before = self._mask(fd)
            if self._readers.pop(fd, None) is not None:
                self._update(fd, before)

        def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
            before = self._mask(fd)
            self._writers[fd] = callback
            self._update(fd, before)

        def remove_writer(self, fd: int) -> None:
            before = self._mask(fd)
            if self._writers.pop(fd, None) is not None:
                self._update(fd, before)

        def close(self) -> None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

        def _mask(self, fd: int) -> int:
            mask = select.EPOLLIN if fd in self._readers else 0
            return mask | select.EPOLLOUT if fd in self._writers else mask

        def _update(self, fd: int, before: int) -> None:
            after = self._mask(fd)
            if not after:
                self._epoll.unregister(fd)
            elif not before:
                self._epoll.register(fd, after)
            elif after != before:
                self._epoll.modify(fd, after)

        def _dispatch(self) -> None:
            readers, writers = self._readers, self._writers
            for fd, events in self._epoll.poll(0, MOST_PER_TURN):
                # A hang-up or an error is told to who reads and to who writes: each finds out what it is. The
                # callbacks are looked up now, because one before may have taken this one away.
                if events != select.EPOLLOUT and (callback := readers.get(fd)) is not None:
                    self._run(callback)
                if events != select.EPOLLIN and (callback := writers.get(fd)) is not None:
                    self._run(callback)

        def _run(self, callback: Callable[[], None]) -> None:
            try:
                callback()
            except Exception:  # the edge of a connection: the others get their turn
                log.exception("connection.callback_failed")

    def make_readiness(loop: asyncio.AbstractEventLoop) -> Readiness:
        return EpollReadiness(loop)

else:  # pragma: no cover (macOS)

    def make_readiness(loop: asyncio.AbstractEventLoop) -> Readiness:
        return LoopReadiness(loop)
