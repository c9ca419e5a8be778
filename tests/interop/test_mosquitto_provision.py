"""The command of docs/how-to/provision-devices.md, and a device that then uses what it got."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable

import pytest

from tests.integration.test_provisioning import CREATING, add_profiles, device_named
from tests.running_server import RunningServer


@pytest.mark.needs("mosquitto_rr", "mosquitto_pub")
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_identity_by_mosquitto_rr(start: Callable[..., RunningServer], version: str) -> None:
    server = add_profiles(start())
    name = f"meter-{uuid.uuid4().hex[:8]}"
    ask = {"provisionDeviceKey": CREATING[0], "provisionDeviceSecret": CREATING[1], "deviceName": name}

    def run(program: str, *arguments: str) -> str:
        where = ("-h", "localhost", "-p", str(server.mqtts_port), "--cafile", str(server.certificate_file()))
        done = subprocess.run(
            [program, *where, "-V", version, "-q", "1", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    topics = ("-t", "/provision/request", "-e", "/provision/response")
    answer = json.loads(run("mosquitto_rr", "-u", "provision", *topics, "-m", json.dumps(ask)))
    assert (answer["status"], answer["credentialsType"]) == ("SUCCESS", "ACCESS_TOKEN")
    token = answer["credentialsValue"]
    run("mosquitto_pub", "-u", token, "-t", "v1/devices/me/telemetry", "-m", '{"n":1}')
    device_id = device_named(server, name)["id"]["id"]
    values = server.rest.get(f"/api/plugins/telemetry/DEVICE/{device_id}/values/timeseries").json()
    assert values["n"][0]["value"] == "1"
