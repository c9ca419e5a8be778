from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from thingpass.cli import serving
from thingpass.errors import Invalid
from thingpass.settings import SETTINGS, Settings

FLAGS = (
    "--data-dir",
    "--config",
    "--http-port",
    "--https-port",
    "--wss-port",
    "--https-port",
    "--mqtts-port",
    "--mqtt-port",
    "--bind",
    "--server-cert",
    "--server-key",
)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, bool]]:
    """What `up` would run."""
    calls: list[tuple[Settings, bool]] = []
    monkeypatch.setattr(serving, "serve", lambda settings, *, as_json: calls.append((settings, as_json)))
    monkeypatch.setattr("thingpass.logs.configure_logging", lambda settings: None)
    return calls


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def serve(settings: Settings, *, as_json: bool) -> None:
        raise error

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr("thingpass.logs.configure_logging", lambda settings: None)


def test_help_has_every_flag_with_its_variable(run: Run) -> None:
    text = " ".join(run("up", "--help").stdout.split())
    for flag in FLAGS:
        assert f"{flag} " in text
    for row in SETTINGS:
        assert (row.environment in text) == (row.flag is not None)
    assert "[THINGPASS_HTTP_PORT; default 8080]" in text


def test_flags_of_the_table_are_those_of_the_command_line() -> None:
    assert {row.flag for row in SETTINGS if row.flag} == set(FLAGS) - {"--config"}


def test_flags_variables_and_file_make_the_settings(
    run: Run, served: list[tuple[Settings, bool]], tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text("[listeners]\nbind = '::'\nhttp_port = 1\nmqtts_port = 2\n")
    words = ["--config", str(tmp_path / "a.toml"), "--mqtt-port", "0", "--data-dir", str(tmp_path)]
    result = run(
        "up", *words, "--server-cert", "/c", "--server-key", "/k", "--json", env={"THINGPASS_HTTP_PORT": "3"}
    )
    assert result.exit_code == 0, result.output
    ((settings, as_json),) = served
    assert (settings.listeners.bind, settings.listeners.http_port, settings.listeners.mqtts_port) == (
        "::",
        3,
        2,
    )
    assert (settings.listeners.mqtt_port, settings.data_dir) == (0, tmp_path)
    assert (settings.tls.server_cert, settings.tls.server_key) == (Path("/c"), Path("/k"))
    assert as_json


def test_bad_flag_is_wrong_usage_and_bad_variable_is_not(
    run: Run, served: list[tuple[Settings, bool]]
) -> None:
    result = run("up", "--http-port", "x")
    assert (result.exit_code, result.stderr.startswith('Error: --http-port: "x" is not allowed')) == (2, True)
    assert run("up", env={"THINGPASS_HTTP_PORT": "x"}).exit_code == 1
    assert served == []


def test_unknown_variable_is_warned_about(run: Run, served: list[tuple[Settings, bool]]) -> None:
    assert "Warning: THINGPASS_HTP_PORT is set" in run("up", env={"THINGPASS_HTP_PORT": "1"}).stderr


def test_server_that_cannot_start_is_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(
        monkeypatch, Invalid("Port 8080 is taken by another program.", mend="thingpass up --http-port 8081")
    )
    result = run("up")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "Error: Port 8080 is taken by another program.\nMend: thingpass up --http-port 8081\n"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(98, "Address already in use"), "Error: The server cannot run: Address already in use."),
        (PermissionError(13, "Permission denied"), "Error: The server cannot run: Permission denied."),
    ],
)
def test_error_of_the_system_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    fail_with(monkeypatch, error)
    result = run("up")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (1, line)
    assert ("Mend: " in result.stderr) == isinstance(error, PermissionError)
