from __future__ import annotations

import json

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

CREDENTIALS_PATH = f"/api/device/{DEVICE_ID}/credentials"
STATE_PATH = f"/api/plugins/telemetry/DEVICE/{DEVICE_ID}/values/attributes/SERVER_SCOPE"
EVENTS_PATH = f"/api/v2/devices/{DEVICE_ID}/events"
TOKEN = {
    "id": {"id": "c"},
    "credentialsType": "ACCESS_TOKEN",
    "credentialsId": "A1",
    "credentialsValue": None,
}


def attributes(**values: object) -> list[dict[str, object]]:
    return [{"lastUpdateTs": 1, "key": key, "value": value} for key, value in values.items()]


def page(*names: str, total: int | None = None, more: bool = False) -> dict[str, object]:
    data = [{**DEVICE, "name": name} for name in names]
    return {"data": data, "totalPages": 1, "totalElements": total or len(data), "hasNext": more}


def test_add_registers_and_names_the_next_command(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/device", DEVICE)
    result = run("device", "add", "Pump 1", "--label", "north")
    assert result.exit_code == 0
    assert stub.asked("POST", "/api/device").json() == {"name": "Pump 1", "label": "north"}
    assert f"Device Pump 1 is registered (id {DEVICE_ID})." in result.stdout
    assert "Next: thingpass device credentials 'Pump 1' --x509 mqttclient.pub.pem" in result.stdout


def test_add_sends_the_profile_as_thingsboards_type_and_prints_json(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/device", DEVICE)
    result = run("device", "add", "Pump 1", "--profile", "pump", "--json")
    assert stub.asked("POST", "/api/device").json() == {"name": "Pump 1", "type": "pump"}
    assert json.loads(result.stdout) == DEVICE


def test_add_makes_a_gateway(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/device", DEVICE)
    result = run("device", "add", "Pump 1", "--gateway")
    body = stub.asked("POST", "/api/device").json()
    assert body == {"name": "Pump 1", "additionalInfo": {"gateway": True}}
    assert "Gateway Pump 1 is registered" in result.stdout


def test_server_refusing_is_exit_code_1_with_its_sentence(run: Run, stub: Stub) -> None:
    stub.refuse("POST", "/api/device", 400, "Device with such name already exists!", mend="Choose another.")
    result = run("device", "add", "Pump 1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: Device with such name already exists!\nMend: Choose another.\n"


def test_list_shows_a_table(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", page("Pump 1", "温度计 2"))
    result = run("device", "list", "--search", "p")
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == ["Name", "Pump 1", "温度计 2"]
    assert "2021-01-01 00:00:00" in result.stdout
    asked = stub.asked("GET", "/api/tenant/devices").query
    assert (asked["textSearch"], asked["pageSize"], asked["page"]) == ("p", "100", "0")


def test_list_follows_pages_up_to_the_limit(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", page("a", "b", total=5, more=True))
    stub.answer("GET", "/api/tenant/devices", page("c", "d", total=5, more=True))
    result = run("device", "list", "--limit", "3")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["Name", "a", "b", "c"]
    assert result.stderr == "2 more; --limit 5 shows them all.\n"
    assert [request.query["page"] for request in stub.requests] == ["0", "1"]


def test_list_in_json_is_one_array(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", page("a", total=2, more=True))
    stub.answer("GET", "/api/tenant/devices", page("b", total=2))
    rows = json.loads(run("device", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["a", "b"]


def test_empty_list_says_so(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", page())
    assert run("device", "list").stdout == "There are no devices.\n"
    assert run("device", "list", "--search", "x").stdout == "No name or label has 'x'.\n"
    assert run("device", "list", "--profile", "p").stdout == "There are no devices of profile 'p'.\n"
    assert stub.asked("GET", "/api/tenant/devices").query["type"] == "p"


def test_show_prints_device_state_and_credentials(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("GET", CREDENTIALS_PATH, TOKEN)
    stub.answer("GET", STATE_PATH, attributes(active=True, lastActivityTime=1609459200000))
    result = run("device", "show", "Pump 1")
    assert stub.asked("GET", "/api/tenant/devices").query == {"deviceName": "Pump 1"}
    assert "lastActivityTime" in stub.asked("GET", STATE_PATH).query["keys"]
    for line in (
        "name         Pump 1",
        "label        north",
        "active       yes",
        "last heard   2021-01-01 00:00:00",
        "credentials  ACCESS_TOKEN",
        "token        A1",
    ):
        assert line in result.stdout
    document = json.loads(run("device", "show", "Pump 1", "--json").stdout)
    state = {"active": True, "lastActivityTime": 1609459200000}
    assert document == {"device": DEVICE, "credentials": TOKEN, "state": state}


def test_show_leaves_out_times_that_never_were_and_an_alarm_that_is_over(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("GET", CREDENTIALS_PATH, TOKEN)
    stub.answer("GET", STATE_PATH, attributes(active=True, inactivityAlarmTime=1609459200000))
    stub.answer("GET", STATE_PATH, attributes(active=False, inactivityAlarmTime=1609459200000))
    active = run("device", "show", "Pump 1").stdout
    assert "inactive since" not in active
    assert "last heard" not in active
    inactive = run("device", "show", "Pump 1").stdout
    assert "inactive since  2021-01-01 00:00:00" in inactive


def event(kind: str, sentence: str, **members: object) -> dict[str, object]:
    payloads = {"payload": None, "payloadBase64": None}
    common = {"id": 1, "atMs": 1609459200000, "details": {}}
    return {**common, "kind": kind, "sentence": sentence, **payloads, **members}


def test_events_are_a_table_with_the_newest_last(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    answer = {
        "data": [
            event("will", "It left a will.", payload="gone\x1b[2J"),
            event("will", "It left a will.", payloadBase64="/wA="),
            event("connected", "It connected."),
        ],
        "hasNext": True,
    }
    stub.answer("GET", EVENTS_PATH, answer)
    result = run("device", "events", "Pump 1", "--kind", "will", "--limit", "3")
    assert stub.asked("GET", EVENTS_PATH).query == {"kind": "will", "limit": "3"}
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Time", "Kind", "What", "happened"]
    assert lines[1] == "2021-01-01 00:00:00  connected  It connected."
    assert lines[2].endswith("It left a will. (base64) /wA=")
    assert "It left a will. gone" in lines[3]
    assert "\x1b" not in result.stdout
    assert "older ones" in result.stderr
    assert json.loads(run("device", "events", "Pump 1", "--json").stdout) == answer


def test_no_events_says_so(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("GET", EVENTS_PATH, {"data": [], "hasNext": False})
    assert run("device", "events", "Pump 1").stdout == "Nothing is known to have happened to Pump 1.\n"


def test_unknown_name_is_told(run: Run) -> None:
    result = run("device", "show", "Pmup")
    assert result.exit_code == 1
    assert (
        result.stderr == "Error: There is no device 'Pmup'.\nMend: `thingpass device list` shows the names.\n"
    )


def test_control_characters_of_a_name_do_not_reach_the_terminal(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", page("evil\x1b[2J"))
    assert "\x1b" not in run("device", "list").stdout


def test_remove_needs_a_yes_and_the_end_of_input_is_none(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("DELETE", f"/api/device/{DEVICE_ID}")
    result = run("device", "remove", "Pump 1", stdin="")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: Removing a device needs a yes.\nMend: Add --yes.\n",
    )
    assert [request.method for request in stub.requests] == ["GET"]
    result = run("device", "remove", "Pump 1", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Device Pump 1 is removed.\n")
    assert stub.requests[-1].method == "DELETE"
