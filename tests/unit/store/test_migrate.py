from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from thingpass.errors import Unavailable
from thingpass.store.migrate import Migration, load_migrations, migrate
from thingpass.store.sqlite.connection import SqliteMigrations, open_connection
from thingpass.store.sqlite.store import SqliteStore

DATABASES = ["thingpass", "series"]


def schema(connection: apsw.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    return open_connection(tmp_path / "test.db")


@pytest.mark.parametrize("database", DATABASES)
def test_migrations_are_numbered_from_one_without_gaps(database: str) -> None:
    migrations = load_migrations("sqlite", database)
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    assert all(migration.name.startswith(f"{migration.number:04}_") for migration in migrations)


@pytest.mark.parametrize("database", DATABASES)
def test_database_migrated_step_by_step_is_like_a_fresh_one(database: str, tmp_path: Path) -> None:
    migrations = load_migrations("sqlite", database)
    fresh, stepwise = (open_connection(tmp_path / name) for name in ("fresh.db", "stepwise.db"))
    assert migrate(SqliteMigrations(fresh), migrations, "fresh") == [one.name for one in migrations]
    for end in range(1, len(migrations) + 1):
        migrate(SqliteMigrations(stepwise), migrations[:end], "stepwise")
    assert schema(stepwise) == schema(fresh)
    assert migrate(SqliteMigrations(fresh), migrations, "fresh") == []
    fresh.close()
    stepwise.close()


def test_migration_that_fails_leaves_nothing(connection: apsw.Connection) -> None:
    good = Migration(1, "0001_good.sql", "CREATE TABLE a (b)")
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE c (d); CREATE TABLE a (b)")
    with pytest.raises(Exception, match="already exists"):
        migrate(SqliteMigrations(connection), [good, bad], "test.db")
    assert dict(SqliteMigrations(connection).applied()) == {1: good.checksum}
    assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'c'").fetchone() is None


def test_newer_database_is_refused_and_not_touched(connection: apsw.Connection) -> None:
    ours = Migration(1, "0001_ours.sql", "CREATE TABLE a (b)")
    theirs = Migration(2, "0002_theirs.sql", "CREATE TABLE c (d)")
    migrate(SqliteMigrations(connection), [ours, theirs], "test.db")
    before = schema(connection)
    with pytest.raises(Unavailable) as caught:
        migrate(SqliteMigrations(connection), [ours], "test.db")
    assert caught.value.code == "store-newer"
    assert "test.db" in caught.value.sentence
    assert schema(connection) == before


def test_migration_that_was_edited_is_refused(connection: apsw.Connection) -> None:
    migrate(SqliteMigrations(connection), [Migration(1, "0001_a.sql", "CREATE TABLE a (b)")], "test.db")
    with pytest.raises(Unavailable) as caught:
        migrate(SqliteMigrations(connection), [Migration(1, "0001_a.sql", "CREATE TABLE a (c)")], "test.db")
    assert caught.value.code == "store-altered"


@pytest.mark.parametrize("file", ["thingpass.db", "series.db"])
async def test_store_refuses_files_of_a_newer_thingpass(file: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    await store.append_samples([(1, b"\x92\x01\x80")])
    await store.fold_all()
    await store.close()
    connection = open_connection(tmp_path / file)
    connection.execute("INSERT INTO migrations VALUES (9999, '9999_later.sql', 'x', 0)")
    connection.close()
    with pytest.raises(Unavailable) as caught:
        await SqliteStore(tmp_path).open()
    assert caught.value.code == "store-newer"
    assert file in caught.value.sentence


async def test_older_series_database_is_migrated_before_it_is_read(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "series.db")
    migrate(SqliteMigrations(connection), [], "series.db")  # nothing is applied yet
    connection.execute("CREATE TABLE migrations (number, name, checksum, applied_at_ms)")
    connection.close()
    store = SqliteStore(tmp_path)
    await store.open()
    assert await store.latest(1, None) == {}
    await store.close()


async def test_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "thingpass.db").write_bytes(b"this is a text, and a long one at that" * 40)
    with pytest.raises(Unavailable) as caught:
        await SqliteStore(tmp_path).open()
    assert caught.value.code == "store-corrupt"
