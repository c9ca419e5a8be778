"""Sets of key files on a disk: all or none, private ones for their owner alone from the first byte.

Every file is first written beside its place under another name, and only when all are safely on the disk
are they renamed. What is replaced is kept under another name until the whole set stands, so that no
moment, a power cut included, leaves a machine without its old key and without its new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thingpass.x509.errors import FilesNotWritten

PRIVATE, PUBLIC = 0o600, 0o644
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file to write: its name in its directory, its content, what it is for, and who may read it."""

    name: str
    content: bytes = field(repr=False)
    purpose: str
    mode: int = PRIVATE


def existing_files(directory: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Which of these names are taken already (links that lead nowhere too)."""
    return tuple(path for name in names if os.path.lexists(path := directory / name))


def write_files(directory: Path, files: Sequence[KeyFile], *, replace: bool) -> tuple[Path, ...]:
    """Writes all files into `directory`, made if missing; raises FilesNotWritten, and then none is changed.

    Without `replace`, a name that is taken already is such an error, which names it.
    """
    names = [file.name for file in files]
    taken = existing_files(directory, names)
    if taken and not replace:
        raise FilesNotWritten(
            f"{_listed(taken)} would be overwritten.",
            "Choose another directory with -o, or replace the old keys with --force.",
        )
    unusable = next((path for path in taken if not stat.S_ISREG(path.lstat().st_mode)), None)
    if unusable is not None:
        raise FilesNotWritten(f"{unusable} is no regular file.", "Move it away.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _temporary_files(directory, files) as temporary:
            _put_in_place(directory, names, temporary, replace=replace)
    except OSError as error:
        path = error.filename or directory
        raise FilesNotWritten(
            f"{path} cannot be written: {error.strerror}.", "Choose a directory you may write to with -o."
        ) from None
    return tuple(directory / name for name in names)


@contextlib.contextmanager
def _temporary_files(directory: Path, files: Sequence[KeyFile]) -> Iterator[list[Path]]:
    """The files, complete on the disk under other names; what was not renamed is removed at the end."""
    written: list[Path] = []
    try:
        for file in files:
            path = _beside(directory / file.name, "new")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
            written.append(path)
            with os.fdopen(descriptor, "wb") as target:
                target.write(file.content)
                target.flush()
                os.fchmod(descriptor, file.mode)
                os.fsync(descriptor)
        yield written
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _put_in_place(directory: Path, names: Sequence[str], temporary: Sequence[Path], *, replace: bool) -> None:
    kept: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        if replace:
            for path in existing_files(directory, names):
                old = _beside(path, "old")
                kept[path] = old
                _link_or(_copy, path, old)
        for name, source in zip(names, temporary, strict=True):
            target = directory / name
            if target in kept:
                source.replace(target)
            else:
                _link_or(Path.rename, source, target)  # a link fails where somebody else was faster
            placed.append(target)
        _sync(directory)
    except BaseException:
        _put_back(placed, kept)
        raise
    for old in kept.values():
        old.unlink(missing_ok=True)


def _put_back(placed: Sequence[Path], kept: Mapping[Path, Path]) -> None:
    """As it was before; should even this fail, what is kept stays under its other name."""
    for target in placed:
        if target in kept:
            kept[target].replace(target)
        else:
            target.unlink(missing_ok=True)
    for old in kept.values():  # still there for names that were not reached
        old.unlink(missing_ok=True)


def _link_or(otherwise: Callable[[Path, Path], object], source: Path, target: Path) -> None:
    """A second name for a file; on a file system that has none (FAT, some shared folders) the other way."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        otherwise(source, target)


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(descriptor)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}-{secrets.token_hex(4)}")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
