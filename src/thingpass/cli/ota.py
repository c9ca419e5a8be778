"""`thingpass ota ...`: firmware and software, given to devices over the air."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_json, print_table

if TYPE_CHECKING:
    from thingpass.cli.rest_client import Answer, Query, RestClient
    from thingpass.cli.shapes import OtaPackage

PAGE_SIZE = 100
ALGORITHMS = ("MD5", "SHA256", "SHA384", "SHA512", "CRC32", "MURMUR3_32", "MURMUR3_128")

software_option = click.option("--software", is_flag=True, help="Software; else firmware.")


@click.group()
def ota() -> None:
    """Add firmware and software, give it to devices, and see how far they are."""


@ota.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--title", required=True, help="What it is, such as pump-fw.")
@click.option("--version", "version", required=True, help="Which one of it, such as 1.2.0.")
@software_option
@click.option("--profile", help="Only for devices of this profile.")
@click.option("--tag", help="A text of your own that devices are told too.")
@click.option("--url", help="Where devices fetch it, instead of a FILE that is kept here.")
@click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS, case_sensitive=False),
    default="SHA256",
    show_default=True,
    help="Of the checksum that devices are told.",
)
@click.option("--checksum", help="Refuse the file if it has another one.")
@json_option
def add(
    file: Path | None,
    title: str,
    version: str,
    software: bool,
    profile: str | None,
    tag: str | None,
    url: str | None,
    algorithm: str,
    checksum: str | None,
    as_json: bool,
) -> None:
    """Add a package: the firmware or software in FILE, under a title and a version."""
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import OtaPackage

    if (file is None) == (url is None):
        raise Failure("Give either a FILE or --url.", exit_code=2)
    client = connect()
    body: dict[str, object] = {"title": title, "version": version, "type": _kind(software), "tag": tag}
    if profile is not None:
        body["deviceProfileId"] = {"entityType": "DEVICE_PROFILE", "id": _profile_id(client, profile)}
    if url is not None:
        body |= {"url": url, "usesUrl": True}
    answer = client.post("/api/otaPackage", body)
    added = answer.as_(OtaPackage)
    if file is not None:
        path = f"/api/otaPackage/{segment(added.id.id)}"
        try:
            answer = _upload(client, path, file, algorithm, checksum)
        except BaseException:
            with contextlib.suppress(Failure):
                client.delete(path)  # its title and version would be taken by nothing
            raise
        added = answer.as_(OtaPackage)
    if as_json:
        print_json(answer.json())
        return
    click.echo(f"{added.title} {added.version} is added (id {added.id.id}).")
    if added.checksum:
        click.echo(f"{added.checksum_algorithm} {added.checksum}, {added.data_size} bytes")
    click.echo(f"Next: thingpass ota assign {_quoted(added.title)} {_quoted(added.version)} --device NAME")


@ota.command(name="list")
@click.option("--search", metavar="TEXT", help="Only packages whose title contains TEXT.")
@click.option(
    "--limit", type=click.IntRange(1), default=PAGE_SIZE, show_default=True, help="At most so many."
)
@json_option
def list_packages(search: str | None, limit: int, as_json: bool) -> None:
    """List packages, the newest first."""
    from thingpass.cli.rest_client import connect

    found, raw, total = _packages(connect(), search, limit)
    if as_json:
        print_json(raw)
        return
    if not found:
        click.echo("There are no packages." if search is None else f"No package's title has {search!r}.")
        return
    rows = [
        (
            row.title,
            row.version,
            row.type.lower(),
            _content(row),
            row.checksum_algorithm or "",
            local_time(row.created_time),
        )
        for row in found
    ]
    print_table(("Title", "Version", "Kind", "Size", "Added"), rows)
    if total > limit:
        click.echo(f"{total - limit} more; --limit {total} shows them all.", err=True)


@ota.command()
@click.argument("title")
@click.argument("version")
@click.option("--device", "device_name", metavar="NAME", help="To this device.")
@click.option("--profile", metavar="NAME", help="To all devices of this profile that have none of their own.")
@json_option
def assign(title: str, version: str, device_name: str | None, profile: str | None, as_json: bool) -> None:
    """Give a package to a device, or to all devices of a profile; they are told at once."""
    from thingpass.cli.rest_client import connect

    client = connect()
    found = _find_package(client, title, version)
    whom = _assign(client, found.type, found.id.id, device_name, profile)
    if as_json:
        print_json({"packageId": found.id.id, **whom})
        return
    click.echo(f"{title} {version} is given to {device_name or f'the devices of profile {profile}'}.")
    option = "" if found.type == "FIRMWARE" else " --software"
    where = f"--search {_quoted(device_name)}" if device_name else f"--profile {_quoted(str(profile))}"
    click.echo(f"Next: thingpass ota status {where}{option}")


@ota.command()
@click.option(
    "--device", "device_name", metavar="NAME", help="From this device; then it follows its profile."
)
@click.option("--profile", metavar="NAME", help="From this profile.")
@software_option
@json_option
def unassign(device_name: str | None, profile: str | None, software: bool, as_json: bool) -> None:
    """Take a package from a device or a profile; what is installed stays."""
    from thingpass.cli.rest_client import connect

    whom = _assign(connect(), _kind(software), None, device_name, profile)
    if as_json:
        print_json({"packageId": None, **whom})
    else:
        what = "software" if software else "firmware"
        click.echo(f"{device_name or f'Profile {profile}'} has no {what} of its own any more.")


@ota.command()
@click.option("--search", metavar="TEXT", help="Only devices whose name or label contains TEXT.")
@click.option("--profile", metavar="NAME", help="Only devices of this profile.")
@software_option
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=PAGE_SIZE, show_default=True, help="At most so many."
)
@json_option
def status(search: str | None, profile: str | None, software: bool, limit: int, as_json: bool) -> None:
    """Show what each device is to run, what it runs, and how far it is; and rollouts under way."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import OtaRollouts, OtaStatePage

    client = connect()
    profile_id = None if profile is None else _profile_id(client, profile)
    query: Query = {
        "type": _kind(software),
        "pageSize": limit,
        "page": 0,
        "textSearch": search,
        "sortProperty": "name",
        "deviceProfileId": profile_id,
    }
    answer = client.get("/api/v2/ota/states", query)
    rollouts = client.get("/api/v2/ota/rollouts")
    if as_json:
        print_json({"states": answer.json(), "rollouts": rollouts.json()})
        return
    for rollout in rollouts.as_(OtaRollouts).data:
        if rollout.ended_at_ms is None and rollout.type == _kind(software):
            of = "?" if rollout.devices is None else rollout.devices
            click.echo(f"Profile {rollout.device_profile_name}: {rollout.done} of {of} devices looked at.")
    page = answer.as_(OtaStatePage)
    if not page.data:
        click.echo("There are no such devices.")
        return
    rows = [
        (
            row.device_name,
            _titled(row.title, row.version),
            _titled(row.current_title, row.current_version),
            row.state or "-",
            local_time(row.state_at_ms),
            row.error or "",
        )
        for row in page.data
    ]
    print_table(("Device", "To run", "Runs", "State", "Since", "Error"), rows)
    if page.total_elements > limit:
        click.echo(f"{page.total_elements - limit} more devices.", err=True)


@ota.command()
@click.argument("title")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(title: str, version: str, yes: bool, as_json: bool) -> None:
    """Remove a package that no device and no profile has."""
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found = _find_package(client, title, version)
    if not yes:
        if not sys.stdin.isatty():  # the end of input is not a yes
            raise Failure("Removing a package needs a yes.", "Add --yes.", exit_code=2)
        click.confirm(f"Remove {title} {version}?", abort=True, err=True)
    client.delete(f"/api/otaPackage/{segment(found.id.id)}")
    if as_json:
        print_json({"id": found.id.id})
    else:
        click.echo(f"{title} {version} is removed.")


def _upload(client: RestClient, path: str, file: Path, algorithm: str, checksum: str | None) -> Answer:
    """With a bar on stderr where that is a terminal. The checksum of what was read guards the way."""
    from thingpass.cli.uploads import FileForm

    fields = {"checksumAlgorithm": algorithm.upper()}
    try:
        if checksum is None and algorithm.upper() == "SHA256":
            with file.open("rb") as opened:
                checksum = hashlib.file_digest(opened, "sha256").hexdigest()
        if checksum is not None:
            fields["checksum"] = checksum
        with click.progressbar(
            length=file.stat().st_size,
            label=f"Uploading {file.name}",
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
        ) as bar:
            return client.upload(path, FileForm(file, fields, bar.update))
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror or error}.") from error


def _assign(
    client: RestClient, kind: str, package_id: str | None, device_name: str | None, profile: str | None
) -> dict[str, str]:
    """Whom it was given to, as the request says it."""
    from thingpass.cli.devices_by_name import find_device

    if (device_name is None) == (profile is None):
        raise Failure("Give either --device or --profile.", exit_code=2)
    if device_name is not None:
        whom = {"deviceId": find_device(client, device_name)[0].id.id}
    else:
        whom = {"deviceProfileId": _profile_id(client, str(profile))}
    client.post("/api/v2/ota/assignment", {"type": kind, "packageId": package_id, **whom})
    return whom


def _packages(
    client: RestClient, search: str | None, limit: int
) -> tuple[list[OtaPackage], list[object], int]:
    from thingpass.cli.shapes import OtaPackagePage

    found: list[OtaPackage] = []
    raw: list[object] = []
    total, page, more = 0, 0, True
    while more and len(found) < limit:
        query: Query = {
            "pageSize": min(limit, PAGE_SIZE),
            "page": page,
            "textSearch": search,
            "sortProperty": "createdTime",
            "sortOrder": "DESC",
        }
        answer = client.get("/api/otaPackages", query)
        packages, document = answer.as_(OtaPackagePage), answer.json()
        found += packages.data
        raw += document["data"] if isinstance(document, dict) else []
        total, more, page = packages.total_elements, packages.has_next, page + 1
    return found[:limit], raw[:limit], total


def _find_package(client: RestClient, title: str, version: str) -> OtaPackage:
    found, _, _ = _packages(client, title, 100_000)
    for package in found:
        if (package.title, package.version) == (title, version):
            return package
    raise Failure(f"There is no package {title!r} {version!r}.", "`thingpass ota list` shows them.")


def _profile_id(client: RestClient, name: str) -> str:
    from thingpass.cli.shapes import ProfilePage

    query: Query = {"pageSize": 10_000, "page": 0, "textSearch": name}
    for profile in client.get("/api/deviceProfileInfos", query).as_(ProfilePage).data:
        if profile.name == name:
            return profile.id.id
    raise Failure(f"There is no device profile {name!r}.")


def _kind(software: bool) -> str:
    return "SOFTWARE" if software else "FIRMWARE"


def _content(package: OtaPackage) -> str:
    if package.url:
        return package.url
    return "not uploaded" if package.data_size is None else f"{package.data_size:,}"


def _titled(title: str | None, version: str | None) -> str:
    return " ".join(part for part in (title, version) if part) or "-"


def _quoted(text: str) -> str:
    """As one word of the shell."""
    import shlex

    return shlex.quote(text)
