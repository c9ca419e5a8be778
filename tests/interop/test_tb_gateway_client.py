"""ThingsBoard's own gateway library, unmodified, with a certificate: each of its calls once.

In a process of its own: it brings a paho under the same import name as paho-mqtt's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import gateway as g
from tests.device import Device
from tests.running_server import clean_environ
from tests.tools import TB_CLIENT

PROGRAM = Path(__file__).with_name("tb_gateway.py")


@pytest.mark.needs(str(TB_CLIENT))
def test_gateway_works_unmodified(device_with_certificate: Callable[..., Device]) -> None:
    gateway = device_with_certificate()
    server, rest = gateway.server, gateway.server.rest
    itself = rest.get(f"/api/device/{gateway.id}").json()
    rest.post("/api/device", json={**itself, "additionalInfo": {"gateway": True}}).raise_for_status()
    one, other = g.new_name(), g.new_name()
    with subprocess.Popen(
        [sys.executable, PROGRAM, str(gateway.port), gateway.ca_file, gateway.combined_file, one, other],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watchdog = threading.Timer(90, process.kill)
        watchdog.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line == "listening\n":
                break
        else:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        device_id = g.device_id(server, one)
        (connection,) = g.connections(server, one)
        path = f"/api/plugins/telemetry/DEVICE/{device_id}"
        rest.post(f"{path}/attributes/SHARED_SCOPE", json={"interval": 30}).raise_for_status()
        rest.delete(f"{path}/SHARED_SCOPE", params={"keys": "mode"}).raise_for_status()
        answer = rest.post(f"/api/rpc/twoway/{device_id}", json={"method": "double", "params": {"n": 21}})
        g.wait_for(lambda: g.latest(server, other) == {"t": 1}, "telemetry at QoS 0")
        rest.delete(f"/api/device/{g.device_id(server, other)}").raise_for_status()
        stdout, stderr = process.communicate()
        watchdog.cancel()
    assert process.returncode == 0, stdout + stderr
    pushed = {"device": one, "data": {"interval": 30}}
    assert json.loads(stdout.splitlines()[-1]) == {
        "connected": True,
        "subscribed": True,
        "limits received": True,
        "connect device": [True, True],
        "telemetry": [True, True, True],
        "attributes": True,
        "client model": [{"device": one, "value": "T-1000"}, None],
        "client model,port": [{"device": one, "values": {"model": "T-1000", "port": 7}}, None],
        "client nothing": [{"device": one}, None],
        "pushed": [pushed, pushed, pushed],
        "removed": {"device": one, "data": {"deleted": ["mode"]}},
        "called": {"device": one, "data": {"id": 0, "method": "double", "params": {"n": 21}}},
        "lost": {"device": other, "reason": 0x98},
        "shared": [{"device": one, "value": 30}, None],
        "claim": True,
        "own telemetry": True,
        "disconnect device": True,
    }
    assert (answer.status_code, answer.text) == (200, '{"doubled":42}')
    assert connection["viaGateway"] == gateway.name
    assert g.latest(server, one) == {"t": 21.5, "n": 9}
    assert gateway.latest()["uptime"] == 1
    made = g.find_device(server, one)
    assert made is not None
    assert made["type"] == "thermometer"
    g.wait_until_away(server, one)
