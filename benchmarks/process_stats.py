"""What a server has used, from /proc: CPU seconds and resident memory, with its child processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# proc(5), /proc/PID/stat, counted from the field after the command.
_PARENT = 1
_TIMES = slice(11, 15)  # utime, stime, cutime, cstime


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, children that ended included; in steps of 10 ms."""
    ticks = sum(int(field) for each in _with_children(pid) for field in _stat(each)[_TIMES])
    return ticks / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Resident memory; pages that processes share are counted once, divided among them."""
    return sum(_proportional_bytes(each) for each in _with_children(pid))


def stolen_and_busy_s() -> tuple[float, float]:
    """Of the whole machine since it started: CPU seconds that its host gave to others, and that were used."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=10)[1:9]]
    user, nice, system, _, _, irq, softirq, stolen = ticks
    return stolen / _TICKS_PER_S, (user + nice + system + irq + softirq) / _TICKS_PER_S


def _with_children(pid: int) -> Iterator[int]:
    parents = dict(_parents())
    wanted = {pid}
    found = {pid}
    while found:
        found = {child for child, parent in parents.items() if parent in found} - wanted
        wanted |= found
    return iter(wanted)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), int(_stat(int(entry.name))[_PARENT])
            except OSError:
                continue  # it has just ended


def _stat(pid: int) -> list[str]:
    # The command stands in parentheses and may hold blanks and parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
