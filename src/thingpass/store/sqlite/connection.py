"""Opens SQLite files as the store wants them, runs their migrations, and translates the driver's errors.

apsw brings its own SQLite. The system's may be in the range of the bug that corrupts a database in WAL mode
(3.7.0 to 3.51.2), and two SQLite libraries in one process break each other's file locks: so the standard
library's `sqlite3` is used nowhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import apsw

from thingpass.errors import AlreadyExists, Invalid, ThingpassError, Unavailable
from thingpass.store.migrate import Migration

Cell: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Any, ...]  # the types are the schema's (STRICT), which mypy cannot read

_BUSY_TIMEOUT_MS: Final = 5000

# "UNIQUE constraint failed: " + key -> the constraint's published name, and the sentence.
_TAKEN: Final[Mapping[str, tuple[str, str]]] = {
    "tenants.id": ("tenants.id", "This tenant exists already."),
    "users.id": ("users.id", "This user exists already."),
    "users.email": ("users.email", "A user with this e-mail address exists already."),
    "customers.id": ("customers.id", "This customer exists already."),
    "customers.tenant_id, customers.title": (
        "customers.title",
        "A customer with this title exists already.",
    ),
    "device_profiles.id": ("device_profiles.id", "This device profile exists already."),
    "device_profiles.tenant_id, device_profiles.name": (
        "device_profiles.name",
        "A device profile with this name exists already.",
    ),
    "device_profiles.tenant_id": ("device_profiles.default", "The tenant has a default profile already."),
    "device_profiles.provision_key": (
        "device_profiles.provision_key",
        "A device profile with this provision key exists already.",
    ),
    "devices.id": ("devices.id", "This device exists already."),
    "devices.tenant_id, devices.name": ("devices.name", "A device with this name exists already."),
    "ota_packages.id": ("ota_packages.id", "This package exists already."),
    "ota_packages.tenant_id, ota_packages.title, ota_packages.version": (
        "ota_packages.title",
        "A package with this title and version exists already.",
    ),
    "credentials.id": ("credentials.id", "These credentials exist already."),
    "credentials.credentials_id": (
        "credentials.credentials_id",
        "These credentials are given to a device already.",
    ),
    "rpc_calls.id": ("rpc_calls.id", "A call with this id exists already."),
    "rpc_calls.device_number, rpc_calls.request_id": (
        "rpc_calls.request_id",
        "A call with this request id is on its way to the device already.",
    ),
}

# The kind of the driver's error -> code, sentence, mend. What is not here is a fault of ours.
_FAULTS: Final[tuple[tuple[type[apsw.Error], str, str, str | None], ...]] = (
    (apsw.FullError, "store-full", "The disk is full.", "Free space where the data directory is."),
    (
        apsw.IOError,
        "store-failed",
        "The disk failed or is full.",
        "Check the disk and the space where the data directory is.",
    ),
    (apsw.CorruptError, "store-corrupt", "The database is damaged.", "Restore a backup."),
    (apsw.NotADBError, "store-corrupt", "The file is no database.", "Restore a backup."),
    (apsw.ReadOnlyError, "store-read-only", "The database cannot be written.", "Check owner and mode."),
    (apsw.PermissionsError, "store-read-only", "The database cannot be opened.", "Check owner and mode."),
    (apsw.CantOpenError, "store-failed", "The database cannot be opened.", "Check owner, mode and disk."),
    (apsw.BusyError, "store-busy", "The database is held by another process.", None),
    (apsw.LockedError, "store-busy", "The database is held by another process.", None),
    (apsw.TooBigError, "store-too-big", "A value is too big for the database.", None),
    (apsw.NoMemError, "store-failed", "Memory ran out.", None),
)


def open_connection(
    path: Path, *, synchronous: str = "full", read_only: bool = False, page_size: int = 4096
) -> apsw.Connection:
    """A connection in WAL mode; creates the file with mode 0600. Raises Unavailable.

    `synchronous`: "full" makes each commit survive power loss, "normal" only `kill -9`. `page_size` counts
    when the file is created.
    """
    with translated():
        if read_only:
            return _configured(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY))
        _create_private(path)
        connection = _configured(apsw.Connection(str(path)))
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous == 'normal' else 'FULL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection


def _configured(connection: apsw.Connection) -> apsw.Connection:
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    # apsw's SQLite is built with STAT4 and plans a statement with a join anew for every other binding: the
    # look-up of each CONNECT took 46 us, of which planning 38. This keeps the plan.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def get_row(connection: apsw.Connection, sql: str, bindings: Sequence[Cell] = ()) -> Row:
    """The first row of a query that always has one."""
    row: Row | None = connection.execute(sql, bindings).fetchone()
    assert row is not None, sql
    return row


def _create_private(path: Path) -> None:
    # SQLite gives its -wal and -shm files the mode of the database itself.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unavailable(
            f"The database {path} cannot be opened: {error.strerror}.", mend="Check owner and mode."
        ) from error


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error) from error


def translate(error: apsw.Error) -> ThingpassError:
    """The driver's error as one of ours."""
    if isinstance(error, apsw.ConstraintError):
        return _translate_constraint(str(error))
    for kind, code, sentence, mend in _FAULTS:
        if isinstance(error, kind):
            return Unavailable(sentence, mend=mend, code=code)
    return ThingpassError(f"The database refused a statement: {error}", code="store-statement")


def _translate_constraint(message: str) -> ThingpassError:
    _, _, key = message.partition("UNIQUE constraint failed: ")
    if key in _TAKEN:
        constraint, sentence = _TAKEN[key]
        return AlreadyExists(sentence, constraint=constraint)
    if "FOREIGN KEY" in message:
        return Invalid("This refers to something that does not exist, or something still refers to this.")
    return Invalid(f"The database does not accept this: {message}.")


class SqliteMigrations:
    """One SQLite file as `store.migrate` sees it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def applied(self) -> Mapping[int, str]:
        with translated():
            there = self._connection.execute(
                "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'"
            ).fetchone()
            if there is None:
                return {}
            rows: list[Row] = self._connection.execute(
                "SELECT number, checksum FROM migrations ORDER BY number"
            ).fetchall()
            return {row[0]: row[1] for row in rows}

    def apply(self, migration: Migration) -> None:
        with translated(), self._connection:  # a transaction
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                " checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT"
            )
            self._connection.execute(migration.sql)
            self._connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, ?)",
                (migration.number, migration.name, migration.checksum, time.time_ns() // 1_000_000),
            )
