"""tb-mqtt-client, ThingsBoard's own device library, unmodified, with a certificate.

In a process of its own: it brings a paho under the same import name as paho-mqtt's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import Device
from tests.running_server import clean_environ
from tests.tools import TB_CLIENT

PROGRAM = Path(__file__).with_name("tb_device.py")


@pytest.mark.needs(str(TB_CLIENT))
def test_telemetry_and_attributes_work_unmodified(device_with_certificate: Callable[..., Device]) -> None:
    device = device_with_certificate()
    done = subprocess.run(
        [sys.executable, PROGRAM, str(device.port), device.ca_file, device.combined_file],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "connected": True,
        "telemetry": True,
        "telemetry with time": True,
        "attributes": True,
        "claim": True,
        "requested attributes": [{"client": {"model": "T-1000"}}, None],
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
