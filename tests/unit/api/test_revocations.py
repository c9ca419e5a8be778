"""Sessions that ended before their time, over restarts and in bounded memory."""

from __future__ import annotations

import stat

import pytest

from thingpass.api.revocations import FILE, MAX_SESSIONS_PER_USER, Revocations
from thingpass.errors import Invalid

LIFE_S = 1_000


async def test_ended_session_is_revoked_also_after_a_restart(tmp_path):
    revocations = Revocations(tmp_path, LIFE_S)
    await revocations.end_session("user", "one", 100)
    for known in (revocations, Revocations(tmp_path, LIFE_S)):
        assert known.is_revoked("user", "one", 50)
        assert not known.is_revoked("user", "two", 50)


async def test_ended_user_loses_tokens_of_that_very_second_but_not_the_next_ones(tmp_path):
    revocations = Revocations(tmp_path, LIFE_S)
    await revocations.end_user("user", 100)
    assert revocations.is_revoked("user", "any", 100)
    issued_s = revocations.earliest_issue_s("user", 100)
    assert not revocations.is_revoked("user", "any", issued_s)
    assert revocations.earliest_issue_s("user", 500) == 500
    assert not revocations.is_revoked("other", "any", 100)


async def test_entries_go_when_their_tokens_would_have_expired(tmp_path):
    revocations = Revocations(tmp_path, LIFE_S)
    await revocations.end_session("user", "one", 100)
    await revocations.end_user("other", 100)
    await revocations.end_session("user", "two", 100 + LIFE_S + 1)
    content = (tmp_path / FILE).read_text()
    assert "one" not in content
    assert "other" not in content
    assert "two" in content


async def test_many_sessions_of_one_user_become_one_entry(tmp_path):
    revocations = Revocations(tmp_path, LIFE_S)
    for number in range(MAX_SESSIONS_PER_USER + 1):
        await revocations.end_session("user", f"session-{number}", 100)
    await revocations.end_session("other", "kept", 100)
    assert "session-" not in (tmp_path / FILE).read_text()
    assert revocations.is_revoked("user", "session-0", 100)
    assert revocations.is_revoked("other", "kept", 100)


async def test_file_is_private(tmp_path):
    await Revocations(tmp_path, LIFE_S).end_session("user", "one", 100)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_unreadable_file_is_told_with_its_mend(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(Invalid) as told:
        Revocations(tmp_path, LIFE_S)
    assert FILE in told.value.sentence
    assert told.value.mend
