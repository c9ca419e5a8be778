"""Tells devices what became of their shared attributes.

The bus says which keys changed; the values are read here, so that what a device hears is what is stored. Keys
that change while earlier ones are being read are gathered: a device may hear of two changes as one, with the
newer value, and never of an older value after a newer one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

import structlog

from thingpass.bus.bus import Bus
from thingpass.bus.messages import SharedAttributesChanged
from thingpass.errors import ThingpassError
from thingpass.messaging.listeners import AttributeListener, Listeners
from thingpass.metrics import Counters
from thingpass.store.rows import Attribute

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0  # after the store did not answer

FindShared: TypeAlias = Callable[[str, Sequence[str]], Awaitable[list[Attribute]]]
"""Those of a device's shared attributes, by their keys, that exist."""


class AttributePushes:
    def __init__(self, find_shared: FindShared, bus: Bus, counters: Counters) -> None:
        self._find_shared = find_shared
        self._counters = counters
        self._listeners: Listeners[AttributeListener] = Listeners()
        # Bounded by the devices that listen and the keys they have: what is waiting is a set, not a queue.
        self._changed: dict[str, dict[str, None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._subscription = bus.subscribe(SharedAttributesChanged, self._note)

    def listen(self, device_id: str, listener: AttributeListener) -> None:
        self._listeners.add(device_id, listener)

    def leave(self, device_id: str, listener: AttributeListener) -> None:
        self._listeners.remove(device_id, listener)

    def push_again(self, device_id: str, keys: Iterable[str]) -> None:
        """Tells the device's listeners what these keys are now; for one that was away when they changed."""
        if keys := dict.fromkeys(keys):
            self._changed.setdefault(device_id, {}).update(keys)
            self._start()

    async def close(self) -> None:
        self._subscription.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note(self, message: SharedAttributesChanged) -> None:
        if self._listeners.of(message.device_id):
            self.push_again(message.device_id, message.keys)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="attribute-pushes")

    async def _work(self) -> None:
        try:
            while self._changed:
                device_id = next(iter(self._changed))
                keys = self._changed.pop(device_id)
                try:
                    await self._push(device_id, tuple(keys))
                except ThingpassError as error:
                    log.warning("attributes.not_pushed", device_id=device_id, problem=error.sentence)
                    self.push_again(device_id, keys)
                    await asyncio.sleep(RETRY_S)
                except Exception:  # the edge of this task: one device's failure is not the others'
                    log.exception("attributes.not_pushed", device_id=device_id)
                await asyncio.sleep(
                    0
                )  # the embedded store answers without suspending; others come in between
        finally:
            self._task = None

    async def _push(self, device_id: str, keys: tuple[str, ...]) -> None:
        if not self._listeners.of(device_id):
            return
        found = await self._find_shared(device_id, keys)
        saved = {attribute.key: attribute.value for attribute in found}
        removed = [key for key in keys if key not in saved]
        for listener in self._listeners.of(device_id):
            # What is gone goes first (device API reference, 2.10): the published firmware updater takes every
            # message for all that there is, so the last one must be what holds now.
            if removed:
                listener.attributes_removed(removed)
                self._counters.attribute_pushes += 1
            if saved:
                listener.attributes_saved(saved)
                self._counters.attribute_pushes += 1
