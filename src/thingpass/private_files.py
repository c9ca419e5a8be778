"""Files that hold keys and secrets: private from their first byte, written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def write_private_file(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`, 0600, never half written. Raises OSError."""
    write_files({path: (content, PRIVATE)})


def write_files(files: Mapping[Path, tuple[bytes, int]]) -> None:
    """Writes a set that belongs together: all contents first, to the disk, then one rename after the other.

    The number of each file is its mode. A failure before the first rename leaves everything as it was; an old
    file is there, whole, until its new one takes its place. Raises OSError.
    """
    written: dict[Path, Path] = {}
    try:
        for path, (content, mode) in files.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
            written[temporary] = path
            _write_new(temporary, content, mode)
        for temporary, path in written.items():
            temporary.replace(path)
        for folder in {path.parent for path in files}:
            _sync_folder(folder)
    except BaseException:
        for temporary in written:
            temporary.unlink(missing_ok=True)
        raise


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """So that the new names survive a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
