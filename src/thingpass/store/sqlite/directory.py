"""The data directory: private to its owner, and served by one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from thingpass.errors import Unavailable

DATABASE = "thingpass.db"
SERIES_DATABASE = "series.db"
_LOCK = "thingpass.lock"
FOLDING_LOCK = "folding.lock"


class DirectoryLock:
    """Holds the data directory for this process; the kernel lets go when the process ends."""

    def __init__(self, directory: Path, name: str = _LOCK) -> None:
        self._path = directory / name
        self._descriptor: int | None = None

    def acquire(self, *, wait_s: float = 0.0) -> None:
        """Waits so long for another holder. Raises Unavailable, naming the process that holds it."""
        descriptor = _open_private(self._path)
        deadline = time.monotonic() + wait_s
        try:
            while not _try_lock(descriptor, last=time.monotonic() >= deadline):
                time.sleep(0.02)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"The data directory {self._path.parent} is in use by another Thingpass (process {holder}).",
                mend="Stop that process, or give this one a --data-dir of its own.",
                code="store-in-use",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def prepare_directory(directory: Path) -> None:
    """Creates it with mode 0700 where it is missing. Raises Unavailable."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The data directory {directory} cannot be created: {error.strerror}.",
            mend="Give a --data-dir that you may write to.",
        ) from error


def _try_lock(descriptor: int, *, last: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if last:
            raise
        return False
    return True


def _open_private(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be opened: {error.strerror}.", mend="Give a --data-dir that you may write to."
        ) from error
