"""Sets of key files: all or none, private from the first byte, and the old key never lost half way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from thingpass.x509 import key_files
from thingpass.x509.errors import FilesNotWritten
from thingpass.x509.key_files import PRIVATE, PUBLIC, KeyFile, existing_files, write_files

FILES = [KeyFile("a.pem", b"new key", "key"), KeyFile("a.pub.pem", b"new certificate", "certificate", PUBLIC)]
NAMES = [file.name for file in FILES]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def old_set(directory: Path) -> dict[str, bytes]:
    for name in NAMES:
        (directory / name).write_bytes(b"old " + name.encode())
        (directory / name).chmod(0o640)
    return contents(directory)


def test_files_are_written_with_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        written = write_files(tmp_path / "new" / "directory", FILES, replace=False)
    finally:
        os.umask(previous)
    assert [path.read_bytes() for path in written] == [b"new key", b"new certificate"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in written] == [PRIVATE, PUBLIC]
    assert contents(tmp_path / "new" / "directory").keys() == set(NAMES)


def test_no_file_is_ever_readable_by_others_before_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    monkeypatch.setattr(
        os, "fsync", lambda _: modes.extend(stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob(".a.pem.*"))
    )
    write_files(tmp_path, FILES, replace=False)
    assert modes
    assert set(modes) == {PRIVATE}


def test_nothing_is_overwritten_without_replace(tmp_path: Path) -> None:
    (tmp_path / "a.pub.pem").write_bytes(b"old")
    with pytest.raises(FilesNotWritten, match=r"a\.pub\.pem would be overwritten") as refusal:
        write_files(tmp_path, FILES, replace=False)
    assert "--force" in str(refusal.value.mend)
    assert contents(tmp_path) == {"a.pub.pem": b"old"}


def test_link_that_leads_nowhere_counts_as_existing(tmp_path: Path) -> None:
    (tmp_path / "a.pem").symlink_to(tmp_path / "nowhere")
    assert existing_files(tmp_path, NAMES) == (tmp_path / "a.pem",)
    for replace in (False, True):
        with pytest.raises(FilesNotWritten):
            write_files(tmp_path, FILES, replace=replace)


def test_replace_takes_new_content_and_mode(tmp_path: Path) -> None:
    old_set(tmp_path)
    write_files(tmp_path, FILES, replace=True)
    assert contents(tmp_path) == {"a.pem": b"new key", "a.pub.pem": b"new certificate"}
    assert stat.S_IMODE((tmp_path / "a.pem").stat().st_mode) == PRIVATE


def test_directory_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pem").mkdir()
    with pytest.raises(FilesNotWritten, match="no regular file"):
        write_files(tmp_path, FILES, replace=True)


def failing_at(call: int, original: Callable[..., object]) -> Callable[..., object]:
    """The function, whose n-th call fails as a full disk does."""
    calls = 0

    def fail(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments, **options)

    return fail


STEPS = [(os, "open"), (os, "fsync"), (os, "link"), (os, "fchmod"), (Path, "replace")]


@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("has_old", [False, True])
def test_failure_at_any_step_leaves_everything_as_it_was(
    owner: object, name: str, call: int, has_old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old_set(tmp_path) if has_old else {}
    monkeypatch.setattr(owner, name, failing_at(call, getattr(owner, name)))
    if (owner, has_old) == (Path, False):
        write_files(tmp_path, FILES, replace=False)  # new files are linked, not renamed over others
        return
    with pytest.raises(FilesNotWritten, match="No space left"):
        write_files(tmp_path, FILES, replace=has_old)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("has_old", [False, True])
def test_file_system_without_links_is_served_too(
    has_old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if has_old:
        old_set(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    write_files(tmp_path, FILES, replace=has_old)
    assert contents(tmp_path) == {"a.pem": b"new key", "a.pub.pem": b"new certificate"}


def test_old_key_exists_at_every_moment_of_a_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old_set(tmp_path)
    moments: list[set[bytes]] = []
    original = Path.replace

    def watched(path: Path, target: Path) -> Path:
        moments.append(set(contents(tmp_path).values()))
        result = original(path, target)
        moments.append(set(contents(tmp_path).values()))
        return result

    monkeypatch.setattr(Path, "replace", watched)
    write_files(tmp_path, FILES, replace=True)
    assert len(moments) == 2 * len(FILES)
    assert all(moment >= set(before.values()) for moment in moments)


def test_forbidden_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(key_files.Path, "mkdir", refuse)
    with pytest.raises(FilesNotWritten, match="Permission denied") as refusal:
        write_files(tmp_path / "x", FILES, replace=False)
    assert str(tmp_path / "x") in str(refusal.value)


def test_repr_shows_no_content() -> None:
    assert "new key" not in repr(FILES)
