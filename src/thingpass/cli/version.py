"""`thingpass version`."""

from __future__ import annotations

import platform

import click

from thingpass import __version__
from thingpass.cli.output import json_option, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Show the version."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"thingpass {__version__} (Python {platform.python_version()})")
