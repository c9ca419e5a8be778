"""How commands print: tables and field lists for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def json_option(command: Command) -> Command:
    """The `--json` flag that every command with data has; the parameter is named `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def print_json(value: object) -> None:
    """One JSON document on stdout, indented; what json does not know is printed as its text."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_fields(fields: Sequence[tuple[str, str | None]]) -> None:
    """Aligned `name  value` lines; those whose value is None are left out."""
    shown = [(name, value) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        for position, line in enumerate(value.splitlines() or [""]):
            label = name if position == 0 else ""
            click.echo(f"{click.style(label.ljust(width), dim=True)}  {printable(line)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; into a pipe, as wide as it needs, so that nothing is cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, column in enumerate(columns):
        last = position == len(columns) - 1
        table.add_column(column, overflow="fold", no_wrap=not last and not sys.stdout.isatty())
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def local_time(ms: int | None) -> str:
    """Milliseconds since 1970 as `2026-11-23 21:40:12` in the machine's time zone."""
    if ms is None:
        return "-"
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str) -> str:
    """Devices choose some of these texts: no control character of theirs reaches the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
