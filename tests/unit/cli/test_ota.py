from __future__ import annotations

import email
import email.policy
import hashlib
import json
from pathlib import Path

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

PACKAGE_ID = "11111111-42b6-435a-983c-b7beff2784f9"
PROFILE_ID = "22222222-42b6-435a-983c-b7beff2784f9"
PACKAGE = {
    "id": {"entityType": "OTA_PACKAGE", "id": PACKAGE_ID},
    "createdTime": 1609459200000,
    "title": "pump-fw",
    "version": "1.2.0",
    "type": "FIRMWARE",
    "url": None,
    "checksumAlgorithm": "SHA256",
    "checksum": "ab12",
    "dataSize": 1_234_567,
}
PATH = f"/api/otaPackage/{PACKAGE_ID}"


def page(*rows: object, total: int | None = None) -> dict[str, object]:
    return {"data": rows, "totalPages": 1, "totalElements": total or len(rows), "hasNext": False}


def parts_of(content_type: str, body: bytes) -> dict[str, tuple[bytes, str | None]]:
    """Name to content and file name."""
    message = email.message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
    )
    return {
        part.get_param("name", header="content-disposition"): (
            part.get_payload(decode=True),
            part.get_filename(),
        )
        for part in message.iter_parts()
    }


def test_add_uploads_the_file_with_its_checksum(run: Run, stub: Stub, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1_000
    file = tmp_path / "fw 1.bin"
    file.write_bytes(data)
    stub.answer("POST", "/api/otaPackage", PACKAGE | {"checksum": None})
    stub.answer("POST", PATH, PACKAGE)
    result = run("ota", "add", str(file), "--title", "pump-fw", "--version", "1.2.0", "--tag", "t")
    assert result.exit_code == 0, result.output
    assert stub.asked("POST", "/api/otaPackage").json() == {
        "title": "pump-fw",
        "version": "1.2.0",
        "type": "FIRMWARE",
        "tag": "t",
    }
    sent = stub.asked("POST", PATH)
    parts = parts_of(sent.headers["Content-Type"], sent.body)
    assert parts["file"] == (data, "fw 1.bin")
    assert parts["checksumAlgorithm"] == (b"SHA256", None)
    assert parts["checksum"] == (hashlib.sha256(data).hexdigest().encode(), None)
    assert "pump-fw 1.2.0 is added" in result.stdout
    assert "Next: thingpass ota assign pump-fw 1.2.0 --device NAME" in result.stdout


def test_package_whose_upload_is_refused_does_not_stay(run: Run, stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(b"abc")
    stub.answer("POST", "/api/otaPackage", PACKAGE)
    stub.refuse("POST", PATH, 400, "Wrong otaPackage file!")
    stub.answer("DELETE", PATH)
    result = run("ota", "add", str(file), "--title", "a", "--version", "1", "--checksum", "00")
    assert result.exit_code == 1
    assert "Wrong otaPackage file!" in result.stderr
    assert stub.requests[-1].method == "DELETE"


def test_add_takes_a_file_or_a_url(run: Run, stub: Stub) -> None:
    assert run("ota", "add", "--title", "a", "--version", "1").exit_code == 2
    stub.answer("POST", "/api/otaPackage", PACKAGE)
    profiles = page({"id": {"id": "x"}, "name": "pump 2"}, {"id": {"id": PROFILE_ID}, "name": "pump"})
    stub.answer("GET", "/api/deviceProfileInfos", profiles)
    words = ["--title", "a", "--version", "1", "--software", "--profile", "pump"]
    result = run("ota", "add", "--url", "https://example.org/f", *words, "--json")
    assert json.loads(result.stdout) == PACKAGE
    sent = stub.asked("POST", "/api/otaPackage").json()
    assert (sent["type"], sent["url"], sent["usesUrl"]) == ("SOFTWARE", "https://example.org/f", True)
    assert sent["deviceProfileId"]["id"] == PROFILE_ID


def test_list_shows_a_table(run: Run, stub: Stub) -> None:
    elsewhere = PACKAGE | {"version": "2", "url": "https://example.org/f", "dataSize": None}
    stub.answer("GET", "/api/otaPackages", page(PACKAGE, elsewhere, total=7))
    result = run("ota", "list", "--limit", "2")
    assert "1,234,567" in result.stdout
    assert "https://example.org/f" in result.stdout
    assert result.stderr == "5 more; --limit 7 shows them all.\n"


def test_list_of_nothing(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/otaPackages", page())
    assert run("ota", "list").stdout == "There are no packages.\n"


def test_assign_to_a_device(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/otaPackages", page(PACKAGE | {"version": "1.2"}, PACKAGE))
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("POST", "/api/v2/ota/assignment")
    result = run("ota", "assign", "pump-fw", "1.2.0", "--device", "Pump 1")
    assert stub.asked("POST", "/api/v2/ota/assignment").json() == {
        "type": "FIRMWARE",
        "packageId": PACKAGE_ID,
        "deviceId": DEVICE_ID,
    }
    assert "Next: thingpass ota status --search 'Pump 1'" in result.stdout


def test_assign_to_a_profile_and_take_it_away(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/otaPackages", page(PACKAGE))
    stub.answer("GET", "/api/deviceProfileInfos", page({"id": {"id": PROFILE_ID}, "name": "pump"}))
    stub.answer("POST", "/api/v2/ota/assignment")
    assert run("ota", "assign", "pump-fw", "1.2.0", "--profile", "pump").exit_code == 0
    sent = stub.asked("POST", "/api/v2/ota/assignment").json()
    assert (sent["deviceProfileId"], sent["packageId"]) == (PROFILE_ID, PACKAGE_ID)
    result = run("ota", "unassign", "--profile", "pump", "--software")
    assert result.stdout == "Profile pump has no software of its own any more.\n"
    sent = stub.asked("POST", "/api/v2/ota/assignment").json()
    assert (sent["type"], sent["packageId"]) == ("SOFTWARE", None)


def test_assign_needs_one_whom_and_a_package_that_is_there(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/otaPackages", page(PACKAGE))
    assert run("ota", "assign", "pump-fw", "1.2.0").exit_code == 2
    result = run("ota", "assign", "pump-fw", "9", "--device", "Pump 1")
    assert (result.exit_code, "There is no package 'pump-fw' '9'." in result.stderr) == (1, True)
    stub.answer("GET", "/api/deviceProfileInfos", page())
    assert "no device profile 'x'" in run("ota", "assign", "pump-fw", "1.2.0", "--profile", "x").stderr


def test_status_shows_devices_and_rollouts(run: Run, stub: Stub) -> None:
    state = {
        "deviceId": {"id": DEVICE_ID},
        "deviceName": "Pump 1",
        "title": "pump-fw",
        "version": "1.2.0",
        "currentTitle": "pump-fw",
        "currentVersion": "1.1.0",
        "state": "FAILED",
        "stateAtMs": 1609459200000,
        "error": "Checksum \x1b[31mverification failed!",
    }
    silent = {"deviceName": "Pump 2"}
    stub.answer("GET", "/api/v2/ota/states", page(state, silent, total=2))
    rollout = {
        "deviceProfileName": "pump",
        "type": "FIRMWARE",
        "devices": 5000,
        "done": 300,
        "endedAtMs": None,
    }
    ended = rollout | {"deviceProfileName": "other", "endedAtMs": 5}
    stub.answer("GET", "/api/v2/ota/rollouts", {"data": [rollout, ended]})
    result = run("ota", "status", "--search", "Pump")
    assert "Profile pump: 300 of 5000 devices looked at." in result.stdout
    assert "other" not in result.stdout
    for text in ("pump-fw 1.2.0", "pump-fw 1.1.0", "FAILED", "2021-01-01 00:00:00", "verification failed!"):
        assert text in result.stdout
    assert "\x1b" not in result.stdout
    assert stub.asked("GET", "/api/v2/ota/states").query["textSearch"] == "Pump"


def test_remove_asks_first(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/otaPackages", page(PACKAGE))
    assert run("ota", "remove", "pump-fw", "1.2.0").exit_code == 2
    stub.answer("DELETE", PATH)
    result = run("ota", "remove", "pump-fw", "1.2.0", "--yes")
    assert result.stdout == "pump-fw 1.2.0 is removed.\n"
