"""`thingpass profile ...`: what devices of one kind have in common."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_fields, print_json, print_table
from thingpass.cli.profile_changes import TOPICS, apply_changes, change_options

if TYPE_CHECKING:
    from thingpass.cli.rest_client import RestClient
    from thingpass.cli.shapes import Profile

PAGE_SIZE = 100
NEW = {"type": "DEFAULT", "transportType": "DEFAULT", "profileData": {}}


@click.group()
def profile() -> None:
    """List, show, add, change and remove device profiles: topics, payload formats, provisioning."""


@profile.command(name="list")
@click.option("--search", metavar="TEXT", help="Only profiles whose name contains TEXT.")
@json_option
def list_profiles(search: str | None, as_json: bool) -> None:
    """List device profiles by name."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import ProfilePage

    client = connect()
    found: list[Profile] = []
    raw: list[object] = []
    page, more = 0, True
    while more:
        query = {
            "pageSize": PAGE_SIZE,
            "page": page,
            "textSearch": search,
            "sortProperty": "name",
            "sortOrder": "ASC",
        }
        answer = client.get("/api/deviceProfiles", query)
        profiles, document = answer.as_(ProfilePage), answer.json()
        raw += document["data"] if isinstance(document, dict) else []
        found += profiles.data
        page, more = page + 1, profiles.has_next
    if as_json:
        print_json(raw)
    elif not found:
        click.echo(f"No profile's name has {search!r}.")
    else:
        columns = ("Name", "Payload", "Telemetry topic", "Provisioning", "Default")
        print_table(columns, [_row(row) for row in found])


@profile.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a device profile. Its provisioning secret is only in the JSON."""
    from thingpass.cli.rest_client import connect

    found, document = _find(connect(), name)
    if as_json:
        print_json(document)
    else:
        print_fields(_fields(found))


@profile.command()
@click.argument("name")
@change_options
@click.option("--default", "is_default", is_flag=True, help="Make it the profile of devices that name none.")
@json_option
def add(name: str, is_default: bool, as_json: bool, **given: object) -> None:
    """Add a device profile."""
    from thingpass.cli.rest_client import connect

    client = connect()
    saved = _save(client, apply_changes({**NEW, "name": name}, given), is_default)
    if as_json:
        print_json(saved)
    else:
        click.echo(f"Profile {name} is added.")
        click.echo(f"Next: thingpass device add NAME --profile {_quoted(name)}")


@profile.command(name="set")
@click.argument("name")
@click.option("--name", "new_name", metavar="NEW", help="Rename it.")
@change_options
@click.option("--default", "is_default", is_flag=True, help="Make it the profile of devices that name none.")
@json_option
def set_profile(name: str, new_name: str | None, is_default: bool, as_json: bool, **given: object) -> None:
    """Change a device profile; what is not given stays. Connected devices follow at once."""
    from thingpass.cli.rest_client import connect

    client = connect()
    _, document = _find(client, name)
    changed = apply_changes(document, given)
    if new_name is not None:
        changed["name"] = new_name
    if changed == document and not is_default:
        raise Failure("There is nothing to change.", "Give an option; --help lists them.", exit_code=2)
    saved = _save(client, changed, is_default)
    if as_json:
        print_json(saved)
    else:
        click.echo(f"Profile {changed['name']} is changed.")


@profile.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Remove a device profile that no device has."""
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, document = _find(client, name)
    if not yes:
        if not sys.stdin.isatty():  # the end of input is not a yes
            raise Failure("Removing a profile needs a yes.", "Add --yes.", exit_code=2)
        click.confirm(f"Remove profile {found.name}?", abort=True, err=True)
    client.delete(f"/api/deviceProfile/{segment(found.id.id)}")
    if as_json:
        print_json(document)
    else:
        click.echo(f"Profile {found.name} is removed.")


def _find(client: RestClient, name: str) -> tuple[Profile, dict[str, Any]]:
    """The profile, and its JSON as the server sent it. Raises Failure when there is none of this name."""
    from thingpass.cli.rest_client import segment
    from thingpass.cli.shapes import Profile, ProfileNames

    names = client.get("/api/deviceProfile/names").as_(ProfileNames)
    profile_id = next((row.id.id for row in names if row.name == name), None)
    if profile_id is None:
        raise Failure(f"There is no device profile {name!r}.", "`thingpass profile list` shows the names.")
    answer = client.get(f"/api/deviceProfile/{segment(profile_id)}")
    document = answer.json()
    assert isinstance(document, dict)
    return answer.as_(Profile), document


def _save(client: RestClient, document: dict[str, Any], is_default: bool) -> object:
    from thingpass.cli.rest_client import segment
    from thingpass.cli.shapes import Profile

    answer = client.post("/api/deviceProfile", document)
    if is_default:
        profile_id = answer.as_(Profile).id.id
        answer = client.post(f"/api/deviceProfile/{segment(profile_id)}/default")
    return answer.json()


def _row(found: Profile) -> tuple[str, ...]:
    transport = found.profile_data.transport_configuration
    return (
        found.name,
        transport.payload.type,
        transport.device_telemetry_topic or "",
        found.provision_type,
        "yes" if found.default else "",
    )


def _fields(found: Profile) -> list[tuple[str, str | None]]:
    transport = found.profile_data.transport_configuration
    payload = transport.payload
    return [
        ("name", found.name),
        ("description", found.description),
        ("id", found.id.id),
        ("default", "yes" if found.default else "no"),
        ("added", local_time(found.created_time)),
        *((name.replace("_", " "), getattr(transport, _snake(member))) for name, member in TOPICS.items()),
        ("payload", payload.type),
        ("also JSON", "yes" if payload.enable_compatibility_with_json_payload_format else None),
        ("telemetry schema", payload.device_telemetry_proto_schema),
        ("attributes schema", payload.device_attributes_proto_schema),
        ("RPC request schema", payload.device_rpc_request_proto_schema),
        ("RPC response schema", payload.device_rpc_response_proto_schema),
        ("bad payloads", "acknowledged" if transport.send_ack_on_validation_exception else None),
        ("provisioning", found.provision_type),
        ("provision key", found.provision_device_key),
    ]


def _snake(member: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in member)


def _quoted(name: str) -> str:
    """A name as one word of the shell."""
    import shlex

    return shlex.quote(name)
