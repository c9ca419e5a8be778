"""`thingpass profile` against a real server, from making a profile to taking it away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.running_server import RunningServer, clean_environ

SCHEMA = 'syntax = "proto3";\nmessage M {\n  int32 a = 1;\n}\n'


def test_from_adding_to_removing(plain_server: RunningServer, tmp_path: Path) -> None:
    environ = clean_environ(
        {
            "THINGPASS_URL": plain_server.url,
            "THINGPASS_DATA_DIR": str(plain_server.directory / "data"),
            "HOME": str(tmp_path),
        }
    )

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thingpass", *words]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr
        return done

    schema = tmp_path / "telemetry.proto"
    schema.write_text(SCHEMA)
    run("profile", "add", "turbine", "--telemetry-topic", "t/+/data", "--telemetry-schema", str(schema))
    run("device", "add", "Turbine 1", "--profile", "turbine")
    assert "turbine" in run("device", "show", "Turbine 1").stdout
    shown = run("profile", "show", "turbine").stdout
    assert "t/+/data" in shown
    assert "int32 a = 1;" in shown
    schema.write_text(SCHEMA.replace("int32", "int33"))
    wrong = run("profile", "set", "turbine", "--telemetry-schema", str(schema), code=1)
    assert "line 3: there is no type 'int33'" in wrong.stderr
    run(
        "profile", "set", "turbine", "--name", "wind turbine", "--payload", "json", "--provisioning", "create"
    )
    document = json.loads(run("profile", "show", "wind turbine", "--json").stdout)
    transport = document["profileData"]["transportConfiguration"]
    assert transport["transportPayloadTypeConfiguration"] == {"transportPayloadType": "JSON"}
    assert len(document["provisionDeviceKey"]) == 20
    refused = run("profile", "remove", "wind turbine", "--yes", code=1)
    assert "referenced by the devices" in refused.stderr
    run("device", "remove", "Turbine 1", "--yes")
    run("profile", "remove", "wind turbine", "--yes")
    names = [row["name"] for row in json.loads(run("profile", "list", "--json").stdout)]
    assert "wind turbine" not in names
    assert "default" in names
