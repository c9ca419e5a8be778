from __future__ import annotations

import pytest

from thingpass import attempts
from thingpass.attempts import WINDOW_S, Attempts
from thingpass.clock import ManualClock


def test_a_key_waits_when_its_bound_is_reached_and_others_do_not() -> None:
    clock = ManualClock()
    tried = Attempts(clock, bound=3)
    for _ in range(3):
        assert tried.wait_s("a") == 0
        tried.note("a")
    assert tried.wait_s("a") == WINDOW_S + 1
    assert tried.wait_s("b") == 0
    clock.advance(WINDOW_S)
    assert tried.wait_s("a") == 0


def test_the_window_slides() -> None:
    clock = ManualClock()
    tried = Attempts(clock, bound=2, window_s=10)
    tried.note("a")
    clock.advance(6)
    tried.note("a")
    assert tried.wait_s("a") == 5
    clock.advance(5)
    assert tried.wait_s("a") == 0
    tried.note("a")
    assert tried.wait_s("a") > 0


def test_attempts_are_taken_back_and_forgotten() -> None:
    tried = Attempts(ManualClock(), bound=1)
    tried.note("a")
    tried.take_back("a")
    tried.take_back("a")
    assert tried.wait_s("a") == 0
    tried.note("a")
    tried.forget("a")
    assert tried.wait_s("a") == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_KEPT", 3)
    tried = Attempts(ManualClock(), bound=1)
    for key in "abcd":
        tried.note(key)
    assert [tried.wait_s(key) > 0 for key in "abcd"] == [False, True, True, True]
