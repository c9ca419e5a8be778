"""The command group. Subcommands are imported when they are called, so `thingpass --help` starts at once.

A new command is a row in `COMMANDS` and its module. Nothing here may import more than click.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from thingpass import __version__
from thingpass.cli.failures import Failure
from thingpass.errors import ThingpassError


class Entry(NamedTuple):
    """A command: where its click object is, and the line that `--help` shows without importing it."""

    name: str
    module: str
    help: str

    def load(self) -> click.Command:
        found = getattr(importlib.import_module(f"thingpass.cli.{self.module}"), self.name)
        if not isinstance(found, click.Command):
            raise TypeError(f"thingpass.cli.{self.module}:{self.name} is no click command")
        return found


COMMANDS: tuple[Entry, ...] = (
    Entry("up", "up", "Start the server."),
    Entry("demo", "demo", "Run the whole walk-through in a temporary directory."),
    Entry("keygen", "keygen", "Make the keys and certificates of the server and of devices."),
    Entry("device", "device", "Add, list, show and remove devices; set their credentials."),
    Entry("profile", "profile", "Topics, payload formats and provisioning of kinds of devices."),
    Entry("attributes", "attributes", "List, set and remove attributes of devices."),
    Entry("rpc", "rpc", "Call a device and show its answer."),
    Entry("customer", "customer", "Add, list and remove customers and their users."),
    Entry("telemetry", "telemetry", "Read what devices have sent."),
    Entry("ota", "ota", "Give devices new firmware and software."),
    Entry("simulate", "simulate", "Run a fleet of believable devices against a server."),
    Entry("connections", "connections", "Show who is connected, or who was refused and why."),
    Entry("activate", "activate", "Choose the password of an account that was made for you."),
    Entry("login", "login", "Log in to a server and keep the tokens."),
    Entry("logout", "login", "Forget the tokens of `thingpass login`."),
    Entry("config", "config", "Show the effective settings."),
    Entry("version", "version", "Show the version."),
)

EPILOG = (
    "Commands find the server by THINGPASS_URL (default http://127.0.0.1:8080). On the machine and as the"
    " user that runs it, no login is needed.\n\n"
    'Completion in the shell: eval "$(_THINGPASS_COMPLETE=bash_source thingpass)" (zsh_source, fish_source).'
)


class LazyGroup(click.Group):
    """A group whose commands are the rows of `COMMANDS`; the edge where our errors become click's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return next((entry.load() for entry in COMMANDS if entry.name == cmd_name), None)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.help) for entry in COMMANDS])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except errors_for_people() as error:
            raise Failure.of(error) from error


def errors_for_people() -> tuple[type[Exception], ...]:
    """Our own errors and those of the `x509` library. Asked for only after something was raised."""
    from thingpass.x509.errors import X509Error

    return (ThingpassError, X509Error)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="thingpass", message="%(prog)s %(version)s")
def main() -> None:
    """Thingpass: passports for things.

    Devices prove who they are with X.509 certificates and send their data over MQTT.
    """
