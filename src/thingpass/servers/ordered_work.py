"""What one connection has to wait for, done one after the other in the order of arrival."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Coroutine
from typing import Any


class OrderedWork:
    """A queue of coroutines and the one task that runs them; there is none while nothing waits.

    `failed` hears of every exception and raises none; `after_each` follows every piece of work.
    """

    __slots__ = ("_after_each", "_failed", "_loop", "_task", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        after_each: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._after_each = after_each
        self._failed = failed
        self._waiting: collections.deque[Coroutine[Any, Any, None]] = collections.deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait; the one that runs is not counted."""
        return len(self._waiting)

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        self._waiting.append(work)
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="connection-work")

    async def _run(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._waiting.popleft()
                except Exception as error:
                    self._failed(error)
                self._after_each()
        finally:
            self._task = None

    def cancel(self) -> None:
        """Drops what waits and ends what runs (unless that is who asks)."""
        while self._waiting:
            self._waiting.popleft().close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
