"""How often a password may be tried."""

from __future__ import annotations

import pytest

from thingpass.api import login_attempts
from thingpass.api.error_answers import TooManyRequests
from thingpass.api.login_attempts import FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS, WINDOW_S, LoginAttempts
from thingpass.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def attempts(clock):
    return LoginAttempts(clock)


def test_account_is_held_up_after_its_failures_from_any_address(attempts):
    for number in range(FAILURES_PER_ACCOUNT):
        attempts.begin("admin", f"192.0.2.{number}")
    with pytest.raises(TooManyRequests) as told:
        attempts.begin("admin", "192.0.2.99")
    assert 0 < told.value.retry_after_s <= WINDOW_S + 1
    attempts.begin("other", "192.0.2.99")


def test_address_is_held_up_after_failures_on_any_account(attempts):
    for number in range(FAILURES_PER_ADDRESS):
        attempts.begin(f"user-{number}", "192.0.2.1")
    with pytest.raises(TooManyRequests):
        attempts.begin("another", "192.0.2.1")
    attempts.begin("another", "192.0.2.2")


def test_window_passes(attempts, clock):
    for _ in range(FAILURES_PER_ACCOUNT):
        attempts.begin("admin", "192.0.2.1")
    with pytest.raises(TooManyRequests) as told:
        attempts.begin("admin", "192.0.2.1")
    clock.advance(told.value.retry_after_s)
    attempts.begin("admin", "192.0.2.1")


def test_success_forgets_the_failures(attempts):
    for _ in range(FAILURES_PER_ACCOUNT * 10):
        attempts.begin("admin", "192.0.2.1")
        attempts.succeeded("admin", "192.0.2.1")


def test_strangers_cannot_lock_out_who_logged_in_before(attempts):
    attempts.begin("admin", "192.0.2.1")
    attempts.succeeded("admin", "192.0.2.1")
    for number in range(FAILURES_PER_ACCOUNT):
        attempts.begin("admin", f"198.51.100.{number}")
    with pytest.raises(TooManyRequests):
        attempts.begin("admin", "198.51.100.99")
    attempts.begin("admin", "192.0.2.1")


def test_memory_is_bounded(attempts, monkeypatch):
    monkeypatch.setattr(login_attempts, "MAX_KEPT", 10)
    monkeypatch.setattr("thingpass.attempts.MAX_KEPT", 10)
    for number in range(100):
        attempts.begin(f"user-{number}", f"192.0.2.{number}")
        attempts.succeeded(f"user-{number}", f"192.0.2.{number}")
        attempts.begin(f"user-{number}", f"198.51.100.{number}")
    assert len(attempts._accounts._kept) <= 10
    assert len(attempts._addresses._kept) <= 10
    assert len(attempts._trusted) <= 10


def test_attempt_that_was_never_looked_at_does_not_count(attempts):
    for _ in range(FAILURES_PER_ADDRESS * 2):
        attempts.begin("admin", "192.0.2.1")
        attempts.withdraw("admin", "192.0.2.1")
