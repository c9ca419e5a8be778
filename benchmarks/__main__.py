"""`python -m benchmarks`: the rounds and their report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks.certificates import Certificates, make_certificates
from benchmarks.load_process import raise_open_files_limit
from benchmarks.load_sources import LoadFailed
from benchmarks.machine import describe_machine
from benchmarks.measures import MEASURES
from benchmarks.options import Options, benchmark_options, read_options
from benchmarks.process_stats import stolen_and_busy_s
from benchmarks.report import Report, Round, print_report, write_json
from benchmarks.servers import Mosquitto, Server, ServerFailed, Thingpass, find_mosquitto

_TABLE_WIDTH = 125


@click.command(context_settings={"max_content_width": 110})
@benchmark_options
def main(*, quick: bool, **given: object) -> None:
    """Measure Thingpass and Mosquitto under the same load, in turns, on this machine.

    \b
    connects   mutual-TLS connects a second, and the CPU seconds of each
    messages   QoS 1 telemetry messages a second; Thingpass stores them first, Mosquitto stores nothing
    idle       resident memory of an idle connection
    mixed      the acknowledgement's latency at a fixed rate while new devices connect
    attributes attribute requests of devices and their answers; Thingpass alone
    calls      two-way RPC from REST to a device and back; Thingpass alone
    fleet      the devices of `thingpass simulate` at their own pace; Thingpass alone

    Needs Linux, and for the comparison Mosquitto (Debian: apt-get install mosquitto). The machine should do
    nothing else meanwhile. docs/performance.md says how to read the numbers.
    """
    options = read_options(given, quick=quick)
    raise_open_files_limit()
    try:
        report = run_benchmark(options, Console(stderr=True, highlight=False))
    except (ServerFailed, LoadFailed) as failure:
        raise click.ClickException(str(failure)) from failure
    terminal = Console(highlight=False)
    # A pipe or a narrow terminal gets long lines instead of a table that cannot be read.
    terminal.width = max(terminal.width, _TABLE_WIDTH)
    print_report(report, MEASURES, terminal)
    if options.json_file:
        write_json(report, options.json_file)


def run_benchmark(options: Options, progress: Console) -> Report:
    """Makes the devices, gives each server its turns, throws everything away but the numbers."""
    if options.data_dir:
        options.data_dir.mkdir(parents=True, exist_ok=True)
    not_measured: list[str] = []
    stolen_before_s, busy_before_s = stolen_and_busy_s()
    with tempfile.TemporaryDirectory(prefix="thingpass-bench-", dir=options.data_dir) as made:
        directory = Path(made)
        machine = describe_machine(directory)
        progress.print(f"making and registering {options.device_count} devices ...")
        certificates = make_certificates(directory, options.device_count)
        servers = _servers(options, directory, certificates, not_measured)
        rounds = _take_turns(servers, options, certificates, progress)
    stolen_s, busy_s = stolen_and_busy_s()
    return Report(
        machine=machine,
        stolen_percent=_percent(stolen_s - stolen_before_s, busy_s - busy_before_s),
        servers={server.name: server.description for server in servers},
        options=options.reported(),
        rounds=rounds,
        not_measured=not_measured,
    )


def _percent(stolen_s: float, busy_s: float) -> float:
    return round(100 * stolen_s / max(stolen_s + busy_s, 0.01), 1)


def _servers(
    options: Options, directory: Path, certificates: Certificates, not_measured: list[str]
) -> list[Server]:
    servers: list[Server] = []
    if Thingpass.name in options.servers:
        servers.append(Thingpass(directory, certificates, options=options.server_option))
    if Mosquitto.name in options.servers:
        binary = find_mosquitto()
        if binary:
            servers.append(Mosquitto(binary, directory, certificates))
        else:
            not_measured.append("mosquitto: not installed here; on Debian: apt-get install mosquitto")
    return servers


def _take_turns(
    servers: Sequence[Server], options: Options, certificates: Certificates, progress: Console
) -> list[Round]:
    plan = options.plan(certificates)
    rounds: list[Round] = []
    for measure in (measure for measure in MEASURES if measure.key in options.only):
        first = measure.figures[0]
        for number in range(1, options.rounds + 1):
            for server in servers:
                if not measure.brokers_too and server.name != Thingpass.name:
                    continue
                with server.running() as running:
                    measurement = measure.run(running, plan)
                rounds.append(Round(measure.key, server.name, number, measurement))
                value = f"{measurement.figures[first.key]:,.{first.digits}f} {first.unit}"
                progress.print(f"{measure.key}, round {number} of {options.rounds}, {server.name}: {value}")
    return rounds


if __name__ == "__main__":
    main()
