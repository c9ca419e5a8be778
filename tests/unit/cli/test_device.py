from __future__ import annotations

import json

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

CREDENTIALS_PATH = f"/api/device/{DEVICE_ID}/credentials"
TOKEN = {
    "id": {"id": "c"},
    "credentialsType": "ACCESS_TOKEN",
    "credentialsId": "A1",
    "credentialsValue": None,
}


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


def test_show_prints_device_and_credentials(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("GET", CREDENTIALS_PATH, TOKEN)
    result = run("device", "show", "Pump 1")
    assert stub.asked("GET", "/api/tenant/devices").query == {"deviceName": "Pump 1"}
    for line in ("name         Pump 1", "label        north", "credentials  ACCESS_TOKEN", "token        A1"):
        assert line in result.stdout
    document = json.loads(run("device", "show", "Pump 1", "--json").stdout)
    assert document == {"device": DEVICE, "credentials": TOKEN}


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
