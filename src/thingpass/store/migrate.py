"""Applies numbered migrations in order, each in the transaction that also notes it.

A migration that was applied is never edited: its checksum is kept in the database and compared at every
start. A database that knows more migrations than this program was written by a newer one and is refused,
because writing to it could break what the newer program relies on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Protocol

import msgspec

from thingpass.errors import Unavailable


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigratedDatabase(Protocol):
    """What a kind of database must be able to do for its migrations."""

    def applied(self) -> Mapping[int, str]:
        """The checksums of the migrations that are in, by number; empty for a new database."""

    def apply(self, migration: Migration) -> None:
        """Runs it and notes it, both or neither."""


@cache
def load_migrations(*folder: str) -> tuple[Migration, ...]:
    """The migrations of one database, such as `load_migrations("sqlite", "series")`, in order."""
    where = files("thingpass.store.migrations").joinpath(*folder)
    names = sorted(entry.name for entry in where.iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(int(name.split("_", 1)[0]), name, where.joinpath(name).read_text("utf-8")) for name in names
    )


def migrate(database: MigratedDatabase, migrations: Sequence[Migration], what: str) -> list[str]:
    """Brings the database up to date; gives the names of what was applied.

    `what` names the database in errors. Raises Unavailable (code `store-newer` or `store-altered`) before
    anything is written when the database does not fit this program.
    """
    applied = database.applied()
    check_applied(applied, migrations, what)
    pending = [migration for migration in migrations if migration.number not in applied]
    for migration in pending:
        database.apply(migration)
    return [migration.name for migration in pending]


def check_applied(applied: Mapping[int, str], migrations: Sequence[Migration], what: str) -> None:
    known = {migration.number: migration for migration in migrations}
    for number, checksum in applied.items():
        if number not in known:
            raise Unavailable(
                f"{what} was written by a newer Thingpass (migration {number} is unknown here).",
                mend="Run the newer version, or restore a backup that this version wrote.",
                code="store-newer",
            )
        if known[number].checksum != checksum:
            raise Unavailable(
                f"{what} was made by another {known[number].name} than this program has.",
                mend="Run the version that made it, or restore a backup.",
                code="store-altered",
            )
