from __future__ import annotations

import json
import tomllib
from pathlib import Path

from tests.unit.cli.conftest import Run
from thingpass.settings import SETTINGS, load_settings


def test_show_prints_every_setting_with_its_source_and_no_secret(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[log]\nlevel = "debug"\n[api]\nadmin_password = "swordfish"\n')
    env = {"THINGPASS_HTTP_PORT": "9090", "THINGPASS_SERVER_KEY_PASSWORD": "sesame"}
    result = run("config", "show", "--config", str(file), env=env)
    assert result.exit_code == 0, result.output
    for row in SETTINGS:
        assert f"{row.name} = " in result.stdout
    assert "swordfish" not in result.stdout
    assert "sesame" not in result.stdout
    assert "# admin_password = ********" in result.stdout
    assert f'level = "debug"                              # {file}: log.level' in result.stdout
    assert "http_port = 9090                             # THINGPASS_HTTP_PORT" in result.stdout


def test_what_show_prints_is_a_file_with_the_same_meaning(run: Run, tmp_path: Path) -> None:
    env = {"THINGPASS_SERVER_NAMES": "a,b", "THINGPASS_MQTT_PORT": "1883", "THINGPASS_ADMIN_PASSWORD": "x"}
    page = run("config", "show", env=env).stdout
    tomllib.loads(page)
    file = tmp_path / "saved.toml"
    file.write_text(page)
    settings = load_settings(config_file=file, flags={}, environ={"HOME": "/elsewhere"})
    assert settings.tls.server_names == ("a", "b")
    assert settings.listeners.mqtt_port == 1883
    assert settings.api.admin_password is None


def test_show_in_json_has_value_and_source(run: Run) -> None:
    document = json.loads(
        run("config", "show", "--json", env={"THINGPASS_ADMIN_PASSWORD": "swordfish"}).stdout
    )
    assert document["api.admin_password"] == {"value": "********", "source": "THINGPASS_ADMIN_PASSWORD"}
    assert document["listeners.http_port"] == {"value": 8080, "source": "default"}


def test_unknown_variable_is_warned_about(run: Run) -> None:
    result = run("config", "show", env={"THINGPASS_HTP_PORT": "1"})
    assert "Did you mean THINGPASS_HTTP_PORT?" in result.stderr
    assert result.exit_code == 0


def test_bad_value_is_one_line(run: Run) -> None:
    result = run("config", "show", env={"THINGPASS_HTTP_PORT": "x"})
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        'Error: THINGPASS_HTTP_PORT: "x" is not allowed; it must be a whole number, 0 to 65535'
    )
