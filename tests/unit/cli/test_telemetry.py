from __future__ import annotations

import json
import time
from datetime import datetime

import click
import pytest

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub
from thingpass.cli.telemetry import Moment

PATH = f"/api/plugins/telemetry/DEVICE/{DEVICE_ID}/values/timeseries"


@pytest.fixture(autouse=True)
def _known_device(stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)


def test_latest_is_a_table_of_keys_with_native_types(run: Run, stub: Stub) -> None:
    at = 1609459200000
    values = {
        "temperature": [{"ts": at, "value": 22.5}],
        "on": [{"ts": at, "value": True}],
        "cfg": [{"ts": at, "value": {"a": [1]}}],
        "name": [{"ts": at, "value": "x y"}],
        "none": [],
    }
    stub.answer("GET", PATH, values)
    result = run("telemetry", "latest", "Pump 1")
    assert stub.asked("GET", PATH).query == {"useStrictDataTypes": "true"}
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["Key", "cfg", "name", "on", "temperature"]
    assert lines[1][1:3] == ['{"a":', "[1]}"]
    assert lines[3][1] == "true"
    assert lines[4][1:] == ["22.5", "2021-01-01", "00:00:00"]
    assert json.loads(run("telemetry", "latest", "Pump 1", "--json").stdout) == values


def test_device_without_values_says_so(run: Run, stub: Stub) -> None:
    stub.answer("GET", PATH, {})
    assert run("telemetry", "latest", "Pump 1").stdout == "Device Pump 1 has sent nothing yet.\n"
    assert "Device Pump 1 has sent no 'x' between 20" in run("telemetry", "history", "Pump 1", "x").stdout


def test_history_asks_for_the_range_and_shows_it(run: Run, stub: Stub) -> None:
    stub.answer("GET", PATH, {"t": [{"ts": 1609459201000, "value": 2}, {"ts": 1609459200000, "value": 1}]})
    words = ["--since", "2021-01-01T00:00:00+00:00", "--until", "2021-01-01T01:00Z", "--limit", "7"]
    result = run("telemetry", "history", "Pump 1", "t", *words)
    assert stub.asked("GET", PATH).query == {
        "keys": "t",
        "startTs": "1609459200000",
        "endTs": "1609462800001",
        "limit": "7",
        "useStrictDataTypes": "true",
    }
    assert result.stdout.splitlines()[1] == "2021-01-01 00:00:01  2"


@pytest.mark.parametrize(
    ("text", "seconds"), [("now", 0), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800)]
)
def test_moment_ago_is_read(text: str, seconds: int) -> None:
    assert abs(Moment().convert(text, None, None) - (time.time() - seconds) * 1000) < 2000


def test_moment_in_iso_8601_is_local_unless_it_says_otherwise() -> None:
    local = datetime(2026, 11, 23, 21, 40).astimezone().timestamp() * 1000
    assert Moment().convert("2026-11-23T21:40", None, None) == local
    assert Moment().convert("2026-11-23T21:40+02:00", None, None) == 1795462800000


@pytest.mark.parametrize("text", ["", "yesterday", "5w", "2026-13-01", "h"])
def test_moment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time; write 15m"):
        Moment().convert(text, None, None)
