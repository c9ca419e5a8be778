"""`thingpass attributes ...`: what is noted about a device, and what people tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_json, print_table

SCOPES = {"client": "CLIENT_SCOPE", "shared": "SHARED_SCOPE", "server": "SERVER_SCOPE"}
WRITABLE = ("shared", "server")


@click.group()
def attributes() -> None:
    """List, set and remove attributes of devices.

    Scopes: client (what the device says), shared (what people tell the device), server (notes that the device
    never sees).
    """


@attributes.command(name="list")
@click.argument("name")
@click.option("--scope", type=click.Choice(tuple(SCOPES)), help="Only this scope. [default: all]")
@json_option
def list_attributes(name: str, scope: str | None, as_json: bool) -> None:
    """Show the attributes of the device NAME."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import Attribute

    client = connect()
    found, _ = find_device(client, name)
    wanted = tuple(SCOPES) if scope is None else (scope,)
    documents: dict[str, object] = {}
    rows: list[tuple[str, str, str, str]] = []
    for each in wanted:
        answer = client.get(
            f"/api/plugins/telemetry/DEVICE/{segment(found.id.id)}/values/attributes/{SCOPES[each]}"
        )
        documents[each] = answer.json()
        rows += [
            (each, row.key, _text(row.value), local_time(row.last_update_ts))
            for row in sorted(answer.as_(list[Attribute]), key=lambda row: row.key)
        ]
    if as_json:
        print_json(documents if scope is None else documents[scope])
    elif rows:
        print_table(("Scope", "Key", "Value", "Changed"), rows)
    else:
        click.echo(f"Device {found.name} has no attributes{'' if scope is None else ' in this scope'}.")


@attributes.command(name="set")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--scope", type=click.Choice(WRITABLE), default="shared", show_default=True)
@json_option
def set_attributes(name: str, values: Sequence[str], scope: str, as_json: bool) -> None:
    """Set attributes of the device NAME. A VALUE is JSON, or else a text."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    wanted = dict(_pair(text) for text in values)
    client = connect()
    found, _ = find_device(client, name)
    client.post(f"/api/plugins/telemetry/DEVICE/{segment(found.id.id)}/attributes/{SCOPES[scope]}", wanted)
    if as_json:
        print_json(wanted)
    else:
        click.echo(f"{', '.join(wanted)} of {found.name}: set in the {scope} scope.")


@attributes.command()
@click.argument("name")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--scope", type=click.Choice(tuple(SCOPES)), default="shared", show_default=True)
@json_option
def remove(name: str, keys: Sequence[str], scope: str, as_json: bool) -> None:
    """Remove attributes of the device NAME; keys that it does not have are no error."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, _ = find_device(client, name)
    path = f"/api/plugins/telemetry/DEVICE/{segment(found.id.id)}/{SCOPES[scope]}"
    client.delete(path, [("key", key) for key in keys])
    if as_json:
        print_json(list(keys))
    else:
        click.echo(f"{', '.join(keys)} of {found.name}: removed from the {scope} scope.")


def _pair(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"{text!r} is not KEY=VALUE.", "Write it like interval=30 or mode=eco.", exit_code=2)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
