from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.cli.conftest import Run, Stub

PROFILE_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
PATH = f"/api/deviceProfile/{PROFILE_ID}"
PROFILE: dict[str, Any] = {
    "id": {"entityType": "DEVICE_PROFILE", "id": PROFILE_ID},
    "createdTime": 1609459200000,
    "name": "pump",
    "description": "Pumps",
    "type": "DEFAULT",
    "transportType": "MQTT",
    "provisionType": "ALLOW_CREATE_NEW_DEVICES",
    "provisionDeviceKey": "key",
    "default": False,
    "version": 3,
    "profileData": {
        "configuration": {"type": "DEFAULT"},
        "transportConfiguration": {
            "type": "MQTT",
            "deviceTelemetryTopic": "pumps/+/data",
            "transportPayloadTypeConfiguration": {"transportPayloadType": "JSON"},
        },
        "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": "hidden"},
        "alarms": None,
    },
}
DEFAULT = {"id": {"id": "d"}, "name": "default", "default": True, "profileData": {}}


def known(stub: Stub) -> None:
    """The server has the profile."""
    stub.answer("GET", "/api/deviceProfile/names", [{"id": PROFILE["id"], "name": "pump"}])
    stub.answer("GET", PATH, PROFILE)
    stub.answer("POST", "/api/deviceProfile", PROFILE)


def saved(stub: Stub) -> dict[str, Any]:
    body = stub.asked("POST", "/api/deviceProfile").json()
    assert isinstance(body, dict)
    return body


def test_list_shows_a_table_and_follows_pages(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/deviceProfiles", {"data": [PROFILE], "totalElements": 2, "hasNext": True})
    stub.answer("GET", "/api/deviceProfiles", {"data": [DEFAULT], "totalElements": 2, "hasNext": False})
    lines = run("profile", "list").stdout.splitlines()
    assert lines[0].split() == ["Name", "Payload", "Telemetry", "topic", "Provisioning", "Default"]
    assert lines[1].split() == ["pump", "JSON", "pumps/+/data", "ALLOW_CREATE_NEW_DEVICES"]
    assert lines[2].split() == ["default", "JSON", "DISABLED", "yes"]
    assert [request.query["page"] for request in stub.requests] == ["0", "1"]


def test_show_does_not_show_the_secret(run: Run, stub: Stub) -> None:
    known(stub)
    result = run("profile", "show", "pump")
    for words in ("pumps/+/data", "ALLOW_CREATE_NEW_DEVICES", "provision key", "2021-01-01 00:00:00"):
        assert words in result.stdout
    assert "hidden" not in result.stdout
    assert json.loads(run("profile", "show", "pump", "--json").stdout) == PROFILE


def test_unknown_name_is_told(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/deviceProfile/names", [])
    result = run("profile", "show", "pmup")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: There is no device profile 'pmup'.\nMend: `thingpass profile list` shows the names.\n",
    )


def test_add_with_nothing_is_thingsboards_smallest_profile(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/deviceProfile", PROFILE)
    result = run("profile", "add", "my pump")
    assert saved(stub) == {
        "name": "my pump",
        "type": "DEFAULT",
        "transportType": "DEFAULT",
        "profileData": {},
    }
    assert result.stdout.splitlines()[-1] == "Next: thingpass device add NAME --profile 'my pump'"


def test_add_with_topics_and_schemas(run: Run, stub: Stub, tmp_path: Path) -> None:
    stub.answer("POST", "/api/deviceProfile", PROFILE)
    stub.answer("POST", f"{PATH}/default", PROFILE)
    schema, secret = tmp_path / "t.proto", tmp_path / "secret"
    schema.write_text("syntax")
    secret.write_text("s3cret\n")
    result = run(
        *("profile", "add", "pump", "--telemetry-topic", "a", "--attributes-topic", "b", "--default"),
        *(
            "--attributes-subscribe-topic",
            "c",
            "--telemetry-schema",
            str(schema),
            "--also-json",
            "--json-on-v1",
        ),
        *("--acknowledge-bad-payloads", "--provisioning", "create", "--provision-key", "k"),
        *("--provision-secret-file", str(secret), "--json"),
    )
    assert json.loads(result.stdout) == PROFILE
    body = saved(stub)
    assert (body["transportType"], body["provisionType"], body["provisionDeviceKey"]) == (
        "MQTT",
        "ALLOW_CREATE_NEW_DEVICES",
        "k",
    )
    assert body["profileData"] == {
        "transportConfiguration": {
            "type": "MQTT",
            "deviceTelemetryTopic": "a",
            "deviceAttributesTopic": "b",
            "deviceAttributesSubscribeTopic": "c",
            "sendAckOnValidationException": True,
            "transportPayloadTypeConfiguration": {
                "transportPayloadType": "PROTOBUF",
                "deviceTelemetryProtoSchema": "syntax",
                "enableCompatibilityWithJsonPayloadFormat": True,
                "useJsonPayloadFormatForDefaultDownlinkTopics": True,
            },
        },
        "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": "s3cret"},
    }
    assert stub.requests[-1].path == f"{PATH}/default"


def test_set_keeps_what_is_not_given(run: Run, stub: Stub) -> None:
    known(stub)
    assert run("profile", "set", "pump", "--name", "motor", "--attributes-topic", "b").exit_code == 0
    body = saved(stub)
    transport = PROFILE["profileData"]["transportConfiguration"]
    expected = {
        **PROFILE["profileData"],
        "transportConfiguration": {**transport, "deviceAttributesTopic": "b"},
    }
    assert body == {**PROFILE, "name": "motor", "profileData": expected}


def test_set_with_nothing_is_wrong_usage(run: Run, stub: Stub) -> None:
    known(stub)
    result = run("profile", "set", "pump")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "Error: There is nothing to change.")


def test_back_to_json_forgets_the_schemas(run: Run, stub: Stub) -> None:
    known(stub)
    run("profile", "set", "pump", "--payload", "json", "--description", "x")
    payload = saved(stub)["profileData"]["transportConfiguration"]["transportPayloadTypeConfiguration"]
    assert payload == {"transportPayloadType": "JSON"}


def test_schema_that_is_no_text_is_told(run: Run, stub: Stub, tmp_path: Path) -> None:
    schema = tmp_path / "t.proto"
    schema.write_bytes(b"\xff")
    result = run("profile", "add", "pump", "--telemetry-schema", str(schema))
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"Error: {schema} is not UTF-8 text.")


def test_remove_needs_a_yes(run: Run, stub: Stub) -> None:
    known(stub)
    stub.answer("DELETE", PATH)
    assert run("profile", "remove", "pump", stdin="").exit_code == 2
    assert [request.method for request in stub.requests] == ["GET", "GET"]
    result = run("profile", "remove", "pump", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Profile pump is removed.\n")
    assert stub.requests[-1].method == "DELETE"
