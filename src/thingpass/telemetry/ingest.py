"""Where telemetry becomes stored facts: gathers samples, commits them in groups, then tells who waits.

While one commit runs, whatever arrives gathers in the open batch; when it is done, that batch is the next
commit. An idle server commits at the end of the loop's turn. So the batch grows with the load and nothing
waits for a timer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from thingpass.errors import ThingpassError, Unavailable
from thingpass.metrics import Counters
from thingpass.store.rows import Sample
from thingpass.store.samples import encode_sample
from thingpass.store.store import SeriesStore

_log = structlog.get_logger(__name__)

# A long sample counts as several messages, so that the backlog is bounded in bytes as well.
_BYTES_A_MESSAGE_SHIFT: Final = 9  # 512

_STOP_S: Final = 2.0  # the whole server has five seconds to stop


class Acknowledger(Protocol):
    """Who waits for packets to be stored: a connection. Called on the loop, once for each batch."""

    def stored(self, packet_ids: list[int]) -> None: ...

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None: ...


class _Batch:
    """What goes into one commit, and who waits for it."""

    __slots__ = ("packets", "points", "samples", "waiters", "weight")

    def __init__(self) -> None:
        self.samples: list[tuple[int, bytes]] = []
        self.packets: dict[Acknowledger, list[int]] = {}
        self.waiters: list[asyncio.Future[None]] = []
        self.weight = 0
        self.points = 0


class Ingest:
    """`backlog_messages` bounds what is appended but not yet committed: beyond it, `full` is true."""

    def __init__(
        self, store: SeriesStore, *, backlog_messages: int = 20_000, counters: Counters | None = None
    ) -> None:
        self._store = store
        self._counters = counters or Counters()
        self._backlog_messages = backlog_messages
        self._open = _Batch()
        self._committing = _Batch()
        self._idle = True
        self._wake = asyncio.Event()
        self._drained: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failures = 0  # commits in a row that failed

    def append(
        self,
        device_number: int,
        samples: Sequence[Sample],
        acknowledger: Acknowledger | None,
        packet_id: int,
    ) -> None:
        """Takes the samples of one packet. The acknowledger hears of `packet_id` when they are durable.

        Without an acknowledger (QoS 0) nobody is told. Raises Invalid when a value cannot be stored; nothing
        of the packet is kept then. Never refuses for `full`: whoever reads sockets looks at it.
        """
        batch = self._open
        if len(samples) == 1:
            sample = samples[0]
            batch.points += len(sample.values)
            encoded = encode_sample(sample.ts_ms, sample.values)
            batch.samples.append((device_number, encoded))
            batch.weight += 1 + (len(encoded) >> _BYTES_A_MESSAGE_SHIFT)
        else:
            batch.points += sum(len(sample.values) for sample in samples)
            many = [(device_number, encode_sample(sample.ts_ms, sample.values)) for sample in samples]
            batch.samples += many
            batch.weight += sum(1 + (len(encoded) >> _BYTES_A_MESSAGE_SHIFT) for _, encoded in many)
        if acknowledger is not None:
            packets = batch.packets.get(acknowledger)
            if packets is None:
                batch.packets[acknowledger] = [packet_id]
            else:
                packets.append(packet_id)
        if self._idle:
            self._idle = False
            self._wake.set()

    async def store_samples(self, device_number: int, samples: Sequence[Sample]) -> None:
        """Returns when the samples are durable. Raises Unavailable when they are not stored."""
        if self._stopping:
            raise Unavailable("The server is stopping.")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.append(device_number, samples, None, 0)
        self._open.waiters.append(waiter)
        await waiter

    @property
    def backlog(self) -> int:
        """What is appended and not yet committed, in messages (a long one counts as several)."""
        return self._open.weight + self._committing.weight

    @property
    def full(self) -> bool:
        """The backlog has reached its bound: read no more from devices until `when_drained` calls."""
        return self.backlog >= self._backlog_messages

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Calls back once, on the loop, when the backlog is no longer full (at once if it is not)."""
        if self.full:
            self._drained.append(callback)
        else:
            callback()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._commit_batches(), name="telemetry-ingest")

    async def stop(self) -> None:
        """Commits what was appended, tells who waits, and ends, after `_STOP_S` at the latest."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=_STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        # What could not be committed in time was never acknowledged: devices send it again.
        for batch in (self._committing, self._open):
            _tell(batch, Unavailable("The server is stopping."))
        self._committing, self._open = _Batch(), _Batch()

    async def _commit_batches(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._open
            if not (batch.samples or batch.packets or batch.waiters):
                if self._stopping:
                    return
                self._idle = True
                self._wake.clear()
                continue
            self._committing, self._open = batch, _Batch()
            error = await self._commit(batch)
            self._committing = _Batch()
            _tell(batch, error)
            self._call_drained()

    async def _commit(self, batch: _Batch) -> ThingpassError | None:
        counters, began = self._counters, time.monotonic()
        try:
            await self._store.append_samples(batch.samples)
        except ThingpassError as error:
            self._note_failure(error)
            return error
        except Exception as error:  # the edge of the task: the next batch is tried all the same
            failure = Unavailable("The store failed.")
            self._note_failure(failure, error)
            return failure
        if self._failures:
            _log.info("telemetry_stored_again", failed_commits=self._failures)
            self._failures = 0
        counters.commits += 1
        counters.commit_seconds.observe(time.monotonic() - began)
        counters.commit_messages.observe(len(batch.samples))
        counters.points_stored += batch.points
        return None

    def _note_failure(self, failure: ThingpassError, cause: Exception | None = None) -> None:
        """Logs the first of several: a full disk would fill the log as well."""
        self._counters.commits_failed += 1
        self._failures += 1
        if self._failures == 1:
            _log.error("telemetry_not_stored", code=failure.code, error=failure.sentence, exc_info=cause)

    def _call_drained(self) -> None:
        if self._drained and not self.full:
            callbacks, self._drained = self._drained, []
            for callback in callbacks:
                callback()


def _tell(batch: _Batch, error: ThingpassError | None) -> None:
    for acknowledger, packet_ids in batch.packets.items():
        try:
            if error is None:
                acknowledger.stored(packet_ids)
            else:
                acknowledger.not_stored(packet_ids, error)
        except Exception:  # the edge of a connection: the others still hear of theirs
            _log.exception("acknowledge_failed")
    for waiter in batch.waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
