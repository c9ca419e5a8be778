"""`thingpass keygen`: the files of ThingsBoard's key generation scripts, without Java, openssl or a shell.

Nothing is asked: what would be overwritten is an error without `--force`, and standard input is never read.
"""

from __future__ import annotations

import dataclasses
import shlex
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import Command, json_option, print_fields, print_json

if TYPE_CHECKING:
    from thingpass.x509.certificate import Certificate
    from thingpass.x509.key_files import KeyFile
    from thingpass.x509.key_sets import KeySet
    from thingpass.x509.keygen_properties import KeygenProperties, KeySettings

CERTIFICATE_PATH = "/api/device-connectivity/mqtts/certificate/download"
_TIMEOUT_S = 10.0
_LARGEST_ANSWER = 256 * 1024
_TLS_SCHEMES = ("mqtts", "ssl", "tls")
_PRINTED_PASSWORDS = frozenset({"password", "server_ks_password", "server_key_password"})


@click.group()
def keygen() -> None:
    """Make the keys and certificates of the server and of devices."""


def _key_options(command: Command) -> Command:
    """The options of both sides; -p, -d and their long forms are those of ThingsBoard's scripts too."""
    decorators: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "-p", "--props", "--properties", "properties_file", default="keygen.properties",
            show_default=True, metavar="FILE", help="Names, passwords and kinds of keys.",
        ),
        click.option(
            "-o", "-d", "--out", "--dir", "--directory", "directory", default=".", metavar="DIR",
            type=click.Path(path_type=Path), help="Where the files go; made if missing. [default: here]",
        ),
        click.option("--force", is_flag=True, help="Replace the keys that are there."),
        click.option(
            "--days", type=click.IntRange(1, 9999), default=3650, show_default=True,
            help="How long the certificate is valid.",
        ),
        json_option,
    )  # fmt: skip
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@keygen.command(short_help="Make a server's key and certificate.")
@_key_options
@click.option(
    "-c", "--copy", type=click.BOOL, default=False, metavar="true|false",
    help="Also write the files to SERVER_KEYSTORE_DIR. [default: false]",
)  # fmt: skip
def server(properties_file: str, directory: Path, force: bool, days: int, as_json: bool, copy: bool) -> None:
    """Make a server's key and self-signed certificate, as server.keygen.sh does.

    Clients need PREFIX.pub.pem to trust the server. Its certificate is valid for the host's name, localhost,
    the loopback addresses, DOMAIN_SUFFIX and SUBJECT_ALTERNATIVE_NAMES.
    """
    from thingpass.x509.key_sets import make_server_set, server_file_names

    properties = _properties(properties_file)
    settings = _settings(properties.server, "SERVER", properties_file)
    directories = [directory]
    if copy:
        directories.append(_copy_directory(properties, properties_file))
    names = server_file_names(settings.file_prefix)
    _refuse_overwriting(directories, names, force=force)
    keys = make_server_set(
        properties, settings, host_name=socket.gethostname(), now=datetime.now(UTC), days=days
    )
    written = _write(keys, directories, force=force)
    certificate_file = directory / f"{settings.file_prefix}.pub.pem"
    key_file = directory / f"{settings.file_prefix}.pk8.pem"
    following = f"thingpass up --server-cert {_quoted(certificate_file)} --server-key {_quoted(key_file)}"
    if as_json:
        print_json(_as_json(keys, written, following))
        return
    _print("Server", keys, written, settings)
    click.echo(f"\nThe server uses it with:\n  {following}")


@keygen.command(short_help="Make a device's key and certificate.")
@_key_options
@click.option("--server-cert", metavar="FILE", help="The server's certificate, PEM or DER.")
@click.option(
    "--server", "server_url", metavar="URL",
    help="A running server to get it from: http://HOST:8080, or mqtts://HOST:8883 for the one it shows.",
)  # fmt: skip
@click.option(
    "--common-name", metavar="NAME", help="The device's name in its certificate, for DOMAIN_SUFFIX."
)
def client(
    properties_file: str,
    directory: Path,
    force: bool,
    days: int,
    as_json: bool,
    server_cert: str | None,
    server_url: str | None,
    common_name: str | None,
) -> None:
    """Make a device's key and self-signed certificate, as client.keygen.sh does.

    The Java key store also trusts the server: its certificate comes from the .pub.pem or .cer file that
    `thingpass keygen server` left in the same directory, from a file, or from a running server.
    """
    from thingpass.x509.key_sets import client_file_names, make_client_set

    if server_cert is not None and server_url is not None:
        raise click.UsageError("--server-cert and --server exclude each other.")
    properties = _properties(properties_file)
    settings = _settings(properties.client, "CLIENT", properties_file)
    _refuse_overwriting([directory], client_file_names(settings.file_prefix), force=force)
    server_certificates = _server_certificates(properties, directory, server_cert, server_url)
    subject = properties.subject
    if common_name is not None:
        subject = dataclasses.replace(subject, common_name=common_name)
    keys = make_client_set(
        subject,
        settings,
        server_alias=properties.server_alias,
        server_certificates=server_certificates,
        now=datetime.now(UTC),
        days=days,
    )
    written = _write(keys, [directory], force=force)
    public_file = directory / f"{settings.file_prefix}.pub.pem"
    following = f"thingpass device credentials NAME --x509 {_quoted(public_file)}"
    if as_json:
        print_json(_as_json(keys, written, following, server_certificates))
        return
    _print("Device", keys, written, settings)
    _print_identity(keys, server_certificates[0])
    click.echo(f"\nGive the certificate to a device with:\n  {following}")


@keygen.command(short_help="Write a sample keygen.properties.")
@click.argument("file", default="keygen.properties", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def properties(file: Path, force: bool) -> None:
    """Write a sample keygen.properties, as ThingsBoard's guide prints it, to FILE."""
    from thingpass.x509.key_files import KeyFile, write_files
    from thingpass.x509.keygen_properties import SAMPLE

    write_files(file.parent, [KeyFile(file.name, SAMPLE.encode(), "settings of keygen")], replace=force)
    click.echo(f"{file} is written (mode 0600). Change the passwords in it, then: thingpass keygen server")


def _properties(properties_file: str) -> KeygenProperties:
    from thingpass.x509.errors import PropertiesInvalid
    from thingpass.x509.keygen_properties import read_properties
    from thingpass.x509.shell_assignments import LARGEST_FILE

    try:
        with Path(properties_file).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        sentence = f"{properties_file}: the file cannot be read ({error.strerror}); name another with -p FILE"
        if isinstance(error, FileNotFoundError):
            sentence = (
                f"{properties_file}: there is no such file; write one with `thingpass keygen properties"
                f"{'' if properties_file == 'keygen.properties' else f' {shlex.quote(properties_file)}'}`,"
                " or name another with -p FILE"
            )
        raise Failure(sentence) from error
    try:
        return read_properties(
            content, properties_file, host_name=socket.gethostname, full_host_name=socket.getfqdn
        )
    except PropertiesInvalid as error:
        raise Failure(str(error)) from error


def _settings(settings: KeySettings | None, side: str, properties_file: str) -> KeySettings:
    if settings is None:
        raise Failure(
            f"{properties_file}: {side}_KEYSTORE_PASSWORD is missing; add a line with a password"
            " of 6 characters or more"
        )
    return settings


def _copy_directory(properties: KeygenProperties, properties_file: str) -> Path:
    if not properties.server_keystore_dir:
        raise Failure(f"{properties_file}: SERVER_KEYSTORE_DIR is missing; --copy true needs it")
    return Path(properties.server_keystore_dir)


def _refuse_overwriting(directories: Sequence[Path], names: Sequence[str], *, force: bool) -> None:
    """Seen before a key is made or a server is asked; the writer looks again."""
    from thingpass.x509.key_files import existing_files

    taken = [path for directory in directories for path in existing_files(directory, names)]
    if taken and not force:
        raise Failure(
            f"These files are there already: {', '.join(map(str, taken))}.",
            "Choose another directory with -o DIR, or replace the keys with --force.",
        )


def _write(keys: KeySet, directories: Sequence[Path], *, force: bool) -> list[Path]:
    from thingpass.x509.key_files import write_files

    return [path for directory in directories for path in write_files(directory, keys.files, replace=force)]


def _server_certificates(
    properties: KeygenProperties, directory: Path, server_cert: str | None, server_url: str | None
) -> Sequence[Certificate]:
    """From the file or the server that was named, else from the files beside."""
    from thingpass.x509.keystores import read_certificate_file

    if server_cert is not None:
        return read_certificate_file(Path(server_cert))
    if server_url is not None:
        return _certificates_of_server(server_url)
    beside = [directory / f"{properties.server_file_prefix}{ending}" for ending in (".pub.pem", ".cer")]
    for path in beside:
        if path.exists():
            return read_certificate_file(path)
    raise Failure(
        f"The server's certificate is needed, but there is neither {beside[0]} nor {beside[1]}.",
        "Make it with `thingpass keygen server`, name it with --server-cert FILE, or get it from a running"
        " server with --server http://HOST:8080.",
    )


def _certificates_of_server(url: str) -> Sequence[Certificate]:
    from urllib.parse import urlsplit

    from thingpass.x509.errors import NotACertificate
    from thingpass.x509.pasted import read_certificates

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https", *_TLS_SCHEMES):
        raise click.BadParameter(
            "write it as http://HOST:8080, https://HOST or mqtts://HOST:8883", param_hint="--server"
        )
    by_handshake = parts.scheme in _TLS_SCHEMES
    answer = _shown_in_handshake(host, port or 8883) if by_handshake else _downloaded(url)
    try:
        found = read_certificates(answer)
    except NotACertificate as error:
        raise Failure(
            f"{url} answered with something else: {error.sentence}",
            "Check the address; Thingpass answers for its certificate on its HTTP port (8080).",
        ) from error
    click.echo(
        f"{url} gave the certificate of {found[0].subject}\n"
        f"  SHA-256 {found[0].fingerprint_sha256}\n"
        "  Compare this with what the server printed when it started.",
        err=True,
    )
    return found


def _shown_in_handshake(host: str, port: int) -> bytes:
    import ssl

    try:
        return ssl.get_server_certificate((host, port), timeout=_TIMEOUT_S).encode()
    except OSError as error:  # ssl.SSLError is one
        raise Failure(
            f"{host}:{port} did not show a certificate: {error.strerror or error}.",
            "Check that the server runs and that this is its MQTT port with TLS (8883).",
        ) from error


def _downloaded(url: str) -> bytes:
    import http.client
    import ssl
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    address = url.rstrip("/") + CERTIFICATE_PATH
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read(_LARGEST_ANSWER + 1))
    except HTTPError as error:
        sentence, mend = f"{address} answered {error.code}", "Check that this is the address of a server."
        error.close()
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        sentence, mend = f"{address} gave no answer: {reason}", "Check that the server runs and the address."
        if isinstance(reason, ssl.SSLCertVerificationError):
            mend = "Use --server mqtts://HOST:8883 and compare the fingerprint with the server's."
    raise Failure(f"{sentence}.", mend)


def _print(side: str, keys: KeySet, written: Sequence[Path], settings: KeySettings) -> None:
    certificate = keys.certificate
    names = certificate.alternative_names
    print_fields(
        [
            (side, certificate.subject),
            ("key", certificate.key_description),
            ("valid", f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"),
            ("answers to", ", ".join(names) if names else None),
            ("fingerprint", f"SHA-256 {certificate.fingerprint_sha256}"),
        ]
    )
    width = max(len(str(path)) for path in written)
    click.echo("\nWritten:")
    for path, file in _with_files(written, keys):
        click.echo(f"  {str(path).ljust(width)}  {file.mode:04o}  {file.purpose}")
    if _PRINTED_PASSWORDS & {settings.keystore_password, settings.key_password}:
        click.echo(
            "\nNote: the passwords are the ones that ThingsBoard's guide prints; choose your own before these"
            " files leave this machine.",
            err=True,
        )


def _print_identity(keys: KeySet, trusted: Certificate) -> None:
    click.echo()
    print_fields(
        [
            ("credentialsId", keys.certificate.credentials_id),
            ("trusts", f"{trusted.subject}\nSHA-256 {trusted.fingerprint_sha256}"),
        ]
    )


def _as_json(
    keys: KeySet, written: Sequence[Path], following: str, trusted: Sequence[Certificate] = ()
) -> dict[str, object]:
    certificate = keys.certificate
    return {
        "subject": certificate.subject,
        "key": certificate.key_description,
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
        "alternativeNames": certificate.alternative_names,
        "fingerprintSha256": certificate.fingerprint_sha256,
        "credentialsId": certificate.credentials_id,
        "trustedFingerprintsSha256": [one.fingerprint_sha256 for one in trusted],
        "files": [
            {"path": str(path), "mode": f"{file.mode:04o}", "purpose": file.purpose}
            for path, file in _with_files(written, keys)
        ],
        "next": following,
    }


def _with_files(written: Sequence[Path], keys: KeySet) -> list[tuple[Path, KeyFile]]:
    """Each path with the file it was written from; with --copy the files come round twice."""
    by_name = {file.name: file for file in keys.files}
    return [(path, by_name[path.name]) for path in written]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
