"""`thingpass connections`: who is connected, or who was refused and why."""

from __future__ import annotations

import shutil
import textwrap
import time
from typing import TYPE_CHECKING

import click

from thingpass.cli.output import json_option, local_time, print_json, print_table, printable

if TYPE_CHECKING:
    from thingpass.cli.rest_client import Query, RestClient
    from thingpass.cli.shapes import Refusal

FOLLOW_INTERVAL_S = 1.0
WIDEST = 100  # columns; lines of prose get hard to read beyond


@click.command()
@click.option("--refused", is_flag=True, help="Show refused connections with the reason and the mend.")
@click.option("--follow", is_flag=True, help="With --refused: go on showing new ones until Ctrl-C.")
@click.option("--device", "name", metavar="NAME", help="Only this device's.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
)
@json_option
def connections(refused: bool, follow: bool, name: str | None, limit: int, as_json: bool) -> None:
    """Show who is connected now, newest first; with --refused, who was refused, newest last.

    Refusals are kept in memory, for all and for each device apart; a restart of the server forgets them.
    """
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect

    if follow and (as_json or not refused):
        raise click.UsageError("--follow goes with --refused, and not with --json.")
    client = connect()
    query: Query = {"limit": limit}
    if name is not None:
        query = {"limit": limit, "deviceId": find_device(client, name)[0].id.id}
    if refused:
        _show_refusals(client, query, follow=follow, as_json=as_json)
    else:
        _show_connections(client, query, as_json=as_json)


def _show_connections(client: RestClient, query: Query, *, as_json: bool) -> None:
    from thingpass.cli.shapes import Connections

    answer = client.get("/api/v2/connections", query)
    if as_json:
        print_json(answer.json())
        return
    rows = [
        (
            row.device_name,
            _address(row.peer_address, row.peer_port),
            row.protocol,
            row.tls_version or "not encrypted",
            local_time(row.connected_at_ms),
            row.client_id if row.via_gateway is None else f"via gateway {row.via_gateway}",
        )
        for row in answer.as_(Connections).data
    ]
    if rows:
        print_table(("Device", "Address", "Protocol", "TLS", "Since", "Client id"), rows)
    else:
        click.echo("No device is connected. `thingpass connections --refused` shows who was refused.")


def _show_refusals(client: RestClient, query: Query, *, follow: bool, as_json: bool) -> None:
    from thingpass.cli.shapes import Refusals

    answer = client.get("/api/v2/refusals", query)
    if as_json:
        print_json(answer.json())
        return
    refusals = answer.as_(Refusals).data
    if not refusals and not follow:
        click.echo("Nobody was refused.")
    last = 0
    while True:
        # The newest stands last, where the eye is after a scroll, and where --follow goes on.
        for refusal in sorted(refusals, key=lambda refusal: refusal.id):
            if refusal.id > last:
                _print_refusal(refusal)
                last = refusal.id
        if not follow:
            return
        time.sleep(FOLLOW_INTERVAL_S)
        refusals = client.get("/api/v2/refusals", query).as_(Refusals).data


def _print_refusal(refusal: Refusal) -> None:
    device = f"  device {refusal.device_name}" if refusal.device_name else ""
    address = _address(refusal.peer_address, refusal.peer_port)
    head = f"{local_time(refusal.at_ms)}  {address}  {refusal.listener}{device}"
    click.echo(f"{click.style(printable(head), bold=True)}  {click.style(refusal.code, fg='yellow')}")
    _print_paragraph("reason", refusal.sentence)
    _print_paragraph("mend", refusal.mend)
    _print_paragraph("subject", refusal.subject)
    _print_paragraph("fingerprint", refusal.fingerprint_sha256)
    click.echo()


def _print_paragraph(label: str, text: str | None) -> None:
    """A label and a text that is folded under itself; commands and fingerprints are never broken inside."""
    if not text:
        return
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    lines = textwrap.wrap(
        printable(text), max(40, width - 15), break_long_words=False, break_on_hyphens=False
    )
    for position, line in enumerate(lines):
        shown = label if position == 0 else ""
        click.echo(f"  {click.style(f'{shown:<11}', dim=True)}  {line}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
