from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

ROOT = f"/api/plugins/telemetry/DEVICE/{DEVICE_ID}"


@pytest.fixture(autouse=True)
def _known_device(stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)


def test_list_is_a_table_of_all_scopes(run: Run, stub: Stub) -> None:
    at = 1609459200000
    for scope, rows in (
        ("CLIENT_SCOPE", [{"lastUpdateTs": at, "key": "model", "value": "T-1000"}]),
        ("SHARED_SCOPE", [{"lastUpdateTs": at, "key": "on", "value": True}]),
        ("SERVER_SCOPE", []),
    ):
        stub.answer("GET", f"{ROOT}/values/attributes/{scope}", rows)
    lines = [line.split() for line in run("attributes", "list", "Pump 1").stdout.splitlines()]
    assert lines == [
        ["Scope", "Key", "Value", "Changed"],
        ["client", "model", "T-1000", "2021-01-01", "00:00:00"],
        ["shared", "on", "true", "2021-01-01", "00:00:00"],
    ]
    assert run("attributes", "list", "Pump 1", "--scope", "server").stdout == (
        "Device Pump 1 has no attributes in this scope.\n"
    )
    assert set(json.loads(run("attributes", "list", "Pump 1", "--json").stdout)) == {
        "client",
        "shared",
        "server",
    }
    one = run("attributes", "list", "Pump 1", "--scope", "shared", "--json").stdout
    assert json.loads(one) == [{"lastUpdateTs": at, "key": "on", "value": True}]


def test_set_reads_json_and_texts(run: Run, stub: Stub) -> None:
    stub.answer("POST", f"{ROOT}/attributes/SHARED_SCOPE")
    result = run("attributes", "set", "Pump 1", "interval=30", "mode=eco", 'cfg={"a": 1}', "empty=")
    assert result.stdout == "interval, mode, cfg, empty of Pump 1: set in the shared scope.\n"
    assert stub.asked("POST", f"{ROOT}/attributes/SHARED_SCOPE").json() == {
        "interval": 30,
        "mode": "eco",
        "cfg": {"a": 1},
        "empty": "",
    }


@pytest.mark.parametrize("word", ["interval", "=30"])
def test_what_is_no_pair_is_refused(run: Run, word: str) -> None:
    result = run("attributes", "set", "Pump 1", word)
    assert result.exit_code == 2
    assert "is not KEY=VALUE" in result.stderr


def test_the_client_scope_is_the_devices(run: Run) -> None:
    assert run("attributes", "set", "Pump 1", "a=1", "--scope", "client").exit_code == 2


def test_remove_names_each_key(run: Run, stub: Stub) -> None:
    stub.answer("DELETE", f"{ROOT}/SERVER_SCOPE")
    result = run("attributes", "remove", "Pump 1", "a,b", "--scope", "server")
    assert result.stdout == "a,b of Pump 1: removed from the server scope.\n"
    assert stub.asked("DELETE", f"{ROOT}/SERVER_SCOPE").query == {"key": "a,b"}
