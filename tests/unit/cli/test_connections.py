from __future__ import annotations

import json

import click
import pytest

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

REFUSAL = {
    "id": 1,
    "atMs": 1609459200000,
    "code": "certificate-unknown",
    "sentence": "No device has the certificate "
    + "CN="
    + "x" * 40
    + ", which was made by somebody else long ago.",
    "mend": "If it is yours: thingpass device add a, then thingpass device credentials a --x509 FILE.",
    "listener": "mqtts",
    "peerAddress": "192.0.2.7",
    "peerPort": 40312,
    "deviceId": None,
    "deviceName": None,
    "subject": "CN=sensor-1",
    "fingerprintSha256": "ab" * 32,
    "seen": {"name": "sensor-1"},
}
CONNECTION = {
    "id": 3,
    "deviceId": DEVICE_ID,
    "deviceName": "Pump 1",
    "listener": "mqtts",
    "peerAddress": "2001:db8::7",
    "peerPort": 40312,
    "protocol": "MQTT 5.0",
    "tlsVersion": "TLSv1.3",
    "clientId": "c1",
    "connectedAtMs": 1609459200000,
}


def test_connected_devices_are_a_table(run: Run, stub: Stub) -> None:
    plain = {**CONNECTION, "deviceName": "Pump 2", "tlsVersion": None}
    stub.answer("GET", "/api/v2/connections", {"data": [CONNECTION, plain]})
    lines = run("connections").stdout.splitlines()
    assert lines[0].split() == ["Device", "Address", "Protocol", "TLS", "Since", "Client", "id"]
    assert "Pump 1  [2001:db8::7]:40312  MQTT 5.0  TLSv1.3" in lines[1]
    assert "not encrypted" in lines[2]
    assert json.loads(run("connections", "--json").stdout)["data"][0] == CONNECTION


def test_a_device_behind_a_gateway_is_shown_with_it(run: Run, stub: Stub) -> None:
    behind = {**CONNECTION, "viaGateway": "Roof"}
    stub.answer("GET", "/api/v2/connections", {"data": [behind]})
    assert run("connections").stdout.splitlines()[1].endswith("via gateway Roof")


def test_nobody_connected_points_to_the_refusals(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/v2/connections", {"data": []})
    assert "thingpass connections --refused" in run("connections").stdout


def test_refusal_is_readable_in_100_columns_with_all_that_is_known(run: Run, stub: Stub) -> None:
    known = {**REFUSAL, "id": 2, "deviceName": "Pump 1", "code": "certificate-expired"}
    stub.answer("GET", "/api/v2/refusals", {"data": [known, REFUSAL]})
    result = run("connections", "--refused", env={"COLUMNS": "100"})
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "2021-01-01 00:00:00  192.0.2.7:40312  mqtts  certificate-unknown"
    text = " ".join(result.stdout.split())
    for part in ("sentence", "mend", "subject", "fingerprintSha256"):
        assert str(REFUSAL[part]) in text
    assert "mqtts device Pump 1 certificate-expired" in text
    assert text.index("certificate-unknown") < text.index("certificate-expired")  # the newest last


def test_long_text_is_folded_but_words_are_whole_on_a_narrow_terminal(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/v2/refusals", {"data": [REFUSAL]})
    result = run("connections", "--refused", env={"COLUMNS": "60"})
    assert "ab" * 32 in result.stdout
    assert "--x509" in result.stdout


def test_nobody_refused_says_so(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/v2/refusals", {"data": []})
    assert run("connections", "--refused").stdout == "Nobody was refused.\n"


def test_refusals_in_json_are_the_servers(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/v2/refusals", {"data": [REFUSAL]})
    assert json.loads(run("connections", "--refused", "--json").stdout) == {"data": [REFUSAL]}


@pytest.mark.parametrize("words", [["--refused"], []])
def test_one_device_is_asked_for_by_its_id(run: Run, stub: Stub, words: list[str]) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    path = "/api/v2/refusals" if words else "/api/v2/connections"
    stub.answer("GET", path, {"data": []})
    run("connections", *words, "--device", "Pump 1", "--limit", "5")
    assert stub.asked("GET", path).query == {"limit": "5", "deviceId": DEVICE_ID}


def test_follow_shows_only_what_is_new(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    later = {**REFUSAL, "id": 2, "subject": "CN=later"}
    stub.answer("GET", "/api/v2/refusals", {"data": [REFUSAL]})
    stub.answer("GET", "/api/v2/refusals", {"data": [later, REFUSAL]})
    pauses = iter([None])

    def pause(seconds: float) -> None:
        if next(pauses, "end") == "end":
            raise click.Abort  # what Ctrl-C becomes

    monkeypatch.setattr("thingpass.cli.connections.time.sleep", pause)
    result = run("connections", "--refused", "--follow")
    assert result.exit_code == 1
    assert result.stdout.count("CN=sensor-1") == 1
    assert result.stdout.count("CN=later") == 1


def test_follow_alone_is_wrong_usage(run: Run) -> None:
    assert run("connections", "--follow").exit_code == 2
    assert run("connections", "--follow", "--refused", "--json").exit_code == 2
