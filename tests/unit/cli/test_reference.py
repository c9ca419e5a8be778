from __future__ import annotations

from pathlib import Path

import pytest

from thingpass.cli.main import COMMANDS
from thingpass.cli.reference import commands_page, settings_page, write
from thingpass.settings import CLIENT_VARIABLES, SETTINGS

PAGES = Path(__file__).parents[3] / "docs" / "reference"
MAKE = "make the pages anew: python -m thingpass.cli.reference docs/reference"


@pytest.mark.parametrize(
    ("name", "made"), [("settings.md", settings_page()), ("commands.md", commands_page())]
)
def test_page_is_what_the_program_says(name: str, made: str) -> None:
    assert (PAGES / name).read_text(encoding="utf-8") == made, MAKE


def test_every_setting_and_variable_is_on_the_page() -> None:
    page = settings_page()
    for row in SETTINGS:
        assert f"| `{row.name}` | `{row.environment}`" in page
        assert row.help in page
    for name in CLIENT_VARIABLES:
        assert f"| `{name}` |" in page


def test_every_command_is_on_the_page() -> None:
    page = commands_page()
    for entry in COMMANDS:
        assert f"\n## thingpass {entry.name}\n" in page
    assert "\n### thingpass device credentials\n" in page


def test_pages_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = commands_page(), settings_page()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert (commands_page(), settings_page()) == before
    write(tmp_path / "new")
    assert (tmp_path / "new" / "commands.md").read_text(encoding="utf-8") == before[0]
