"""`thingpass telemetry ...`: read back what devices have sent."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import click

from thingpass.cli.output import json_option, local_time, print_json, print_table

_AGO = re.compile(r"(\d+)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Moment(click.ParamType[int]):
    """A time in milliseconds, from `90s`, `15m`, `2h`, `7d` (ago) or ISO 8601 (local unless it says)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if text == "now":
            return int(time.time() * 1000)
        if ago := _AGO.fullmatch(text):
            return int((time.time() - int(ago[1]) * _UNIT_S[ago[2]]) * 1000)
        try:
            return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{text!r} is no time; write 15m, 2h, 7d (ago) or 2026-11-23T21:40.", param, ctx)


@click.group()
def telemetry() -> None:
    """Read what devices have sent."""


@telemetry.command()
@click.argument("name")
@json_option
def latest(name: str, as_json: bool) -> None:
    """Show the newest value of each key of the device NAME."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import Series

    client = connect()
    found, _ = find_device(client, name)
    answer = client.get(_path(found.id.id), {"useStrictDataTypes": True})
    if as_json:
        print_json(answer.json())
        return
    rows = [
        (key, _text(points[0].value), local_time(points[0].ts))
        for key, points in sorted(answer.as_(Series).items())
        if points
    ]
    if rows:
        print_table(("Key", "Value", "Time"), rows)
    else:
        click.echo(f"Device {found.name} has sent nothing yet.")


@telemetry.command()
@click.argument("name")
@click.argument("key")
@click.option(
    "--since", type=Moment(), default="1d", show_default=True, help="From when; 15m, 2h, 7d, or ISO 8601."
)
@click.option("--until", type=Moment(), default="now", show_default=True, help="To when.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first."
)
@json_option
def history(name: str, key: str, since: int, until: int, limit: int, as_json: bool) -> None:
    """Show the values of one KEY of the device NAME over time, newest first."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import Query, connect
    from thingpass.cli.shapes import Series

    client = connect()
    found, _ = find_device(client, name)
    query: Query = {
        "keys": key,
        "startTs": since,
        "endTs": until + 1,
        "limit": limit,
        "useStrictDataTypes": True,
    }
    answer = client.get(_path(found.id.id), query)
    if as_json:
        print_json(answer.json())
        return
    points = answer.as_(Series).get(key, [])
    if points:
        print_table(("Time", key), [(local_time(point.ts), _text(point.value)) for point in points])
    else:
        click.echo(
            f"Device {found.name} has sent no {key!r} between {local_time(since)} and {local_time(until)}."
        )


def _path(device_id: str) -> str:
    from thingpass.cli.rest_client import segment

    return f"/api/plugins/telemetry/DEVICE/{segment(device_id)}/values/timeseries"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
