"""What `thingpass simulate` shows: a block that is drawn anew on a terminal, a line now and then elsewhere.

All of it goes to stderr; stdout is for the summary.
"""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Final

import click

from thingpass.cli.output import printable
from thingpass.simulation.histogram import percentile_s
from thingpass.simulation.tally import Problem, Snapshot, latencies_since

ON_TERMINAL_EVERY_S: Final = 0.5
IN_LOG_EVERY_S: Final = 5.0
RATES_OVER_S: Final = 3.0  # shorter, and the numbers dance; longer, and they lag
MOST_PROBLEMS: Final = 6
_UP_AND_CLEAR: Final = "\x1b[{lines}F\x1b[J"


class Step:
    """One step before the fleet starts, with its progress; `total` None: not known before."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = total
        self._began = time.monotonic()
        self._shown_at = 0.0
        self._count = 0

    def reached(self, count: int) -> None:
        self._count = count
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown_at >= 0.1:
            self._shown_at = now
            click.echo(f"\r{self._text()}\x1b[K", nl=False, err=True)

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        start = "\r" if sys.stderr.isatty() else ""
        click.echo(f"{start}{self._text()} in {time.monotonic() - self._began:.1f} s", err=True)

    def _text(self) -> str:
        of_total = "" if self._total is None else f" of {self._total:,}"
        return f"{self._title}: {self._count:,}{of_total}"


class Display:
    """The running fleet, from the monotonic time `now` on. `show` the counts every `every_s`."""

    def __init__(self, target: str, now: float) -> None:
        self._target = target
        self._live = sys.stderr.isatty()
        self._history: list[tuple[float, Snapshot]] = [(now, Snapshot())]
        self._drawn = 0
        self._began = now
        self.every_s = ON_TERMINAL_EVERY_S if self._live else IN_LOG_EVERY_S

    def show(self, counts: Snapshot, now: float) -> None:
        self._history.append((now, counts))
        while len(self._history) > 2 and now - self._history[1][0] >= RATES_OVER_S:
            del self._history[0]
        before_at, before = self._history[0]
        since_s = now - before_at
        if self._live:
            self._draw(block(self._target, counts, before, since_s, now - self._began))
        else:
            click.echo(log_line(counts, before, since_s), err=True)

    def close(self) -> None:
        """Leaves the last block where it is."""
        self._drawn = 0

    def _draw(self, lines: list[str]) -> None:
        width, height = shutil.get_terminal_size()
        shown = [line[: width - 1] for line in lines[: max(height - 1, 1)]]
        start = _UP_AND_CLEAR.format(lines=self._drawn) if self._drawn else ""
        click.echo(start + "\n".join(shown), err=True)
        self._drawn = len(shown)


def block(target: str, counts: Snapshot, before: Snapshot, since_s: float, elapsed_s: float) -> list[str]:
    """The block on a terminal."""
    sent, acknowledged, connects = _rates(counts, before, since_s)
    lines = [
        f"{counts.wanted:,} devices at {target}, {_clock(elapsed_s)}",
        f"connected   {counts.connected:,} of {counts.wanted:,}, {connects:,.0f} connects/s, "
        f"{counts.connects_failed:,} failed, {counts.lost:,} lost",
        f"messages    {sent:,.0f}/s sent, {acknowledged:,.0f}/s acknowledged, "
        f"{counts.unacknowledged:,} on their way, {counts.acknowledged:,} in all",
        f"latency     {_latency(latencies_since(counts.latencies, before.latencies))}",
        f"commands    {counts.rpc_answered:,} RPC answered, {counts.settings_applied:,} settings applied",
    ]
    if counts.rejected or counts.held_back:
        lines.append(f"trouble     {counts.rejected:,} messages refused, {counts.held_back:,} held back")
    return lines + _problem_lines(counts)


def log_line(counts: Snapshot, before: Snapshot, since_s: float) -> str:
    """The line in a log."""
    sent, acknowledged, _ = _rates(counts, before, since_s)
    problems = sum(problem.count for problem in counts.problems.values())
    return (
        f"connected {counts.connected}/{counts.wanted}, sent {sent:.0f}/s, acknowledged {acknowledged:.0f}/s,"
        f" {counts.unacknowledged} on their way,"
        f" latency {_latency(latencies_since(counts.latencies, before.latencies))}, {problems} problems"
    )


def summary_lines(counts: Snapshot, seconds: float) -> list[str]:
    """The summary for people."""
    lines = [
        f"{seconds:,.1f} s, {counts.connects:,} connects of {counts.wanted:,} devices"
        f" ({counts.connects_failed:,} failed, {counts.lost:,} lost).",
        f"{counts.sent:,} messages sent, {counts.acknowledged:,} acknowledged"
        f" ({counts.acknowledged / max(seconds, 0.001):,.0f}/s), {counts.rejected:,} refused,"
        f" {counts.held_back:,} held back.",
        f"Latency {_latency(counts.latencies)}.",
        f"{counts.rpc_answered:,} RPC answered, {counts.settings_applied:,} settings applied.",
    ]
    return lines + _problem_lines(counts)


def summary_document(counts: Snapshot, seconds: float, target: str) -> dict[str, object]:
    """The summary for programs."""
    plain = {
        name: getattr(counts, name)
        for name in counts.__struct_fields__
        if name not in ("latencies", "problems", "unacknowledged", "connected")
    }
    return {
        "target": target,
        "seconds": round(seconds, 3),
        **plain,
        "acknowledged_per_s": round(counts.acknowledged / max(seconds, 0.001), 1),
        "latency_ms": {
            f"p{percent}": _milliseconds(percentile_s(counts.latencies, percent)) for percent in (50, 99)
        },
        "problems": [
            {"reason": reason, "count": problem.count, "example": problem.example}
            for reason, problem in _by_count(counts)
        ],
    }


def _problem_lines(counts: Snapshot) -> list[str]:
    found = _by_count(counts)
    lines = []
    for reason, problem in found[:MOST_PROBLEMS]:
        example = f" ({printable(problem.example)})" if problem.example else ""
        lines.append(f"{problem.count:>9,} x {printable(reason)}{example}")
    if len(found) > MOST_PROBLEMS:
        lines.append(f"{'':>9}   and {len(found) - MOST_PROBLEMS} reasons more")
    return lines


def _by_count(counts: Snapshot) -> list[tuple[str, Problem]]:
    return sorted(counts.problems.items(), key=lambda item: -item[1].count)


def _rates(counts: Snapshot, before: Snapshot, since_s: float) -> tuple[float, float, float]:
    over_s = max(since_s, 0.001)
    sent = (counts.sent - before.sent) / over_s
    acknowledged = (counts.acknowledged - before.acknowledged) / over_s
    return sent, acknowledged, (counts.connects - before.connects) / over_s


def _latency(latencies: dict[int, int]) -> str:
    half, most = (_milliseconds(percentile_s(latencies, percent)) for percent in (50, 99))
    return "unknown" if half is None or most is None else f"p50 {half:g} ms, p99 {most:g} ms"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds * 1000:.3g}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
