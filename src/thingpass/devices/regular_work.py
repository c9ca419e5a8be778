"""Work that is done again and again by one task, whatever happens to it once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from thingpass.errors import ThingpassError

log = structlog.get_logger(__name__)


STOP_S = 1.0  # the whole server has five seconds to stop


class RegularWork:
    """Calls `work` every `interval_s` seconds, from its end to its next beginning, until `stop`."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], *, interval_s: float) -> None:
        self._name = name
        self._work = work
        self._interval_s = interval_s
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0  # in a row

    def start(self) -> None:
        self._task = asyncio.create_task(self._work_until_stopped(), name=self._name)

    async def stop(self) -> None:
        """Lets a round that runs come to its end, so that it is not done by halves."""
        self._stopping.set()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _work_until_stopped(self) -> None:
        while not await self._stopped_within_the_interval():
            try:
                await self._work()
            except ThingpassError as error:
                self._note_failure(error.sentence, None)
            except Exception as error:  # the edge of the task: the next round is tried all the same
                self._note_failure(repr(error), error)
            else:
                self._failures = 0

    async def _stopped_within_the_interval(self) -> bool:
        try:
            async with asyncio.timeout(self._interval_s):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _note_failure(self, problem: str, error: Exception | None) -> None:
        """Logs the first of several: a full disk would fill the log as well."""
        self._failures += 1
        if self._failures == 1:
            log.error("regular_work.failed", work=self._name, problem=problem, exc_info=error)
