"""`thingpass config show`: the effective settings, secrets masked, and where each comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from thingpass.cli.output import json_option, print_json


@click.group()
def config() -> None:
    """Show the effective settings."""


@config.command()
@click.option("--config", "config_file", metavar="FILE", help="TOML file to read. [THINGPASS_CONFIG]")
@json_option
def show(config_file: str | None, as_json: bool) -> None:
    """Show the settings that `thingpass up` would use now, as TOML, with the source of each.

    Secrets are masked. What is printed can be saved and used with `--config`.
    """
    from thingpass.settings import SETTINGS, effective_values, load, unknown_variables

    loaded = load(config_file=Path(config_file) if config_file else None, flags={}, environ=os.environ)
    values = effective_values(loaded.settings)
    for sentence in unknown_variables(os.environ):
        click.echo(f"Warning: {sentence}", err=True)
    if as_json:
        print_json({key: {"value": value, "source": loaded.sources[key]} for key, value in values.items()})
        return
    group = ""
    for row in SETTINGS:
        if row.group != group:
            group = row.group
            click.echo(f"\n[{group}]")
        # Masks are commented out, so that a saved page does not set passwords to asterisks.
        value = values[row.key]
        hidden = value is None or row.secret
        line = (
            f"# {row.name} = {'(not set)' if value is None else value}"
            if hidden
            else f"{row.name} = {_toml(value)}"
        )
        click.echo(f"{line:<44} # {loaded.sources[row.key]}")


def _toml(value: object) -> str:
    """Texts, numbers, booleans and lists of texts are written in JSON as in TOML."""
    return json.dumps(value, ensure_ascii=False)
