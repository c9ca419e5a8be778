"""The steps of `thingpass simulate`: keys, registration, where to connect, the fleet, its summary."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

import click
import msgspec

from thingpass.cli.failures import Failure
from thingpass.cli.output import print_json
from thingpass.cli.rest_client import RestClient, ServerRefused, connect
from thingpass.cli.simulate_display import Display, Step, summary_document, summary_lines
from thingpass.errors import Invalid
from thingpass.simulation.discovery import CERTIFICATE_PATH, connectivity_path, find_listener
from thingpass.simulation.fleet import Fleet, Plan
from thingpass.simulation.keys import cache_directory, load_or_make_keys
from thingpass.simulation.processes import ProcessFleet
from thingpass.simulation.registration import Registrar
from thingpass.simulation.tally import Snapshot
from thingpass.simulation.target import DEFAULT_PORTS, Target, read_target

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")  # it names a file, too


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    devices: int
    rate: float
    protocol: str
    mqtt_version: str
    x509: bool
    address: str | None
    ca_file: Path | None
    prefix: str
    duration: float | None
    connect_rate: float
    churn: float
    seed: int
    processes: int
    as_json: bool


class AnyFleet(Protocol):
    """`Fleet` or `ProcessFleet`."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...
    def snapshot(self) -> Snapshot: ...


class _Rest:
    """The commands' REST client as `simulation.registration` wants it."""

    def __init__(self) -> None:
        self._client = connect()

    def get(self, path: str, query: dict[str, str | int]) -> object:
        return self._client.get(path, query or None).json()

    def post(self, path: str, body: object) -> object:
        return self._client.post(path, body).json()

    def delete(self, path: str) -> object:
        return self._client.delete(path).json()


def run(options: Options) -> None:
    """Everything in order. Raises Failure: exit code 1 when nothing could connect, 2 for wrong usage."""
    _check(options)
    target = _given_target(options)
    client = connect()
    names = [f"{options.prefix}-{number:06d}" for number in range(options.devices)]
    keys = None
    if options.x509:
        with Step("Keys", len(names)) as step:
            keys = _keys(options, names, step)
    registrar = Registrar(_Rest, options.prefix)
    with Step("Registered", len(names)) as step:
        devices = registrar.register(names, keys, progress=step.reached)
    target = target or _discover(client, registrar, names, options)
    plan = Plan(
        target=_with_trust(target, client, options.ca_file),
        devices=devices,
        interval_s=options.devices / options.rate,
        seed=options.seed,
        mqtt_version=_version(options.mqtt_version),
        connect_rate=options.connect_rate,
        churn_percent=options.churn,
    )
    fleet: AnyFleet = Fleet(plan) if options.processes == 1 else ProcessFleet(plan, options.processes)
    counts, seconds = _run_fleet(fleet, plan.target, options.duration)
    if options.as_json:
        print_json(summary_document(counts, seconds, plan.target.text))
    else:
        for line in summary_lines(counts, seconds):
            click.echo(line)
    if counts.connects == 0:
        raise _nothing_connected(counts, plan.target)


def remove_devices(options: Options) -> None:
    """`--remove`: takes the devices of the prefix away again."""
    _check(options)
    with Step("Removed", None) as step:
        removed = Registrar(_Rest, options.prefix).remove(progress=step.reached)
    if options.as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{removed} devices {options.prefix}-... are removed.")


def _check(options: Options) -> None:
    if not _PREFIX.fullmatch(options.prefix):
        raise click.BadParameter(
            "letters, digits, dots, dashes and underscores, 41 at most.", param_hint="'--prefix'"
        )


def _given_target(options: Options) -> Target | None:
    if options.address is not None:
        try:
            target = read_target(options.address)
        except Invalid as error:
            raise Failure(error.sentence, error.mend, exit_code=2) from error
        if target.is_http is not (options.protocol == "http"):
            raise click.UsageError(f"--to {target.text} is not for --protocol {options.protocol}.")
        if options.x509 and not target.is_tls:
            raise click.UsageError(f"--x509 needs TLS, and {target.text} has none.")
        return target
    return None


def _keys(options: Options, names: list[str], step: Step) -> list[str]:
    directory = cache_directory(os.environ)
    try:
        return load_or_make_keys(directory, options.prefix, names, progress=step.reached)
    except OSError as error:
        raise Failure(f"The keys cannot be kept in {directory}: {error.strerror}.") from error


def _discover(client: RestClient, registrar: Registrar, names: list[str], options: Options) -> Target:
    """HTTP: the REST API's own address; with TLS, what the server's connectivity page says."""
    if options.protocol == "http" and not options.x509:
        parts = urlsplit(client.url)
        return read_target(f"{parts.scheme}://{parts.netloc}")
    scheme = "https" if options.protocol == "http" else "mqtts"
    found = None
    device_id = registrar.first_id(names)
    if device_id is not None:
        try:
            found = find_listener(client.get(connectivity_path(device_id)).json(), scheme)
        except ServerRefused:
            pass  # an older ThingsBoard has no such page
    host, port = found or (urlsplit(client.url).hostname or "localhost", DEFAULT_PORTS[scheme])
    return Target(scheme, host, port)


def _with_trust(target: Target, client: RestClient, ca_file: Path | None) -> Target:
    if not target.is_tls:
        return target
    if ca_file is not None:
        try:
            return msgspec.structs.replace(target, trust_pem=ca_file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{ca_file} cannot be read as PEM.", exit_code=2) from error
    try:
        pem = client.get(CERTIFICATE_PATH).body.decode("utf-8")
    except (ServerRefused, UnicodeDecodeError):
        return target  # a server with a certificate of a public authority need not offer one
    return msgspec.structs.replace(target, trust_pem=pem)


def _version(text: str) -> Literal["3.1.1", "5"]:
    return "5" if text == "5" else "3.1.1"


def _run_fleet(fleet: AnyFleet, target: Target, duration: float | None) -> tuple[Snapshot, float]:
    import uvloop

    started = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_watch(fleet, Display(target.text, time.monotonic()), duration))
    return fleet.snapshot(), time.monotonic() - started


async def _watch(fleet: AnyFleet, display: Display, duration: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.stop)
    if duration is not None:
        loop.call_later(duration, fleet.stop)
    running = asyncio.create_task(fleet.run())
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=display.every_s)
            if not running.done():  # when everybody has left there is only the summary
                display.show(fleet.snapshot(), loop.time())
        running.result()
    finally:
        display.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _nothing_connected(counts: Snapshot, target: Target) -> Failure:
    reasons = sorted(counts.problems.items(), key=lambda item: -item[1].count)
    because = f": {reasons[0][0]}" if reasons else ""
    return Failure(
        f"No device could connect to {target.text}{because}.",
        "`thingpass connections --refused` shows the server's side.",
    )
