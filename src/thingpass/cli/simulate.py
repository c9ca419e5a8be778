"""`thingpass simulate`: a fleet of believable devices against this or any server."""

from __future__ import annotations

from pathlib import Path

import click

from thingpass.cli.output import json_option


@click.command()
@click.option("--devices", type=click.IntRange(1, 1_000_000), default=10, show_default=True, help="How many.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Messages a second of the whole fleet.  [default: one in 10 s from each device]",
)
@click.option("--protocol", type=click.Choice(["mqtt", "http"]), default="mqtt", show_default=True)
@click.option("--mqtt-version", type=click.Choice(["3.1.1", "5"]), default="5", show_default=True)
@click.option("--x509", is_flag=True, help="Each device has a key and proves itself with its certificate.")
@click.option(
    "--to",
    "address",
    metavar="ADDRESS",
    help="Where they connect: mqtts://, mqtt://, https:// or http://HOST[:PORT].  [default: the server says]",
)
@click.option(
    "--ca",
    "ca_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PEM file that the server's certificate must lead to.  [default: downloaded from the server]",
)
@click.option(
    "--prefix", default="sim", show_default=True, metavar="TEXT", help="Devices are PREFIX-000000, ..."
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option(
    "--connect-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Connections a second.  [default: as fast as the server takes them]",
)
@click.option(
    "--churn",
    type=click.FloatRange(0, 6_000),
    default=0,
    metavar="PERCENT",
    help="So many of the connected devices disconnect each minute, and come back.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same values.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the fleet.",
)
@click.option("--remove", is_flag=True, help="Remove the devices of the prefix from the server, and end.")
@json_option
def simulate(
    devices: int,
    rate: float | None,
    protocol: str,
    mqtt_version: str,
    x509: bool,
    address: str | None,
    ca_file: Path | None,
    prefix: str,
    duration: float | None,
    connect_rate: float | None,
    churn: float,
    seed: int,
    processes: int,
    remove: bool,
    as_json: bool,
) -> None:
    """Run a fleet of believable devices: rooms with their day, batteries that drain, doors that open.

    The devices are registered first (who exists is used again); then each connects, sends attributes and
    telemetry, answers RPC (getStatus, setInterval, echo), obeys the shared attribute uploadFrequency, and
    comes back when it is disconnected. Ctrl-C ends it with a summary.
    """
    from thingpass.cli.simulate_run import Options, remove_devices, run

    options = Options(
        devices=devices,
        rate=rate or devices / 10,
        protocol=protocol,
        mqtt_version=mqtt_version,
        x509=x509,
        address=address,
        ca_file=ca_file,
        prefix=prefix,
        duration=duration,
        connect_rate=connect_rate or 0.0,
        churn=churn,
        seed=seed,
        processes=processes,
        as_json=as_json,
    )
    if remove:
        remove_devices(options)
    else:
        run(options)
