"""The signing key and the local secret: made once, 0600, refused when damaged."""

from __future__ import annotations

import stat

import pytest

from thingpass.api.secret_files import (
    LOCAL_SECRET_FILE,
    SIGNING_KEY_FILE,
    load_or_make_local_secret,
    load_or_make_signing_key,
)
from thingpass.errors import Invalid

BOTH = [(load_or_make_signing_key, SIGNING_KEY_FILE), (load_or_make_local_secret, LOCAL_SECRET_FILE)]


@pytest.mark.parametrize(("load", "name"), BOTH)
def test_made_once_and_private(tmp_path, load, name):
    first = load(tmp_path)
    assert load(tmp_path) == first
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert len(first) >= 32
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("load", "name"), BOTH)
def test_loosened_file_is_made_private_again(tmp_path, load, name):
    first = load(tmp_path)
    (tmp_path / name).chmod(0o644)
    assert load(tmp_path) == first
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(("load", "name"), BOTH)
@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", b"not base64 !!"])
def test_damaged_file_is_refused_without_repeating_it(tmp_path, load, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Invalid) as told:
        load(tmp_path)
    assert name in told.value.sentence
    assert "Remove the file" in (told.value.mend or "")


def test_signing_key_is_long_enough_for_hs512(tmp_path):
    assert len(load_or_make_signing_key(tmp_path)) == 64
