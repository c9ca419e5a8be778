"""`thingpass device credentials NAME`: show or set what a device proves itself with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, print_fields, print_json

if TYPE_CHECKING:
    from thingpass.cli.shapes import Credentials

X509 = "X509_CERTIFICATE"
ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105 (ThingsBoard's name of a kind, not a token)
MQTT_BASIC = "MQTT_BASIC"


@click.command()
@click.argument("name")
@click.option("--x509", metavar="FILE", help="Its certificate in PEM; - reads standard input.")
@click.option("--token", metavar="TOKEN", help="An access token; - asks for it or reads standard input.")
@click.option("--token-file", metavar="FILE", help="File whose first line is the access token.")
@click.option("--mqtt-basic", is_flag=True, help="MQTT user name, client id and password, by the next three.")
@click.option("--user", metavar="NAME", help="MQTT user name.")
@click.option("--client-id", metavar="ID", help="MQTT client id; the device must use exactly this one.")
@click.option("--password-file", metavar="FILE", help="File whose first line is the password; - for stdin.")
@json_option
def credentials(
    name: str,
    x509: str | None,
    token: str | None,
    token_file: str | None,
    mqtt_basic: bool,
    user: str | None,
    client_id: str | None,
    password_file: str | None,
    as_json: bool,
) -> None:
    """Show what the device NAME proves itself with, or set it by one of the options.

    A device has one kind of credentials at a time. Passwords are asked for or read from a file, because
    everybody on the machine can see arguments; prefer --token-file (or --token -) for the same reason.
    """
    chosen = [flag for flag, given in _kinds(x509, token, token_file, mqtt_basic).items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other.")
    if not mqtt_basic and (user or client_id or password_file):
        raise click.UsageError("--user, --client-id and --password-file belong to --mqtt-basic.")
    change: dict[str, str | None] | None = None
    if x509 is not None:
        change = {"credentialsType": X509, "credentialsId": None, "credentialsValue": _certificates(x509)}
    elif mqtt_basic:
        change = _mqtt_basic(user, client_id, password_file)
    elif token is not None or token_file is not None:
        change = {
            "credentialsType": ACCESS_TOKEN,
            "credentialsId": _token(token, token_file),
            "credentialsValue": None,
        }
    _show_or_save(name, change, as_json)


def describe(found: Credentials) -> list[tuple[str, str | None]]:
    """Credentials as fields for people: a certificate is described, a password is not shown."""
    fields: list[tuple[str, str | None]] = [("credentials", found.credentials_type)]
    if found.credentials_type == ACCESS_TOKEN:
        return [*fields, ("token", found.credentials_id)]
    if found.credentials_type == X509 and found.credentials_value:
        return [
            *fields,
            *_describe_certificate(found.credentials_value),
            ("credentials id", found.credentials_id),
        ]
    if found.credentials_type == MQTT_BASIC and found.credentials_value:
        import msgspec

        from thingpass.cli.shapes import MqttBasic

        basic = msgspec.json.decode(found.credentials_value, type=MqttBasic)
        password = "set (--json shows it)" if basic.password else "none"
        fields += [("user name", basic.user_name), ("client id", basic.client_id), ("password", password)]
    return [*fields, ("credentials id", found.credentials_id)]


def _show_or_save(name: str, change: Mapping[str, str | None] | None, as_json: bool) -> None:
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import Credentials

    client = connect()
    found, _ = find_device(client, name)
    answer = client.get(f"/api/device/{segment(found.id.id)}/credentials")
    if change is not None:
        # ThingsBoard's way: read, change three fields, send the whole back (REST reference, 3.4).
        document = answer.json()
        current = document if isinstance(document, dict) else {}
        answer = client.post("/api/device/credentials", {**current, **change})
    if as_json:
        print_json(answer.json())
        return
    if change is not None:
        click.echo(f"Device {found.name} proves itself with this from now on:")
    print_fields(describe(answer.as_(Credentials)))


def _kinds(x509: str | None, token: str | None, token_file: str | None, mqtt_basic: bool) -> dict[str, bool]:
    return {
        "--x509": x509 is not None,
        "--token": token is not None,
        "--token-file": token_file is not None,
        "--mqtt-basic": mqtt_basic,
    }


def _certificates(source: str) -> str:
    """The certificates of a file as PEM. Read here first, so that a private key never leaves the machine."""
    from thingpass.x509.pasted import read_certificates

    return "".join(certificate.pem for certificate in read_certificates(_read(source)))


def _token(token: str | None, token_file: str | None) -> str:
    if token_file is not None:
        return _first_line(token_file)
    if token != "-":  # noqa: S105
        return str(token)
    return _ask("Access token") if sys.stdin.isatty() else _first_line("-")


def _mqtt_basic(user: str | None, client_id: str | None, password_file: str | None) -> dict[str, str | None]:
    import msgspec

    from thingpass.cli.shapes import MqttBasic

    if user is None and client_id is None:
        raise click.UsageError("--mqtt-basic needs --user, --client-id or both.")
    password: str | None = None
    if password_file is not None:
        password = _first_line(password_file)
    elif user is not None and sys.stdin.isatty():
        password = _ask("MQTT password (empty: none)", empty_is_allowed=True) or None
    elif user is not None:
        raise click.UsageError(
            "Without a terminal to ask on, the password comes from --password-file (- for stdin)."
        )
    value = msgspec.json.encode(MqttBasic(client_id=client_id, user_name=user, password=password)).decode()
    return {"credentialsType": MQTT_BASIC, "credentialsId": None, "credentialsValue": value}


def _describe_certificate(value: str) -> list[tuple[str, str | None]]:
    from thingpass.x509.errors import X509Error
    from thingpass.x509.pasted import read_certificates

    try:
        leaf = read_certificates(value)[0]
    except X509Error as error:  # stored by somebody who did not check
        return [("certificate", error.sentence)]
    return [
        ("subject", leaf.subject),
        ("key", leaf.key_description),
        ("valid", f"{leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC"),
        ("fingerprint", f"SHA-256 {leaf.fingerprint_sha256}"),
    ]


def _ask(question: str, *, empty_is_allowed: bool = False) -> str:
    default = "" if empty_is_allowed else None
    return str(click.prompt(question, hide_input=True, err=True, default=default, show_default=False))


def _first_line(source: str) -> str:
    line = _read(source).decode("utf-8", "replace").partition("\n")[0].rstrip("\r")
    if not line:
        raise Failure(
            f"There is no text on the first line of {'standard input' if source == '-' else source}."
        )
    return line


def _read(source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise Failure(f"{source} cannot be read: {error.strerror}.") from error
