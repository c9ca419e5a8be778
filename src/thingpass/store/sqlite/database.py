"""`thingpass.db` as the rooms' rows see it: point reads at once, scans in a thread, writes in the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import apsw

from thingpass.errors import Unavailable
from thingpass.store.migrate import load_migrations, migrate
from thingpass.store.sqlite.connection import (
    Cell,
    Row,
    SqliteMigrations,
    open_connection,
    translate,
    translated,
)
from thingpass.store.sqlite.scanner import Scanner
from thingpass.store.sqlite.writer import Writer

T = TypeVar("T")

_PROOF_S: Final = 1.0
_PROBE_BYTES: Final = 65_536


class Database:
    """Three connections to one file: the loop's (reads), the scan thread's (reads), the writer thread's.

    A point read takes 6 us on the loop; through a thread it would take 350.
    """

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self._path = path
        self._reads: apsw.Connection | None = None
        self.writer = Writer(path, synchronous=synchronous)
        self._scanner = Scanner(path)

    def open(self) -> list[str]:
        """Creates or migrates; gives the names of the migrations that were applied. Raises Unavailable."""
        connection = open_connection(self._path)
        try:
            with translated():
                applied = migrate(
                    SqliteMigrations(connection), load_migrations("sqlite", "thingpass"), self._path.name
                )
        finally:
            connection.close()
        self._reads = open_connection(self._path, read_only=True)
        self.writer.start()
        return applied

    async def close(self) -> None:
        await self._scanner.close()
        await self.writer.stop()
        if self._reads is not None:
            self._reads.close()
            self._reads = None

    def find_one(self, sql: str, bindings: Sequence[Cell]) -> Row | None:
        """The first row, or None."""
        try:
            row: Row | None = self._open_reads().execute(sql, bindings).fetchone()
        except apsw.Error as error:
            raise translate(error) from error
        return row

    def find_all(self, sql: str, bindings: Sequence[Cell]) -> list[Row]:
        """For queries that an index keeps short."""
        try:
            return self._open_reads().execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise translate(error) from error

    async def scan(self, run: Callable[[apsw.Connection], T]) -> T:
        """For reads that may take longer than the loop should stand still."""
        return await self._scanner.run(run)

    async def write(self, run: Callable[[apsw.Connection], T]) -> T:
        """Runs in the writer's transaction; returns when it is durable."""
        return await self.writer.submit(run)

    async def check_writing(self, now_ms: int) -> None:
        """Commits something unless a commit of the last second went well. Raises Unavailable."""
        if time.monotonic() - self.writer.committed_at > _PROOF_S:
            await self.write(
                lambda connection: connection.execute(
                    "UPDATE write_check SET checked_at_ms = ?, padding = zeroblob(?)", (now_ms, _PROBE_BYTES)
                )
            )

    def _open_reads(self) -> apsw.Connection:
        if self._reads is None:
            raise Unavailable("The store is closed.")
        return self._reads
