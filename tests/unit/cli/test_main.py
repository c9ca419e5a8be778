from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from thingpass import __version__
from thingpass.cli.failures import Failure
from thingpass.cli.main import COMMANDS, Entry, main
from thingpass.settings import SettingInvalid

HEAVY = (
    "cryptography",
    "OpenSSL",
    "fastapi",
    "msgspec",
    "structlog",
    "rich",
    "apsw",
    "uvloop",
    "asyncio",
    "ssl",
)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_row_is_a_command_with_help(entry: Entry) -> None:
    command = entry.load()
    assert command.name == entry.name
    result = CliRunner().invoke(main, [entry.name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {entry.name} ")


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    for entry in COMMANDS:
        assert f"  {entry.name} " in output
        assert entry.help in output
    assert "_THINGPASS_COMPLETE=bash_source" in output


def data_commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        return [
            found
            for name, inner in command.commands.items()
            for found in data_commands(inner, f"{path} {name}")
        ]
    return [(path, command)]


ALL = [found for entry in COMMANDS for found in data_commands(entry.load(), entry.name)]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_every_command_has_json_and_a_help_text(path: str, command: click.Command) -> None:
    prints_a_file = path == "keygen properties"
    assert prints_a_file or any("--json" in parameter.opts for parameter in command.params)
    assert command.help


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom thingpass.cli.main import main\n"
        "before = set(sys.modules)\nassert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(' '.join(name for name in sys.argv[1:] if name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_program_starts_with_nothing_heavy() -> None:
    code = (
        "import sys\nimport click\nbefore = set(sys.modules)\nimport thingpass.__main__\n"
        "print(' '.join(name for name in sys.argv[1:] if name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_module_runs_as_a_program() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "thingpass", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"thingpass {__version__}\n"
    assert time.monotonic() - started < 5  # the real bound, 150 ms, is measured and not tested


def test_version_command_says_the_same() -> None:
    assert CliRunner().invoke(main, ["version"]).output.startswith(f"thingpass {__version__} (Python 3.")
    assert f'"version": "{__version__}"' in CliRunner().invoke(main, ["version", "--json"]).output


def test_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["devise"])
    assert result.exit_code == 2
    assert "No such command 'devise'" in result.stderr


def test_failure_is_shown_as_error_and_mend_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Failure("The sentence.", "Do this.").show()
    Failure("Alone.").show()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert click.unstyle(shown.err) == "Error: The sentence.\nMend: Do this.\nError: Alone.\n"


def test_failure_of_a_flag_is_wrong_usage_and_of_a_variable_is_not() -> None:
    assert Failure.of(SettingInvalid("--bind", "no.", from_flag=True)).exit_code == 2
    assert Failure.of(SettingInvalid("THINGPASS_BIND", "no.")).exit_code == 1
