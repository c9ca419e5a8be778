"""tb-mqtt-client, ThingsBoard's own device library, unmodified, with a certificate.

In a process of its own: it brings a paho under the same import name as paho-mqtt's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import Device, make_device
from tests.running_server import RunningServer, clean_environ
from tests.tools import TB_CLIENT

PROGRAM = Path(__file__).with_name("tb_device.py")
LIMITED_PROGRAM = Path(__file__).with_name("tb_limited_device.py")


@pytest.mark.needs(str(TB_CLIENT))
def test_telemetry_and_attributes_work_unmodified(device_with_certificate: Callable[..., Device]) -> None:
    device = device_with_certificate()
    rest = device.server.rest
    with subprocess.Popen(
        [sys.executable, PROGRAM, str(device.port), device.ca_file, device.combined_file],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line == "listening\n":
                break
        answer = rest.post(f"/api/rpc/twoway/{device.id}", json={"method": "double", "params": {"n": 21}})
        attributes = f"/api/plugins/telemetry/DEVICE/{device.id}"
        rest.post(f"{attributes}/attributes/SHARED_SCOPE", json={"interval": 30}).raise_for_status()
        rest.delete(f"{attributes}/SHARED_SCOPE", params={"keys": "mode"}).raise_for_status()
        stdout, stderr = process.communicate()
        watchdog.cancel()
    assert process.returncode == 0, stdout + stderr
    assert (answer.status_code, answer.text) == (200, '{"doubled":42}')
    assert json.loads(stdout.splitlines()[-1]) == {
        "connected": True,
        "telemetry": True,
        "telemetry with time": True,
        "attributes": [True, {"interval": 30}, {"deleted": ["mode"]}],
        "claim": True,
        "requested attributes": [{"client": {"model": "T-1000"}}, None],
        "current time": True,
        "limits received": True,
        "limits": [["maxInflightMessages", "maxPayloadSize", "rateLimits"], None],
        "interval": {"interval": 30},
        "called": [True, {"method": "double", "params": {"n": 21}}],
        "shared": [{"shared": {"interval": 30}}, None],
    }
    latest = device.latest()
    assert {key: latest[key] for key in ("temperature", "enabled", "version")} == {
        "temperature": 41.9,
        "enabled": False,
        "version": "v1.2.2",
    }
    # The library splits a long list into several messages and answers for the first of them.
    deadline = time.monotonic() + 10
    while len(device.history("n")) < 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert device.history("n") == [(1000 + n, n) for n in range(100)]


@pytest.mark.needs(str(TB_CLIENT))
def test_library_keeps_to_the_rate_limits_and_nothing_is_lost(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(environ={"THINGPASS_LIMIT_DEVICE_TELEMETRY_MESSAGES": "20:1"})
    device = make_device(server, tmp_path)
    program = subprocess.Popen(
        [sys.executable, LIMITED_PROGRAM, str(device.port), device.ca_file, device.combined_file],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 40
    while len(device.history("n")) < 60 and program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    output, errors = program.communicate(timeout=30)
    assert program.returncode == 0, output + errors
    known = json.loads(output.splitlines()[-1])
    assert known == {"connected": True, "limits": [False, True]}
    assert device.history("n") == [(1000 + n, n) for n in range(60)]
