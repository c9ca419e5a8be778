from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.identity.plain_words import (
    LONGEST_TEXT,
    as_argument,
    duration_text,
    harmless,
    secret_hint,
    time_text,
)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "less than a second"),
        (SECOND, "1 second"),
        (90 * SECOND, "90 seconds"),
        (2 * MINUTE, "2 minutes"),
        (36 * HOUR, "36 hours"),
        (12 * DAY + 5 * HOUR, "12 days"),
    ],
)
def test_durations_are_told_in_their_largest_unit(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text


def test_times_are_told_in_utc() -> None:
    assert time_text(1_780_315_200_000) == "2026-06-01 12:00:00 UTC"


@pytest.mark.parametrize(
    ("secret", "hint"),
    [
        ("A1b2C3d4E5f6G7h8I9j0", "A1b... (20 characters)"),
        ("abcdefgh", "ab... (8 characters)"),
        ("abc", "(3 characters)"),
        ("a", "(1 character)"),
        ("\x1b[31mred, and long enough", "\\x1b[3... (25 characters)"),
    ],
)
def test_a_token_is_shown_by_three_characters_at_most(secret: str, hint: str) -> None:
    assert secret_hint(secret) == hint


@given(st.text(min_size=1, max_size=300))
def test_a_hint_never_holds_more_than_a_quarter(secret: str) -> None:
    shown = secret_hint(secret).rpartition("... (")[0]
    assert shown == harmless(secret[: len(secret) // 4][:3])


@given(st.text(max_size=3 * LONGEST_TEXT))
def test_strangers_texts_become_one_printable_short_line(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable()
    assert len(shown) <= 10 * LONGEST_TEXT + 30
    assert shown == text or not text.isprintable() or len(text) > LONGEST_TEXT


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("pump-1", "pump-1"),
        ("Pump 1", "'Pump 1'"),
        ("$(reboot)", "'$(reboot)'"),
        ("it's", "'it'\"'\"'s'"),
        ("--force", "NAME"),
        ("a\nb", "NAME"),
        ("", "NAME"),
        (None, "NAME"),
        ("x" * 300, "NAME"),
    ],
)
def test_a_name_in_a_command_is_quoted_or_left_out(name: str | None, argument: str) -> None:
    assert as_argument(name, "NAME") == argument
