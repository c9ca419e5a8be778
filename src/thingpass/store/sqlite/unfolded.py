"""Samples that are committed to the journal but not yet folded into series.db, for reading at once.

They lie in segments, oldest first. The newest segment takes what is committed; a segment that is sealed
waits for the folding process and is dropped as a whole when its samples are in series.db.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

# A long sample counts as several messages, so that a bound in messages is a bound in bytes as well.
_BYTES_A_MESSAGE: Final = 512


def weight(encoded: bytes) -> int:
    """What a sample counts towards a bound in messages: 1, and 1 more for each 512 bytes."""
    return 1 + len(encoded) // _BYTES_A_MESSAGE


class Segment:
    """The samples of consecutive journal rows, by device, each device's in arrival order."""

    __slots__ = ("by_device", "last_journal_id", "messages", "weight")

    def __init__(self) -> None:
        self.by_device: defaultdict[int, list[bytes]] = defaultdict(list)
        self.messages = 0
        self.weight = 0
        self.last_journal_id = 0

    def add(self, journal_id: int, samples: Sequence[tuple[int, bytes]]) -> None:
        by_device = self.by_device
        size = 0
        for number, encoded in samples:
            size += len(encoded)
            by_device[number].append(encoded)
        self.messages += len(samples)
        self.weight += len(samples) + size // _BYTES_A_MESSAGE
        self.last_journal_id = journal_id


class Unfolded:
    """All segments. `weight` is what counts towards the bound."""

    def __init__(self) -> None:
        self._sealed: list[Segment] = []
        self._open = Segment()
        self.weight = 0

    @property
    def messages(self) -> int:
        return self._open.messages + sum(segment.messages for segment in self._sealed)

    @property
    def open_weight(self) -> int:
        """Of the segment that is not sealed."""
        return self._open.weight

    @property
    def sealed_through(self) -> int | None:
        """The highest journal id that waits for the folding process; None when nothing waits."""
        return self._sealed[-1].last_journal_id if self._sealed else None

    def add(self, journal_id: int, samples: Sequence[tuple[int, bytes]]) -> None:
        before = self._open.weight
        self._open.add(journal_id, samples)
        self.weight += self._open.weight - before

    def seal(self) -> None:
        if self._open.messages:
            self._sealed.append(self._open)
            self._open = Segment()

    def drop(self, through: int) -> list[Segment]:
        """Lets go of the sealed segments that end at or before this journal id; gives them."""
        dropped: list[Segment] = []
        while self._sealed and self._sealed[0].last_journal_id <= through:
            segment = self._sealed.pop(0)
            self.weight -= segment.weight
            dropped.append(segment)
        return dropped

    def samples(self, device_number: int) -> list[bytes]:
        """What is kept of one device, encoded, in arrival order."""
        found: list[bytes] = []
        for segment in self._sealed:
            found += segment.by_device.get(device_number, ())
        found += self._open.by_device.get(device_number, ())
        return found
