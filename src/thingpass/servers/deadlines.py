"""One wheel for the deadlines of all connections: no timer per connection, nothing to reset per message.

A connection stands in the slot of the second in which it could be overdue at the earliest. When the slot
comes round it is asked again: most have been active, name a later moment and are moved there.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

SLOT_S = 0.5  # how late a deadline may be noticed; keep-alive is in seconds, so half of one is fine
MOST_PER_TURN = 2_000  # asked in one go (about 1 ms), then the loop gets its turn


class Deadlined(Protocol):
    wheel_slot: int
    """Where the wheel keeps it; written by the wheel alone. 0: nowhere."""

    def deadline(self) -> float | None:
        """The monotonic moment (s) at which something is due; None: never again."""

    def overdue(self, now: float) -> None:
        """The moment has come."""


class DeadlineWheel:
    def __init__(self) -> None:
        self._slots: dict[int, set[Deadlined]] = {}
        self._task: asyncio.Task[None] | None = None
        self._turned_to = 0

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._turned_to = int(loop.time() / SLOT_S)
        self._task = loop.create_task(self._turn_for_ever(), name="deadline-wheel")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def watch(self, member: Deadlined) -> None:
        """Puts the member into its slot."""
        deadline = member.deadline()
        if deadline is None:
            member.wheel_slot = 0
            return
        slot = max(int(deadline / SLOT_S) + 1, self._turned_to + 1)
        member.wheel_slot = slot
        self._slots.setdefault(slot, set()).add(member)

    def forget(self, member: Deadlined) -> None:
        """Takes a member out at once: a wheel that held closed connections until their slot would fill up."""
        members = self._slots.get(member.wheel_slot)
        if members is not None:
            members.discard(member)
            if not members:
                del self._slots[member.wheel_slot]
        member.wheel_slot = 0

    async def _turn_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SLOT_S)
            now_slot = int(loop.time() / SLOT_S)
            while self._turned_to < now_slot:
                self._turned_to += 1
                due = list(self._slots.pop(self._turned_to, ()))
                for start in range(0, len(due), MOST_PER_TURN):
                    self._ask(due[start : start + MOST_PER_TURN], loop.time())
                    await asyncio.sleep(0)

    def _ask(self, members: list[Deadlined], now: float) -> None:
        for member in members:
            if member.wheel_slot == 0:
                continue  # forgotten while its slot was being asked
            try:
                deadline = member.deadline()
                if deadline is not None and deadline <= now:
                    member.overdue(now)
                self.watch(member)
            except Exception:
                log.exception("deadline.failed")
