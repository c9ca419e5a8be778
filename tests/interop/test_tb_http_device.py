"""TBHTTPDevice, the HTTP class of ThingsBoard's device library, unmodified."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.running_server import RunningServer, clean_environ
from tests.tools import TB_CLIENT

PROGRAM = Path(__file__).with_name("tb_http_device.py")
PATIENCE_S = 30


@pytest.mark.needs(str(TB_CLIENT))
def test_every_method_works_unmodified(server: RunningServer) -> None:
    device_id = server.add_device(f"tb-http-{uuid.uuid4().hex[:8]}")
    process = subprocess.Popen(
        [sys.executable, PROGRAM, server.url, server.access_token(device_id)],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n", process.communicate(timeout=PATIENCE_S)[1]
        body = {"method": "reboot", "params": {"after": 5}, "timeout": 20_000}
        answer = server.rest.post(f"/api/rpc/twoway/{device_id}", json=body)
        assert answer.json() == {"method": "done", "params": {"of": {"after": 5}}}
        url = f"/api/plugins/telemetry/DEVICE/{device_id}/attributes/SHARED_SCOPE"
        while process.poll() is None:  # a change between two of its requests is not told
            server.rest.post(url, json={"limit": 3}).raise_for_status()
            time.sleep(0.3)
        said, complaints = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, complaints
    done = json.loads(said)
    assert done.pop("call to the server").keys() == {"ts", "iso"}
    assert done == {
        "connected": True,
        "requested attributes": {"client": {"model": "T-1000"}},
        "heard": [
            ["attributes", {"limit": 3}],
            ["rpc", {"method": "reboot", "params": {"after": 5}}],
        ],
        "ended": True,
    }
    latest = server.rest.get(
        f"/api/plugins/telemetry/DEVICE/{device_id}/values/timeseries",
        params={"useStrictDataTypes": "true"},
    ).json()
    assert {key: points[0]["value"] for key, points in latest.items()} == {
        "temperature": 41.9,
        "enabled": False,
    }
