"""The command line's options: sizes as a table, and what they make together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from benchmarks.certificates import Certificates
from benchmarks.measurements import Plan
from benchmarks.measures import MEASURES
from benchmarks.servers import Mosquitto, Thingpass

_MEASURE_KEYS = tuple(measure.key for measure in MEASURES)
_SERVER_NAMES = (Thingpass.name, Mosquitto.name)

Command = TypeVar("Command", bound=Callable[..., object])


class Size(msgspec.Struct, frozen=True):
    """A number on the command line; `quick` is its value with --quick, where that differs."""

    name: str
    default: int | float
    quick: int | float
    help: str


SIZES: tuple[Size, ...] = (
    Size("rounds", 3, 1, "How often each server has its turn at each measure."),
    Size("duration", 10.0, 3.0, "Seconds that count in a turn; with 60 and more: does the rate hold?"),
    Size("warm_up", 2.0, 1.0, "Seconds before them that do not count."),
    Size("window", 5.0, 1.0, "Seconds of a window; the rate is also given per window."),
    Size("processes", 2, 2, "Load processes."),
    Size("connections", 500, 100, "messages, mixed, attributes, calls: connected devices."),
    Size("in_flight", 20, 20, "messages: most unacknowledged messages of a device."),
    Size("burst", 5, 5, "messages: a device sends again when so many have been acknowledged."),
    Size("connecting", 64, 64, "connects: connections being opened at any time."),
    Size("idle", 5_000, 500, "idle: connections."),
    Size("rate", 5_000, 1_000, "mixed: messages a second over all connections."),
    Size("arrivals", 300, 100, "mixed: new devices a second."),
    Size("calling", 64, 16, "calls: RPC calls under way at any time."),
    Size("fleet", 1_000, 100, "fleet: simulated devices."),
    Size("fleet_rate", 1_000, 100, "fleet: messages a second of all of them."),
    Size("devices", 5_500, 1_000, "Registered devices, connected or not."),
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    only: tuple[str, ...] = _MEASURE_KEYS
    servers: tuple[str, ...] = _SERVER_NAMES
    rounds: int
    duration: float
    warm_up: float
    window: float
    processes: int
    connections: int
    in_flight: int
    burst: int
    connecting: int
    idle: int
    rate: int
    arrivals: int
    calling: int
    fleet: int
    fleet_rate: int
    devices: int
    json_file: Path | None = None
    data_dir: Path | None = None
    server_option: tuple[str, ...] = ()

    @property
    def device_count(self) -> int:
        """Registered devices: at least those that take part."""
        return max(self.devices, self.connections + self.arrivals, self.idle)

    def plan(self, certificates: Certificates) -> Plan:
        return Plan(
            certificates=certificates,
            duration_s=self.duration,
            warm_up_s=self.warm_up,
            window_s=min(self.window, self.duration),
            processes=self.processes,
            publishers=self.connections,
            messages_in_flight=self.in_flight,
            burst=min(self.burst, self.in_flight),
            connects_in_flight=self.connecting,
            idle_connections=self.idle,
            mixed_messages_per_s=self.rate,
            mixed_connects_per_s=self.arrivals,
            calls_in_flight=self.calling,
            fleet_devices=self.fleet,
            fleet_messages_per_s=self.fleet_rate,
        )

    def reported(self) -> dict[str, str | int | float]:
        """The sizes, for the report."""
        sizes: dict[str, str | int | float] = {size.name: getattr(self, size.name) for size in SIZES}
        if self.server_option:
            sizes["server_option"] = " ".join(self.server_option)
        return sizes


def read_options(given: dict[str, object], *, quick: bool) -> Options:
    """Fills in the sizes that were not given: the usual ones, or the quick ones."""
    sizes = {size.name: size.quick if quick else size.default for size in SIZES}
    said = {name: value for name, value in given.items() if value is not None}
    return msgspec.convert(sizes | said, Options)


def benchmark_options(command: Command) -> Command:
    """Decorates a function with all options, in the order of this file."""
    path = click.Path(path_type=Path)
    decorators = [
        _list_option("--only", "What to measure", _MEASURE_KEYS),
        _list_option("--servers", "Whom, in turns", _SERVER_NAMES),
        click.option("--quick", is_flag=True, help="Small and short: does it work here? No good numbers."),
        click.option("--json", "json_file", type=path, help="Write everything to this file, every round."),
        *(_size_option(size) for size in SIZES),
        click.option("--data-dir", type=path, help="Where the servers store; its disk is measured too."),
        click.option("--server-option", multiple=True, help="A word more for `thingpass up`; repeatable."),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def _size_option(size: Size) -> Callable[[Command], Command]:
    differs = f", quick: {size.quick:g}" if size.quick != size.default else ""
    return click.option(
        f"--{size.name.replace('_', '-')}",
        type=click.FloatRange(min=0.1) if isinstance(size.default, float) else click.IntRange(min=1),
        help=f"{size.help}  [{size.default:g}{differs}]",
    )


def _list_option(name: str, title: str, allowed: Sequence[str]) -> Callable[[Command], Command]:
    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        chosen = tuple(word.strip() for word in value.split(","))
        for word in chosen:
            if word not in allowed:
                raise click.BadParameter(f"{word!r} is none of {', '.join(allowed)}", ctx, param)
        return chosen

    return click.option(name, callback=read, metavar="LIST", help=f"{title}, of: {','.join(allowed)}  [all]")
