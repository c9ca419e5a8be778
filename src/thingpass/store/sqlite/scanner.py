"""One thread with a reading connection of its own, for reads that would hold up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from thingpass.errors import Unavailable
from thingpass.store.sqlite.connection import open_connection, translated

T = TypeVar("T")


class Scanner:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="store-scan")
        self._connection: apsw.Connection | None = None

    async def run(self, scan: Callable[[apsw.Connection], T]) -> T:
        """The result of `scan` in the thread. Raises what it raised, translated."""
        if self._thread is None:
            raise Unavailable("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._scan, scan)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    def _scan(self, scan: Callable[[apsw.Connection], T]) -> T:
        if self._connection is None:
            self._connection = open_connection(self._path, read_only=True)
        with translated():
            return scan(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
