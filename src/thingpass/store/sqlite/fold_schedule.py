"""When to fold, and what follows from it: memory and journal let go of what is in series.db.

A failure of the folding process loses nothing: the journal and the memory keep the samples, and folding is
tried again, later and later. Only when the memory is full do commits wait for it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import apsw
import structlog

from thingpass.clock import Clock
from thingpass.errors import ThingpassError, Unavailable
from thingpass.store.sqlite.database import Database
from thingpass.store.sqlite.folded import FoldedSeries
from thingpass.store.sqlite.folding_messages import DropBefore, Fold, Folded
from thingpass.store.sqlite.folding_process import FoldingProcess
from thingpass.store.sqlite.journal import drop_slice
from thingpass.store.sqlite.unfolded import Unfolded

_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
_FORGET_DEVICES: Final = 500  # whose samples are freed in one turn of the loop, under 1 ms

_log = structlog.get_logger(__name__)


class FoldSchedule:
    """Folds a segment when it holds half of `unfolded_messages`, or when it is `fold_after_s` old."""

    def __init__(
        self,
        process: FoldingProcess,
        database: Database,
        unfolded: Unfolded,
        folded: FoldedSeries,
        clock: Clock,
        *,
        unfolded_messages: int,
        fold_after_s: float,
    ) -> None:
        self._process = process
        self._database = database
        self._unfolded = unfolded
        self._folded = folded
        self._clock = clock
        self._bound = unfolded_messages
        self._fold_after_s = fold_after_s
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.fault: ThingpassError | None = None

    def start(self) -> None:
        """Goes on where the last process stopped."""
        if self._unfolded.messages:
            self.added()
        self._task = asyncio.create_task(self._run(), name="fold-schedule")

    async def stop(self) -> None:
        """Leaves what is not folded to the next start. series.db must not be open for reading any more.

        The child, the last to have it open, then clears its write-ahead log away.
        """
        self._closed = True
        self._room.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._process.stop()

    def added(self) -> None:
        """Samples were added to the memory."""
        if self._unfolded.open_weight >= self._bound // 2:
            self.fold_soon()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._fold_after_s, self.fold_soon)

    def fold_soon(self) -> None:
        """Folds everything that is in memory now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unfolded.seal()
        self._work.set()

    async def fold_all(self) -> None:
        """Folds everything that is in memory now, and returns when that is done. Raises Unavailable."""
        self.fold_soon()
        while self._unfolded.sealed_through is not None:
            self._room.clear()
            await self._room.wait()
            if self._closed:
                raise Unavailable("The store is closed.")

    async def wait_for_room(self) -> None:
        """Until the memory is below its bound. Raises Unavailable when the store closes meanwhile."""
        while self._unfolded.weight >= self._bound and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise Unavailable("The store is closed.")

    async def drop_before(self, before_ms: int) -> None:
        async with self._asking:
            await self._process.carry_out(lambda request: DropBefore(request, before_ms))
            self._folded.open()

    async def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        self._work.set()  # the last process may have left rows in the journal that are folded
        while True:
            await self._work.wait()
            try:
                await self._drop_journal(self._folded.folded_through())
                await self._fold_sealed()
            except ThingpassError as error:
                self.fault = error
                _log.error("folding_failed", code=error.code, error=error.sentence, retry_in_s=delay_s)
            except Exception as error:  # the edge of the task: it goes on
                self.fault = Unavailable("Folding failed.")
                _log.error("folding_failed", error=type(error).__name__, retry_in_s=delay_s)
            else:
                self.fault = None
                delay_s = _FIRST_DELAY_S
                continue
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    async def _fold_sealed(self) -> None:
        while (through := self._unfolded.sealed_through) is not None:
            async with self._asking:
                await self._process.carry_out(partial(self._fold_request, through), self._hear_folded)
            if self._folded.folded_through() < through:
                raise Unavailable("The folding process left samples behind.")
            await self._drop_journal(through)
        self._work.clear()

    def _fold_request(self, through: int, request: int) -> Fold:
        return Fold(request, through, self._clock.now_ms())

    async def _hear_folded(self, folded: Folded) -> None:
        self.fault = None
        self._folded.open()
        await self._clear_removed(folded.removed_devices)
        await self._forget(folded.through)  # last: it tells who waits for this fold

    async def _forget(self, through: int) -> None:
        for segment in self._unfolded.drop(through):
            while segment.by_device:
                for _ in range(min(_FORGET_DEVICES, len(segment.by_device))):
                    segment.by_device.popitem()
                await asyncio.sleep(0)
        self._room.set()

    async def _drop_journal(self, through: int) -> None:
        while await self._database.write(lambda connection: drop_slice(connection, through)):
            pass

    async def _clear_removed(self, numbers: tuple[int, ...]) -> None:
        def clear(connection: apsw.Connection) -> None:
            connection.executemany(
                "DELETE FROM removed_devices WHERE number = ?", [(number,) for number in numbers]
            )

        if numbers:
            await self._database.write(clear)
