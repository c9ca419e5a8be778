"""`thingpass up`: start the server, say where everything is, and end it well."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option
from thingpass.settings import SETTINGS, Setting, Settings, load_settings, unknown_variables

Command = TypeVar("Command", bound=Callable[..., object])


def _metavar(row: Setting) -> str:
    if row.flag is not None and row.flag.endswith("-port"):
        return "N"
    return {"--data-dir": "DIR", "--bind": "ADDR"}.get(str(row.flag), "FILE")


def _help(row: Setting) -> str:
    default = "" if row.default is None else f"; default {row.default}"
    return f"{row.help} [{row.environment}{default}]"


def setting_options(command: Command) -> Command:
    """One option for each setting that has a flag, in the table's order; values stay text until loaded."""
    for row in reversed([row for row in SETTINGS if row.flag is not None]):
        name = row.key.replace(".", "__")
        command = click.option(str(row.flag), name, metavar=_metavar(row), help=_help(row))(command)
    return command


@click.command()
@setting_options
@click.option(
    "--config", "config_file", metavar="FILE", help="TOML file with any setting. [THINGPASS_CONFIG]"
)
@json_option
def up(config_file: str | None, as_json: bool, **given: str | None) -> None:
    """Start the server and print where everything is.

    Every setting (docs/reference/settings.md) can also be an environment variable or a line of the TOML file;
    a flag wins over a variable, a variable over the file. Ctrl-C or SIGTERM ends the server with everything
    stored that was acknowledged; a second Ctrl-C ends it at once. With --json, one line of JSON says that the
    server is ready.
    """
    from thingpass.cli.serving import serve
    from thingpass.logs import configure_logging

    flags = {key.replace("__", "."): value for key, value in given.items()}
    path = Path(config_file) if config_file else None
    settings = load_settings(config_file=path, flags=flags, environ=os.environ)
    for sentence in unknown_variables(os.environ):
        click.echo(f"Warning: {sentence}", err=True)
    configure_logging(settings.log)
    try:
        serve(settings, as_json=as_json)
    except OSError as error:
        raise Failure(f"The server cannot run: {error.strerror or error}.", _mend(error, settings)) from error


def _mend(error: OSError, settings: Settings) -> str | None:
    if isinstance(error, PermissionError):
        return f"Check who may write {settings.data_dir}, and that the ports are above 1023."
    return None
