"""What a fleet counts, and how the counts of several processes become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from thingpass.simulation.histogram import bucket_of, merged

MOST_REASONS: Final = 50  # a server that invents a new reason each time must not fill the memory
OTHER_REASONS: Final = "other reasons"


class Problem(msgspec.Struct):
    """How often something went wrong for one reason, and an example of what the server said to it."""

    count: int = 0
    example: str | None = None


class Snapshot(msgspec.Struct, kw_only=True):
    """The counts so far, as they go over a pipe."""

    wanted: int = 0
    connected: int = 0
    connects: int = 0
    connects_failed: int = 0
    lost: int = 0
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    held_back: int = 0
    unacknowledged: int = 0
    rpc_answered: int = 0
    settings_applied: int = 0
    latencies: dict[int, int] = {}
    problems: dict[str, Problem] = {}


class Tally:
    """The counts of one process, added to by its devices. Every name is a field of `Snapshot`."""

    __slots__ = (
        "acknowledged",
        "connected",
        "connects",
        "connects_failed",
        "held_back",
        "latencies",
        "lost",
        "problems",
        "rejected",
        "rpc_answered",
        "sent",
        "settings_applied",
        "unacknowledged",
    )

    def __init__(self) -> None:
        self.connected = 0  # right now
        self.connects = 0
        self.connects_failed = 0
        self.lost = 0  # connections that ended and should not have
        self.sent = 0
        self.acknowledged = 0
        self.rejected = 0  # answered, but with a refusal
        self.held_back = 0  # due, but not sent: too many were waiting for their acknowledgement
        self.unacknowledged = 0  # right now
        self.rpc_answered = 0
        self.settings_applied = 0
        self.latencies: dict[int, int] = {}
        self.problems: dict[str, Problem] = {}

    def answered(self, latency_s: float) -> None:
        self.acknowledged += 1
        bucket = bucket_of(latency_s)
        self.latencies[bucket] = self.latencies.get(bucket, 0) + 1

    def problem(self, reason: str, example: str | None = None) -> None:
        if reason not in self.problems and len(self.problems) >= MOST_REASONS:
            reason, example = OTHER_REASONS, None
        found = self.problems.setdefault(reason, Problem())
        found.count += 1
        if found.example is None:
            found.example = example

    def snapshot(self, wanted: int) -> Snapshot:
        counts = {
            name: getattr(self, name) for name in self.__slots__ if name not in ("latencies", "problems")
        }
        problems = {reason: Problem(found.count, found.example) for reason, found in self.problems.items()}
        return Snapshot(wanted=wanted, latencies=dict(self.latencies), problems=problems, **counts)


_SUMS = tuple(name for name in Snapshot.__struct_fields__ if name not in ("latencies", "problems"))
_COUNTS = tuple(name for name in _SUMS if name != "wanted")


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The counts of all together."""
    parts = tuple(snapshots)
    problems: dict[str, Problem] = {}
    for part in parts:
        for reason, found in part.problems.items():
            total = problems.setdefault(reason, Problem())
            total.count += found.count
            total.example = total.example or found.example
    sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMS}
    return Snapshot(latencies=merged(part.latencies for part in parts), problems=problems, **sums)


def latencies_since(later: dict[int, int], earlier: dict[int, int]) -> dict[int, int]:
    """The histogram of what was counted between two snapshots."""
    return {bucket: more for bucket, count in later.items() if (more := count - earlier.get(bucket, 0)) > 0}
