"""Small secret files in the data directory: made once, 0600, written whole or not at all."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from thingpass.errors import Invalid
from thingpass.private_files import write_private_file

SIGNING_KEY_FILE = "api-signing-key"
LOCAL_SECRET_FILE = "local-secret"  # noqa: S105 (a file name)


def load_or_make_signing_key(data_dir: Path) -> bytes:
    """The 64 bytes that sign access tokens (HS512 wants at least as many, RFC 7518 section 3.2).

    Base64 in DATA_DIR/api-signing-key, made at the first start. Removing the file ends all sessions.
    Raises Invalid when the file holds something else.
    """
    path = data_dir / SIGNING_KEY_FILE
    try:
        key = base64.b64decode(_read_private(path), validate=True)
    except FileNotFoundError:
        key = secrets.token_bytes(64)
        write_private_file(path, base64.b64encode(key) + b"\n")
    except ValueError:
        key = b""
    if len(key) < 64:
        raise Invalid(
            f"{path} is not a signing key: it must hold at least 64 bytes in base64.",
            mend="Remove the file; a new one is made at the next start and everybody logs in again.",
        )
    return key


def load_or_make_local_secret(data_dir: Path) -> str:
    """The secret by which the same user on the same machine needs no login; DATA_DIR/local-secret.

    Raises Invalid when the file is there but too short to be a secret.
    """
    path = data_dir / LOCAL_SECRET_FILE
    try:
        secret = _read_private(path).decode("ascii", "replace")
    except FileNotFoundError:
        secret = secrets.token_urlsafe(32)
        write_private_file(path, secret.encode() + b"\n")
    if len(secret) < 32:
        raise Invalid(
            f"{path} is too short to be a secret.",
            mend="Remove the file; a new one is made at the next start.",
        )
    return secret


def _read_private(path: Path) -> bytes:
    content = path.read_bytes().strip()
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)  # a copy or a backup may have loosened it
    return content
