"""`thingpass device ...`: the registry of devices and what each proves itself with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from thingpass.cli.device_credentials import credentials, describe
from thingpass.cli.device_events import events
from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_fields, print_json, print_table

if TYPE_CHECKING:
    from thingpass.cli.shapes import Device

PAGE_SIZE = 100


@click.group()
def device() -> None:
    """Add, list, show and remove devices; set what they prove themselves with."""


device.add_command(credentials)
device.add_command(events)


@device.command()
@click.argument("name")
@click.option("--label", help="A second name, for people.")
@click.option(
    "--profile", help="The device's profile, made if there is none of this name. [default: default]"
)
@click.option("--gateway", is_flag=True, help="It connects other devices: it may speak for them.")
@json_option
def add(name: str, label: str | None, profile: str | None, gateway: bool, as_json: bool) -> None:
    """Register a device. It gets a generated access token until it is given other credentials."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import Device

    info = {"gateway": True} if gateway else None
    body = {"name": name, "label": label, "type": profile, "additionalInfo": info}
    answer = connect().post("/api/device", {key: value for key, value in body.items() if value is not None})
    if as_json:
        print_json(answer.json())
        return
    added = answer.as_(Device)
    click.echo(f"{'Gateway' if gateway else 'Device'} {added.name} is registered (id {added.id.id}).")
    click.echo(f"Next: thingpass device credentials {quoted(added.name)} --x509 mqttclient.pub.pem")


@device.command(name="list")
@click.option("--search", metavar="TEXT", help="Only devices whose name or label contains TEXT.")
@click.option("--profile", metavar="NAME", help="Only devices of this profile.")
@click.option(
    "--limit", type=click.IntRange(1), default=PAGE_SIZE, show_default=True, help="At most so many."
)
@json_option
def list_devices(search: str | None, profile: str | None, limit: int, as_json: bool) -> None:
    """List devices by name."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import DevicePage

    client = connect()
    found: list[Device] = []
    raw: list[object] = []
    size = min(limit, PAGE_SIZE)
    total, page, more = 0, 0, True
    while more and len(found) < limit:
        query = {
            "pageSize": size,
            "page": page,
            "textSearch": search,
            "type": profile,
            "sortProperty": "name",
            "sortOrder": "ASC",
        }
        answer = client.get("/api/tenant/devices", query)
        devices = answer.as_(DevicePage)
        document = answer.json()
        raw += document["data"] if isinstance(document, dict) else []
        found += devices.data
        total, more, page = devices.total_elements, devices.has_next, page + 1
    if as_json:
        print_json(raw[:limit])
        return
    if not found:
        click.echo(_none_found(search, profile))
        return
    rows = [(row.name, row.type, row.label or "", local_time(row.created_time)) for row in found[:limit]]
    print_table(("Name", "Profile", "Label", "Added"), rows)
    if total > limit:
        click.echo(f"{total - limit} more; --limit {total} shows them all.", err=True)


@device.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a device, whether it is active, and what it proves itself with."""
    from thingpass.cli.device_state import describe_state, get_state
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import Credentials

    client = connect()
    found, document = find_device(client, name)
    answer = client.get(f"/api/device/{segment(found.id.id)}/credentials")
    state = get_state(client, found)
    if as_json:
        print_json({"device": document, "credentials": answer.json(), "state": state})
        return
    print_fields(
        [
            ("name", found.name),
            ("label", found.label),
            ("id", found.id.id),
            ("profile", found.type),
            ("added", local_time(found.created_time)),
            *describe_state(state),
            *describe(answer.as_(Credentials)),
        ]
    )


@device.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Remove a device with its credentials and everything that it has sent."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, document = find_device(client, name)
    if not yes:
        if not sys.stdin.isatty():  # the end of input is not a yes
            raise Failure("Removing a device needs a yes.", "Add --yes.", exit_code=2)
        click.confirm(f"Remove {found.name} and all its data?", abort=True, err=True)
    client.delete(f"/api/device/{segment(found.id.id)}")
    if as_json:
        print_json(document)
    else:
        click.echo(f"Device {found.name} is removed.")


@device.command()
@click.argument("name")
@click.argument("customer")
@json_option
def assign(name: str, customer: str, as_json: bool) -> None:
    """Give a device to the customer of this title, whose users see it from now on."""
    from thingpass.cli.customer import find_customer
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, _ = find_device(client, name)
    owner, _ = find_customer(customer)
    answer = client.post(f"/api/customer/{segment(owner.id.id)}/device/{segment(found.id.id)}")
    if as_json:
        print_json(answer.json())
    else:
        click.echo(f"Device {found.name} belongs to {owner.title}.")


@device.command()
@click.argument("name")
@json_option
def unassign(name: str, as_json: bool) -> None:
    """Take a device from its customer."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, _ = find_device(client, name)
    answer = client.delete(f"/api/customer/device/{segment(found.id.id)}")
    if as_json:
        print_json(answer.json())
    else:
        click.echo(f"Device {found.name} belongs to no customer.")


def _none_found(search: str | None, profile: str | None) -> str:
    among = "" if profile is None else f" of profile {profile!r}"
    return f"There are no devices{among}." if search is None else f"No name or label{among} has {search!r}."


def quoted(name: str) -> str:
    """A name as one word of the shell."""
    import shlex

    return shlex.quote(name)
