"""The bytes of OTA packages: a private file each, beside the database, written whole or not at all.

Not rows: fifty megabytes in the writer's transactions would hold up telemetry, and every byte would be
written twice. Files are read and written in threads of their own; few, so that memory stays bounded.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from thingpass.errors import NotFound, Unavailable
from thingpass.store.checksums import SLOW, checksum

T = TypeVar("T")

DIRECTORY: Final = "ota"
_THREADS: Final = 4
_GATHERED: Final = 1 << 18  # what is collected before it goes to a thread
_CHECKSUM_S: Final = 600.0
_UNFINISHED: Final = ".upload-"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class PackageFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._threads: ThreadPoolExecutor | None = None

    def open(self, known: Collection[str]) -> None:
        """Removes what a crash left: unfinished uploads, and files that no row names."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            for path in self._directory.iterdir():
                if path.name not in known:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from error
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-files")

    async def close(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)

    async def run(self, work: Callable[[], T]) -> T:
        """In one of the threads. Raises Unavailable, and NotFound for a file that is not there."""
        if self._threads is None:
            raise Unavailable("The store is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except FileNotFoundError as error:
            raise NotFound("The package's data is gone.") from error
        except OSError as error:
            raise _failed(error) from error

    def path(self, name: str) -> Path:
        return self._directory / name

    async def read(self, name: str, offset: int, size: int) -> bytes:
        path = self.path(name)

        def read() -> bytes:
            with path.open("rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)

        return await self.run(read)

    async def remove(self, name: str) -> None:
        path = self.path(name)
        await self.run(lambda: path.unlink(missing_ok=True))

    async def create(self) -> NewFile:
        """A file that is there under its name only after `keep`."""
        name = secrets.token_hex(16)
        path = self.path(_UNFINISHED + name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return NewFile(self, name, path, await self.run(lambda: os.open(path, flags, 0o600)))


class NewFile:
    """One upload's file; used by one task."""

    def __init__(self, files: PackageFiles, name: str, path: Path, descriptor: int) -> None:
        self.name = name
        self.size = 0
        self._files = files
        self._path = path
        self._descriptor: int | None = descriptor
        self._gathered = bytearray()

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        self._gathered += data
        if len(self._gathered) >= _GATHERED:
            await self._flush()

    async def checksum(self, algorithm: str) -> str:
        """Read back from the disk: what is promised is what lies there."""
        await self._flush()
        if algorithm in SLOW:
            return await self._checksum_of_process(algorithm)

        def compute() -> str:
            with self._path.open("rb") as file:
                return checksum(file, algorithm)

        return await self._files.run(compute)

    async def keep(self) -> None:
        """On the disk, under its name."""
        await self._flush()
        descriptor, target = self._descriptor, self._files.path(self.name)
        assert descriptor is not None

        def keep() -> None:
            os.fsync(descriptor)
            self._path.rename(target)
            directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

        await self._files.run(keep)
        self._close()

    async def discard(self) -> None:
        """After `keep` it does nothing."""
        if self._descriptor is not None:
            self._close()
            await self._files.run(lambda: self._path.unlink(missing_ok=True))

    async def _flush(self) -> None:
        descriptor, data = self._descriptor, bytes(self._gathered)
        assert descriptor is not None
        self._gathered.clear()

        def write() -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]

        if data:
            await self._files.run(write)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    async def _checksum_of_process(self, algorithm: str) -> str:
        descriptor = await self._files.run(lambda: os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "thingpass.store.checksums", algorithm),
                stdin=descriptor,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
            )
        finally:
            os.close(descriptor)
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), _CHECKSUM_S)
        except TimeoutError as error:
            raise Unavailable(f"The {algorithm} took longer than {_CHECKSUM_S:g} s.") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Unavailable(f"The {algorithm} could not be computed.")
        return printed.decode("ascii")


def _failed(error: OSError) -> Unavailable:
    if error.errno in _FULL:
        return Unavailable(
            "The disk is full.", mend="Free space where the data directory is.", code="store-full"
        )
    return Unavailable(
        f"The data of a package cannot be kept or read: {error.strerror}.",
        mend="Check the disk, and owner and mode of the data directory.",
        code="store-failed",
    )
