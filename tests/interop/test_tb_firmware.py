"""The firmware updaters of tb-mqtt-client, unmodified: by piece and as a whole, to their UPDATED."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import Device
from tests.integration.test_device_api import HttpDevice
from tests.ota import add_package, assign
from tests.running_server import RunningServer, clean_environ
from tests.tools import TB_CLIENT

PROGRAM = Path(__file__).with_name("tb_firmware.py")
HTTP_PROGRAM = Path(__file__).with_name("tb_http_firmware.py")
IMAGE = random.Random(3).randbytes(250_001)


@pytest.mark.needs(str(TB_CLIENT))
@pytest.mark.parametrize(
    ("chunk_size", "algorithm"), [(0, "SHA256"), (20_000, "MD5"), (20_000, "MURMUR3_128"), (65_536, "SHA512")]
)
def test_update_is_completed(
    device_with_certificate: Callable[..., Device], chunk_size: int, algorithm: str
) -> None:
    device = device_with_certificate()
    package = add_package(device.server, IMAGE, algorithm=algorithm)
    assign(device, package)
    done = subprocess.run(
        [sys.executable, PROGRAM, str(device.port), device.ca_file, device.combined_file, str(chunk_size)],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        cwd=device.ca_file.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "title": package.title,
        "version": "1.2.0",
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    device.wait_for("fw_state", "UPDATED")
    query = {"type": "FIRMWARE", "pageSize": 10, "page": 0, "textSearch": device.name}
    [state] = device.server.rest.get("/api/v2/ota/states", params=query).json()["data"]
    assert (state["currentTitle"], state["currentVersion"]) == (state["title"], state["version"])
    # Of two states that arrive within a millisecond the history keeps the later one.
    states = [value for _, value in device.history("fw_state")]
    own = [value for value in states if value not in ("IDLE", "QUEUED", "INITIATED")]
    assert own == [value for value in ("DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATED") if value in own]
    assert own[-1] == "UPDATED"


@pytest.mark.needs(str(TB_CLIENT))
def test_push_to_a_connected_device_begins_the_update(device_with_certificate: Callable[..., Device]) -> None:
    """A key of an earlier package goes at the same time, which must not disturb the new one."""
    device = device_with_certificate()
    package = add_package(device.server, IMAGE)
    with subprocess.Popen(
        [sys.executable, PROGRAM, str(device.port), device.ca_file, device.combined_file, "50000"],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        cwd=device.ca_file.parent,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            device.wait_for("fw_state", "IDLE", within_s=30)
            device.server.rest.post(
                f"/api/plugins/telemetry/DEVICE/{device.id}/SHARED_SCOPE", json={"fw_tag": "an earlier one"}
            ).raise_for_status()
            assign(device, package)
            printed, _ = running.communicate(timeout=60)
        finally:
            running.kill()
    assert json.loads(printed.splitlines()[-1])["sha256"] == hashlib.sha256(IMAGE).hexdigest()


@pytest.mark.needs(str(TB_CLIENT))
@pytest.mark.parametrize("chunk_size", [0, 20_000])
def test_update_over_http_is_completed(server: RunningServer, tmp_path: Path, chunk_size: int) -> None:
    device = HttpDevice(server)
    package = add_package(server, IMAGE)
    assign(device, package)
    with subprocess.Popen(
        [sys.executable, HTTP_PROGRAM, server.url, device.token, str(chunk_size)],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        watchdog = threading.Timer(60, running.kill)
        watchdog.start()
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "updated\n"
            deadline = time.monotonic() + 20
            while device.latest().get("fw_state") != "UPDATED":  # it sends from a queue
                assert time.monotonic() < deadline, device.latest()
                time.sleep(0.05)
        finally:
            watchdog.cancel()
            running.kill()
            device.client.close()
    assert (tmp_path / package.title).read_bytes() == IMAGE
    latest = device.latest()
    assert (latest["current_fw_title"], latest["current_fw_version"]) == (package.title, package.version)
