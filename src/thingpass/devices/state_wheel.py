"""A wheel of one-second slots: who is to be looked at when, for as many devices as there are.

An entry is in one slot, which it names itself. Moving it only writes the new slot's number: what is left in
the old slot is passed over when that comes round.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Slotted(Protocol):
    slot: int
    """Where the wheel keeps it; written by the wheel alone. 0: nowhere."""


SlottedT = TypeVar("SlottedT", bound=Slotted)


class StateWheel(Generic[SlottedT]):
    """Moments are monotonic seconds; `now` never goes backwards."""

    def __init__(self, now: float) -> None:
        self._slots: dict[int, list[SlottedT]] = {}
        self._turned_to = int(now)

    def put(self, entry: SlottedT, at: float) -> None:
        """Has the entry come up within the second after `at`, and not before; replaces where it was."""
        slot = max(int(at), self._turned_to) + 1
        if slot != entry.slot:
            entry.slot = slot
            self._slots.setdefault(slot, []).append(entry)

    def take_out(self, entry: SlottedT) -> None:
        entry.slot = 0

    def due(self, now: float) -> list[SlottedT]:
        """Takes out and gives who has come up since the last time."""
        found: list[SlottedT] = []
        while self._turned_to < int(now):
            self._turned_to += 1
            for entry in self._slots.pop(self._turned_to, ()):
                if entry.slot == self._turned_to:
                    entry.slot = 0
                    found.append(entry)
        return found
