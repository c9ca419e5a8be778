"""Where the server's certificate comes from: the files that the settings name, or one made at first start."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from thingpass.errors import Invalid
from thingpass.settings import TlsSettings
from thingpass.tls.server_certificate import ServerCertificate
from thingpass.x509.errors import X509Error
from thingpass.x509.key_files import PUBLIC, KeyFile, write_files
from thingpass.x509.keystores import ServerIdentity, load_identity
from thingpass.x509.self_signed import make_server_certificate

log = structlog.get_logger(__name__)

OWN_CERTIFICATE: Final = "server.pub.pem"
OWN_KEY: Final = "server.pk8.pem"


def load_server_certificate(settings: TlsSettings, data_dir: Path) -> ServerCertificate:
    """The certificate to show, checked. Raises Invalid with the file and the mend."""
    if settings.server_cert is None:
        certificate_path = data_dir / OWN_CERTIFICATE
        key_path: Path | None = data_dir / OWN_KEY
        if not certificate_path.exists():
            _make_own(data_dir, settings.server_names)
    else:
        certificate_path, key_path = settings.server_cert, settings.server_key
    files = tuple(path for path in (certificate_path, key_path) if path is not None)

    def load() -> ServerIdentity:
        return load_identity(certificate_path, key_path, _password(settings), settings.server_key_alias)

    try:
        for warning in load().warnings(datetime.now(UTC)):
            log.warning("certificate.doubtful", file=str(certificate_path), problem=warning)
        return ServerCertificate(load, files, minimum_version=settings.minimum_version)
    except X509Error as error:
        raise Invalid(error.sentence, mend=error.mend) from error


def _make_own(data_dir: Path, extra_names: tuple[str, ...]) -> None:
    names = (socket.gethostname(), *extra_names)
    identity = make_server_certificate(names, now=datetime.now(UTC))
    files = (
        KeyFile(OWN_KEY, identity.private_key_pem, "the server's key"),
        KeyFile(OWN_CERTIFICATE, identity.chain_pem.encode(), "the server's certificate", PUBLIC),
    )
    # A key without its certificate is left over from a start that was cut short.
    write_files(data_dir, files, replace=True)
    log.info(
        "certificate.made", file=str(data_dir / OWN_CERTIFICATE), names=identity.chain[0].alternative_names
    )


def _password(settings: TlsSettings) -> bytes | None:
    if settings.server_key_password is not None:
        return settings.server_key_password.reveal().encode()
    if settings.server_key_password_file is None:
        return None
    try:
        return settings.server_key_password_file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise Invalid(
            f"The password file {settings.server_key_password_file} cannot be read: {error.strerror}.",
            mend="Check tls.server_key_password_file and who may read it.",
        ) from error
