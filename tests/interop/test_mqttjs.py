"""MQTT.js, which web pages and Node programs use: MQTT over WebSocket, and over TLS, with a certificate."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import Device
from tests.running_server import clean_environ
from tests.tools import MQTTJS

PROGRAM = Path(__file__).parent / "mqttjs" / "device.cjs"


@pytest.mark.needs("node", str(MQTTJS))
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scheme", ["wss", "mqtts"])
def test_telemetry_and_attributes(
    device_with_certificate: Callable[..., Device], scheme: str, version: int
) -> None:
    device = device_with_certificate()
    server = device.server
    addresses = {
        "wss": f"wss://localhost:{server.wss_port}/mqtt",
        "mqtts": f"mqtts://localhost:{server.mqtts_port}",
    }
    done = subprocess.run(
        ["node", PROGRAM, addresses[scheme], device.ca_file, device.combined_file, str(version)],
        env=clean_environ({"NODE_PATH": str(MQTTJS)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {
        "connected": True,
        "granted": [1],
        "answers": 4
        * [
            {
                "topic": "v1/devices/me/attributes/response/3",
                "payload": {"client": {"model": "T-1000"}},
            }
        ],
    }
    assert device.latest() == {"temperature": 21.5, "note": "x" * 40_000}
