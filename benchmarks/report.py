"""The run's outcome as values, as a table for a terminal and as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.measurements import Measurement
from benchmarks.measures import Figure, Measure


class Round(msgspec.Struct, frozen=True):
    measure: str
    server: str
    number: int
    measurement: Measurement


class Report(msgspec.Struct, frozen=True):
    """Everything about a run. NaN (a latency of nothing) becomes null in the JSON file."""

    machine: Machine
    stolen_percent: float
    """Of the CPU time that was wanted during the run, how much the machine's host gave to other machines."""
    servers: dict[str, str]
    """Name and description, in the order in which they took turns."""
    options: dict[str, str | int | float]
    rounds: list[Round]
    not_measured: list[str]

    def of(self, measure: str, server: str) -> list[Measurement]:
        return [each.measurement for each in self.rounds if each.measure == measure and each.server == server]


def write_json(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def print_report(report: Report, measures: Sequence[Measure], console: Console) -> None:
    names = list(report.servers)
    table = Table(title="Median of the rounds (best)", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ratio" if len(names) == 2 else "", justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for measure in measures:
        if any(each.measure == measure.key for each in report.rounds):
            table.add_row(f"[bold]{measure.key}[/]: {measure.title}")
            for figure in measure.figures:
                table.add_row(*_row(report, measure, figure, names))
            table.add_section()
    for line in _heading(report):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(table)
    for line in _footnotes(report, measures):
        console.print(line, highlight=False, soft_wrap=True)


def _row(report: Report, measure: Measure, figure: Figure, names: Sequence[str]) -> list[str]:
    medians: list[float] = []
    cells: list[str] = []
    for name in names:
        values = [each.figures[figure.key] for each in report.of(measure.key, name)]
        values = [value for value in values if not math.isnan(value)]
        if not values:
            cells.append("-")
            continue
        best = max(values) if figure.higher_is_better else min(values)
        medians.append(statistics.median(values))
        cells.append(f"{_number(medians[-1], figure)} ({_number(best, figure)})")
    ratio = f"{medians[0] / medians[1]:.2f}" if len(medians) == 2 and medians[1] else ""
    return [f"  {figure.title}", figure.unit, *cells, ratio, figure.goal]


def _number(value: float, figure: Figure) -> str:
    return f"{value:,.{figure.digits}f}"


def _heading(report: Report) -> Iterator[str]:
    machine = report.machine
    yield f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB, {machine.kernel}"
    yield (
        f"{machine.python}; load source with {machine.load_openssl}; data on {machine.data_filesystem}; "
        f"load average before {machine.load_average}; CPU time stolen by the host {report.stolen_percent} %"
    )
    for name, description in report.servers.items():
        yield f"{name}: {description}"
    yield ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in report.options.items())


def _footnotes(report: Report, measures: Sequence[Measure]) -> Iterator[str]:
    for each in report.rounds:
        windows = each.measurement.windows
        if len(windows) > 2:
            rates = " ".join(f"{window['per_s']:,.0f}" for window in windows)
            yield f"{each.measure}, {each.server}, round {each.number}, per window: {rates} /s"
        for reason, count in each.measurement.failures.items():
            yield f"{each.measure}, {each.server}, round {each.number}: {count} x {reason}"
    yield from report.not_measured
