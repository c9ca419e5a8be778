"""`thingpass device events`: what happened to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from thingpass.cli.output import json_option, local_time, print_json, print_table

if TYPE_CHECKING:
    from thingpass.cli.shapes import DeviceEvent

MOST_AT_ONCE = 1_000  # what the server gives in one answer


@click.command()
@click.argument("name")
@click.option("--kind", metavar="KIND", help="Only this kind: connected, disconnected, will, ...")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_AT_ONCE),
    default=50,
    show_default=True,
    help="At most so many, the newest ones.",
)
@json_option
def events(name: str, kind: str | None, limit: int, as_json: bool) -> None:
    """Show what happened to the device NAME, newest last.

    It connected, disconnected and why, became active or inactive, left a will, was given other credentials.
    """
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import DeviceEvents

    client = connect()
    found, _ = find_device(client, name)
    answer = client.get(f"/api/v2/devices/{segment(found.id.id)}/events", {"limit": limit, "kind": kind})
    if as_json:
        print_json(answer.json())
        return
    listed = answer.as_(DeviceEvents)
    rows = [(local_time(event.at_ms), event.kind, _text(event)) for event in reversed(listed.data)]
    if rows:
        print_table(("Time", "Kind", "What happened"), rows)
    else:
        click.echo(f"Nothing is known to have happened to {found.name}.")
    if listed.has_next:
        click.echo(f"There are older ones; --limit shows up to {MOST_AT_ONCE}.", err=True)


def _text(event: DeviceEvent) -> str:
    if event.payload is not None:
        return f"{event.sentence} {event.payload}"
    if event.payload_base64 is not None:
        return f"{event.sentence} (base64) {event.payload_base64}"
    return event.sentence
