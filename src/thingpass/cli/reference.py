"""docs/reference/settings.md and commands.md, made from the settings' table and the commands themselves.

`python -m thingpass.cli.reference docs/reference` writes them; a test compares them with what is in the tree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from thingpass.cli.main import COMMANDS
from thingpass.cli.main import main as root
from thingpass.settings import CLIENT_VARIABLES, GROUPS, SETTINGS, Setting

MADE = (
    "<!-- Made by `python -m thingpass.cli.reference docs/reference`; change the source, not this page. -->"
)
WIDTH = 100
GROUP_TITLES = {
    "": "General",
    "listeners": "Listeners",
    "tls": "TLS",
    "mqtt": "MQTT",
    "rpc": "Calls to devices",
    "http": "HTTP",
    "store": "Store",
    "ota": "Firmware and software",
    "limits": "Rate limits",
    "identity": "Identity",
    "devices": "Devices",
    "api": "REST API and administrator",
    "log": "Logs",
}


def settings_page() -> str:
    """The page of all settings."""
    return "\n".join([*_settings_opening(), *_settings_tables(), *_client_variables(), ""])


def commands_page() -> str:
    """The page of all commands, with the help that each prints."""
    top = click.Context(root, info_name="thingpass", terminal_width=WIDTH, **root.context_settings)
    lines = [
        "# Commands",
        "",
        MADE,
        "",
        "After this page you know every command and option. Each prints the same with `--help`.",
        "Exit codes: 0 done, 1 failed (`Error:` and mostly `Mend:` on stderr), 2 wrong usage.",
        "",
        "```text",
        root.get_help(top).rstrip(),
        "```",
    ]
    for entry in COMMANDS:
        lines += _command_section(entry.load(), entry.name, top, "##")
    return "\n".join([*lines, ""])


def _settings_opening() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield MADE
    yield ""
    yield "After this page you can set everything that can be set: by a flag of `thingpass up`, by an"
    yield "environment variable, or in a TOML file (`--config FILE` or `THINGPASS_CONFIG`). A flag wins over"
    yield "a variable, a variable over the file. `thingpass config show` prints the values in force and the"
    yield "source of each."
    yield ""
    yield "```toml"
    yield "[listeners]"
    yield "mqtts_port = 8883"
    yield ""
    yield "[tls]"
    yield 'server_cert = "mqttserver.pub.pem"   # relative to this file'
    yield "```"
    yield ""
    yield "Empty variables count as not set. In a variable, a list has commas between its items."


def _settings_tables() -> Iterator[str]:
    for group in ("", *GROUPS):
        rows = [row for row in SETTINGS if row.group == group]
        table = f" (table `[{group}]`)" if group else ""
        yield from ("", f"## {GROUP_TITLES[group]}{table}", "")
        yield "| Key | Variable, flag | Allowed | Default | What it does |"
        yield "|---|---|---|---|---|"
        for row in rows:
            flag = f"<br>`{row.flag}`" if row.flag else ""
            allowed = row.kind.allowed + (f" ({row.unit})" if row.unit else "")
            yield f"| `{row.name}` | `{row.environment}`{flag} | {allowed} | {_default(row)} | {row.help} |"


def _client_variables() -> Iterator[str]:
    yield from ("", "## Variables of commands", "")
    yield "These are read by commands that talk to a running server, and by `up` to find its file."
    yield ""
    yield "| Variable | What it is |"
    yield "|---|---|"
    for name, text in CLIENT_VARIABLES.items():
        yield f"| `{name}` | {text} |"


def _default(row: Setting) -> str:
    if row.key == "data_dir":
        return "`$XDG_DATA_HOME/thingpass`, else `~/.local/share/thingpass`"
    match row.default:
        case None | ():
            return "not set"
        case bool() as value:
            return f"`{str(value).lower()}`"
    return f"`{row.default}`"


def _command_section(command: click.Command, name: str, parent: click.Context, mark: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield from ("", f"{mark} {context.command_path}", "")
    yield from ("```text", command.get_help(context).rstrip(), "```")
    if isinstance(command, click.Group):
        for inner_name, inner in sorted(command.commands.items()):
            yield from _command_section(inner, inner_name, context, mark + "#")


def write(directory: Path) -> None:
    """Write both pages."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "settings.md").write_text(settings_page(), encoding="utf-8")
    (directory / "commands.md").write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
