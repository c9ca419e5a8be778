"""The fleet's private keys and self-signed certificates, kept so that a second run need not make them.

They are a simulation's: worth nothing, and yet private from their first byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from thingpass.private_files import write_private_file
from thingpass.x509 import private_keys
from thingpass.x509.keygen_properties import Subject
from thingpass.x509.private_keys import KeyKind
from thingpass.x509.self_signed import make_client_pair

CERTIFICATE_BEGINS: Final = "-----BEGIN CERTIFICATE-----"
_KEY_BEGINS: Final = "-----BEGIN PRIVATE KEY-----"
_MADE_AT_ONCE: Final = 64


def cache_directory(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/thingpass/simulate`, or under `~/.cache` (XDG Base Directory Specification)."""
    given = environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "thingpass" / "simulate"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".cache" / "thingpass" / "simulate"


def load_or_make_keys(
    directory: Path, prefix: str, names: list[str], *, progress: Callable[[int], None]
) -> list[str]:
    """Key and certificate, PEM, for each name; `progress` hears how many are there. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{prefix}.pem"
    keys = _read(path)[: len(names)]
    missing = names[len(keys) :]
    if missing:
        threads = min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "keys") as pool:
            for first in range(0, len(missing), _MADE_AT_ONCE):
                keys += pool.map(make_key, missing[first : first + _MADE_AT_ONCE])
                progress(len(keys))
        write_private_file(path, "".join(keys).encode())
    progress(len(keys))
    return keys


def make_key(name: str) -> str:
    made = make_client_pair(Subject(common_name=name), KeyKind(), now=datetime.now(UTC))
    return private_keys.pkcs8_pem(made.private_key).decode() + made.certificate.pem


def certificate_of(key_pem: str) -> str:
    """The certificate alone: the key goes nowhere."""
    return key_pem[key_pem.index(CERTIFICATE_BEGINS) :]


def _read(path: Path) -> list[str]:
    try:
        text = path.read_text("ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    return list(_split(text))


def _split(text: str) -> Iterator[str]:
    for part in text.split(_KEY_BEGINS)[1:]:
        if CERTIFICATE_BEGINS in part:
            yield _KEY_BEGINS + part
