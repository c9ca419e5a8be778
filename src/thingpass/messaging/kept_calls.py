"""Calls that are kept in the store until they have ended (persistent RPC): they survive `kill -9`.

In memory is only what is on its way: calls of devices that somebody listens for, the oldest
`MOST_LOADED_PER_DEVICE` of each. Every step of a call is stored; of steps that follow each other faster than
the store commits, the last. What is sent and not yet stored as sent is sent again after a crash: a device may
get a call twice, and never not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from thingpass.clock import Clock
from thingpass.errors import AlreadyExists, NotFound, ThingpassError
from thingpass.messaging.listeners import RpcRequest
from thingpass.messaging.pending_calls import Calls, KeptCall, PendingCall, RequestIds
from thingpass.messaging.rpc_statuses import RpcStatus
from thingpass.store.rows import RpcCall, RpcPage
from thingpass.store.store import RpcStore

log = structlog.get_logger(__name__)

MOST_KEPT_PER_DEVICE: Final = 1_000
MOST_LOADED_PER_DEVICE: Final = 100
LOOK_AFTER_EVERY_S: Final = 60.0  # for calls that have ended, and for those past their time
ROWS_AT_A_TIME: Final = 1_000


class NewKeptCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be kept. `expires_at_ms`: when it is no longer to be delivered or answered."""

    id: str
    tenant_id: str
    device_id: str
    method: str
    params_json: str
    oneway: bool
    expires_at_ms: int
    retries: int
    additional_info_json: str | None = None


class KeptCalls:
    def __init__(
        self,
        store: RpcStore,
        clock: Clock,
        ids: RequestIds,
        *,
        offer: Callable[[PendingCall], None],
        wanted: Callable[[str], bool],
        kept_for_s: float,
    ) -> None:
        """`wanted`: whether somebody listens for the device's calls, to whom `offer` gives one."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._offer = offer
        self._wanted = wanted
        self._kept_for_ms = int(kept_for_s * 1000)
        self._calls: Calls[KeptCall] = Calls()
        self._loading: dict[str, bool] = {}  # devices whose calls are to be read; True: delivered ones too
        self._more: set[str] = set()  # devices of which not all calls were read
        self._loader: asyncio.Task[None] | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self._unsaved: dict[str, KeptCall] = {}  # by id; of these the store does not know the latest yet
        self._looking_after: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        self._looking_after = asyncio.get_running_loop().create_task(self._look_after(), name="kept-calls")

    async def close(self) -> None:
        self._closed = True
        tasks = [task for task in (self._looking_after, self._loader) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._saving, return_exceptions=True)

    # What REST asks

    async def add(self, new: NewKeptCall) -> RpcCall:
        now_ms = self._clock.now_ms()
        while True:
            row = RpcCall(
                id=new.id,
                tenant_id=new.tenant_id,
                device_id=new.device_id,
                created_at_ms=now_ms,
                expires_at_ms=new.expires_at_ms,
                request_id=self._ids.next(),
                oneway=new.oneway,
                method=new.method,
                params_json=new.params_json,
                retries=new.retries,
                additional_info_json=new.additional_info_json,
            )
            try:
                await self._store.add_rpc_call(row, most_live=MOST_KEPT_PER_DEVICE)
            except AlreadyExists as error:
                if error.constraint != "rpc_calls.request_id":
                    raise
            else:
                return row

    async def get(self, tenant_id: str, call_id: str) -> RpcCall:
        """Raises NotFound, also for another tenant's."""
        await self._expire()
        row = await self._store.find_rpc_call(call_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("Requested item wasn't found!")
        return row

    async def list_calls(
        self, device_id: str, *, limit: int, offset: int, status: str | None, descending: bool
    ) -> RpcPage:
        await self._expire()
        return await self._store.list_rpc_calls(
            device_id, limit=limit, offset=offset, status=status, descending=descending
        )

    async def remove(self, tenant_id: str, call_id: str) -> None:
        """Withdraws it, if it is live. Raises NotFound."""
        row = await self.get(tenant_id, call_id)
        await self._store.remove_rpc_call(call_id)
        call = self._calls.find(row.device_id, row.request_id)
        if call is not None:
            call.ended = True
            self.forget(call)

    # What `RpcService` asks

    def of(self, device_id: str) -> list[KeptCall]:
        """Those that are in memory."""
        return self._calls.of(device_id)

    def has(self, device_id: str, request_id: int) -> bool:
        return self._calls.find(device_id, request_id) is not None

    def load(self, device_id: str, *, delivered: bool) -> None:
        """Reads the device's calls and offers them; `delivered`: those that were delivered, too."""
        if self._closed:
            return
        self._loading[device_id] = self._loading.get(device_id, False) or delivered
        if self._loader is None:
            self._loader = asyncio.get_running_loop().create_task(self._load_all(), name="kept-calls-loader")

    def unload(self, device_id: str) -> None:
        """Nobody listens for the device: the store has its calls."""
        self._loading.pop(device_id, None)
        self._more.discard(device_id)
        for call in self._calls.of(device_id):
            call.stop_timers()
            self._calls.remove(call)

    def forget(self, call: KeptCall) -> None:
        """The call has ended."""
        call.stop_timers()
        self._calls.remove(call)
        self._refill(call.device_id)

    def _refill(self, device_id: str) -> None:
        """Others of the device may have been waiting for a place."""
        if device_id in self._more and self._calls.count_of(device_id) <= MOST_LOADED_PER_DEVICE // 2:
            self.load(device_id, delivered=False)

    def expect_acknowledgement(self, call: KeptCall, within_s: float) -> None:
        call.stop_listening_for_silence()
        call.silence = asyncio.get_running_loop().call_later(within_s, self._at, call, KeptCall.timed_out)

    async def answered(self, device_id: str, request_id: int, payload: bytes) -> bool:
        """Returns when the answer is stored. Whether a call waited for it."""
        call = self._calls.find(device_id, request_id)
        if call is None:
            row = await self._store.find_live_rpc_call(device_id, request_id)
            if row is None or row.oneway or row.expires_at_ms <= self._clock.now_ms():
                return False
            call = self._unsaved.get(row.id) or self._pending(row)
        if call.ended or call.request.oneway:
            if call.saving is not None:  # the answer that came before, on a connection that is gone
                await asyncio.shield(call.saving)
            return False
        call.was_answered(payload)
        self.forget(call)
        if call.saving is not None:
            await asyncio.shield(call.saving)
        return True

    # Inside

    async def _load_all(self) -> None:
        try:
            while self._loading:
                device_id = next(iter(self._loading))
                delivered = self._loading.pop(device_id)
                try:
                    await self._load(device_id, delivered)
                except ThingpassError as error:
                    log.warning("rpc.not_loaded", device_id=device_id, problem=error.sentence)
                except Exception:  # the edge of this task: one device's failure is not the others'
                    log.exception("rpc.not_loaded", device_id=device_id)
                await asyncio.sleep(0)
        finally:
            self._loader = None

    async def _load(self, device_id: str, delivered: bool) -> None:
        rows = await self._store.list_live_rpc_calls(
            device_id, now_ms=self._clock.now_ms(), limit=MOST_LOADED_PER_DEVICE
        )
        if not self._wanted(device_id):
            return
        if len(rows) < MOST_LOADED_PER_DEVICE:
            self._more.discard(device_id)
        else:
            self._more.add(device_id)
        for row in rows:
            call = self._calls.find(device_id, row.request_id)
            if call is None:
                call = self._unsaved.get(row.id) or self._pending(row)
                if call.ended:
                    continue
                left_s = (row.expires_at_ms - self._clock.now_ms()) / 1000
                call.expiry = asyncio.get_running_loop().call_later(
                    max(0.0, left_s), self._at, call, KeptCall.expired
                )
                self._calls.add(call)
            if delivered or not call.delivered:
                self._offer(call)

    def _pending(self, row: RpcCall) -> KeptCall:
        left_s = (row.expires_at_ms - self._clock.now_ms()) / 1000
        expires_at = asyncio.get_running_loop().time() + left_s
        request = RpcRequest(row.request_id, row.method, row.params_json, row.oneway, expires_at)
        return KeptCall(row, request, self._save)

    def _at(self, call: KeptCall, step: Callable[[KeptCall], None]) -> None:
        if not call.ended:
            step(call)
        if call.ended:
            self.forget(call)

    def _save(self, call: KeptCall) -> None:
        self._unsaved[call.row.id] = call
        if call.saving is None or call.saving.done():
            call.saving = asyncio.get_running_loop().create_task(self._save_all(call), name="kept-call-saver")
            self._saving.add(call.saving)
            call.saving.add_done_callback(partial(self._saved, call))

    async def _save_all(self, call: KeptCall) -> None:
        """Until the store has what is in memory; one task a call, so that its steps stay in order."""
        while True:
            row = call.row
            try:
                await self._store.update_rpc_call(row)
            except ThingpassError as error:
                if not row.live:
                    raise  # an answer that is not stored is not acknowledged: the device sends it again
                log.warning("rpc.not_saved", device_id=row.device_id, problem=error.sentence)
                return
            if call.row is row:
                return

    def _saved(self, call: KeptCall, task: asyncio.Task[None]) -> None:
        self._saving.discard(task)
        if call.saving is task:
            call.saving = None
            self._unsaved.pop(call.row.id, None)
        self._refill(call.device_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("rpc.not_saved", device_id=call.device_id, problem=str(error))

    async def _expire(self) -> None:
        await self._store.expire_rpc_calls(
            self._clock.now_ms(), status=RpcStatus.EXPIRED.value, limit=ROWS_AT_A_TIME
        )

    async def _look_after(self) -> None:
        while True:
            try:
                await self._expire()
                before_ms = self._clock.now_ms() - self._kept_for_ms
                await self._store.remove_ended_rpc_calls(before_ms, limit=ROWS_AT_A_TIME)
            except ThingpassError as error:
                log.warning("rpc.not_looked_after", problem=error.sentence)
            except Exception:  # the edge of this task
                log.exception("rpc.not_looked_after")
            await asyncio.sleep(LOOK_AFTER_EVERY_S)
