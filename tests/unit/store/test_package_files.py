"""What lies beside the database after uploads, removals and crashes."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thingpass.errors import NotFound, Unavailable
from thingpass.store.sqlite.package_files import DIRECTORY, PackageFiles


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[PackageFiles]:
    files = PackageFiles(tmp_path)
    files.open(())
    yield files
    await files.close()


async def test_kept_file_is_private_and_alone(files: PackageFiles, tmp_path: Path) -> None:
    file = await files.create()
    await file.write(b"abc")
    await file.keep()
    await file.discard()
    [path] = (tmp_path / DIRECTORY).iterdir()
    assert path.name == file.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await files.read(file.name, 1, 10) == b"bc"


async def test_discarded_upload_leaves_nothing(files: PackageFiles, tmp_path: Path) -> None:
    file = await files.create()
    await file.write(b"abc" * 200_000)
    await file.discard()
    assert list((tmp_path / DIRECTORY).iterdir()) == []


async def test_start_clears_away_what_no_row_names(files: PackageFiles, tmp_path: Path) -> None:
    kept, orphan = await files.create(), await files.create()
    unfinished = await files.create()
    for file in (kept, orphan):
        await file.write(b"abc")
        await file.keep()
    again = PackageFiles(tmp_path)
    again.open({kept.name})
    assert [path.name for path in (tmp_path / DIRECTORY).iterdir()] == [kept.name]
    await again.close()
    await unfinished.discard()


async def test_file_that_is_gone_is_not_found(files: PackageFiles) -> None:
    with pytest.raises(NotFound):
        await files.read("no-such-name", 0, 1)


async def test_closed_files_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await PackageFiles(tmp_path).read("x", 0, 1)
