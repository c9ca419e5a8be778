"""`thingpass login` and `thingpass logout`."""

from __future__ import annotations

import os
import sys

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, print_json


@click.command()
@click.option("--url", metavar="URL", help="The server. [THINGPASS_URL; default http://127.0.0.1:8080]")
@click.option("--username", metavar="NAME", help="[THINGPASS_USERNAME; default admin@thingpass.local]")
@json_option
def login(url: str | None, username: str | None, as_json: bool) -> None:
    """Log in to a server and keep the tokens; later commands go there until `thingpass logout`.

    The password is taken from THINGPASS_PASSWORD, asked for on a terminal, or else read from the first line
    of standard input. It is never an argument: everybody on the machine can see arguments.
    """
    from thingpass.cli.logins import Login, logins_file, read_logins, write_logins
    from thingpass.cli.rest_client import DEFAULT_URL, RestClient, ServerRefused, TokenPair

    client = RestClient(url or os.environ.get("THINGPASS_URL") or DEFAULT_URL)
    name = username or os.environ.get("THINGPASS_USERNAME") or "admin@thingpass.local"
    body = {"username": name, "password": _password(name)}
    try:
        pair = client.post("/api/auth/login", body).as_(TokenPair)
    except ServerRefused as refused:
        if refused.status != 401:
            raise
        raise Failure(
            f"{refused.sentence} ({name} at {client.url}).", "Check the name, then the password."
        ) from refused
    path = logins_file(os.environ)
    saved = Login(username=name, token=pair.token, refresh_token=pair.refresh_token)
    write_logins(path, read_logins(path).with_login(client.url, saved))
    if as_json:
        print_json({"url": client.url, "username": name, "file": str(path)})
    else:
        click.echo(f"Logged in to {client.url} as {name}. Commands go there until `thingpass logout`.")
        click.echo(f"The tokens are in {path} (readable by you alone).")


@click.command()
@click.option("--url", metavar="URL", help="The server; by default the one of the last login.")
@json_option
def logout(url: str | None, as_json: bool) -> None:
    """Forget the tokens of `thingpass login`, and end them at the server if it can be reached."""
    from thingpass.cli.logins import logins_file, read_logins, write_logins
    from thingpass.cli.rest_client import RestClient, checked_url

    path = logins_file(os.environ)
    logins = read_logins(path)
    chosen = url or os.environ.get("THINGPASS_URL") or logins.current
    target = checked_url(chosen) if chosen else None
    found = logins.by_url.get(target) if target else None
    if target is None or found is None:
        raise Failure(f"There is no login{f' for {target}' if target else ''}.", "thingpass login")
    ended = True
    try:
        RestClient(target, login=found).post("/api/auth/logout")
    except Failure as failure:
        ended = False
        click.echo(f"Warning: the server was not told: {failure.sentence}", err=True)
    write_logins(path, read_logins(path).without(target))
    if as_json:
        print_json({"url": target, "ended_at_server": ended})
    else:
        click.echo(f"Logged out of {target}.")


def _password(username: str) -> str:
    if given := os.environ.get("THINGPASS_PASSWORD"):
        return given
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {username}", hide_input=True, err=True))
    if line := sys.stdin.readline().rstrip("\r\n"):
        return line
    raise Failure(
        "There is no password.", "Pipe it into standard input, or set THINGPASS_PASSWORD.", exit_code=2
    )
