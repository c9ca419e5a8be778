"""`thingpass activate`: a user who was added chooses the first password."""

from __future__ import annotations

import os
import sys
from urllib.parse import parse_qs, urlsplit

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, print_json


@click.command()
@json_option
def activate(as_json: bool) -> None:
    """Choose the password of your account with the link that you were given.

    Link and password are asked for on a terminal, or else read from the first two lines of standard input;
    the password may stand in THINGPASS_PASSWORD. Neither is an argument: everybody on the machine can see
    arguments.
    """
    from thingpass.cli.rest_client import RestClient

    link = _ask("Link", hidden=False)
    parts = urlsplit(link)
    tokens = parse_qs(parts.query).get("activateToken", [])
    if not tokens or not parts.netloc:
        raise Failure(
            "This is not an activation link.",
            "It begins with http and has activateToken= in it.",
            exit_code=2,
        )
    password = os.environ.get("THINGPASS_PASSWORD") or _ask("New password", hidden=True)
    address = f"{parts.scheme}://{parts.netloc}{parts.path.partition('/api/')[0]}"
    RestClient(address).post(
        "/api/noauth/activate",
        {"activateToken": tokens[0], "password": password},
        {"sendActivationMail": False},
    )
    if as_json:
        print_json({"url": address})
        return
    click.echo(f"Your account is active. Next: thingpass login --url {address}")


def _ask(what: str, *, hidden: bool) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=hidden, confirmation_prompt=hidden, err=True)).strip()
    if line := sys.stdin.readline().strip("\r\n"):
        return line
    raise Failure(f"There is no {what.lower()}.", "Write it into standard input.", exit_code=2)
