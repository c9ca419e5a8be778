"""`thingpass demo`, for real: keys, server, device, client, stored values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.running_server import clean_environ

STEPS = [
    "Write keygen.properties",
    "Make the server's keys",
    "Make the device's keys",
    "Start the server",
    "Register the device",
    "Give it its certificate",
    "Connect and send telemetry",
    "Read the values back",
    "Stop the server",
]


def run_demo(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "thingpass", "demo", *options],
        cwd=tmp_path,
        env=clean_environ({"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "scratch")}),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_demo_walks_through_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[2:30].strip() for line in lines[: len(STEPS)]] == STEPS
    assert all(line.startswith("✓") for line in lines[: len(STEPS)])
    assert "Connected with result code 0" in done.stdout
    assert "temperature" in done.stdout.partition("What is stored of demo-device:")[2]
    assert list((tmp_path / "scratch").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


def test_demo_in_json_has_steps_and_values_and_keeps_its_directory(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--json", "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["ok"]
    assert [step["step"] for step in document["steps"]] == STEPS
    assert set(document["values"]) == {"humidity", "temperature"}
    kept = Path(document["directory"])
    for name in ("mqttserver.jks", "mqttclient.nopass.pem", "keygen.properties", "server.log", "data"):
        assert (kept / name).exists()
