"""Lines of the log that devices cause: not many, and none without a trace."""

from __future__ import annotations

from thingpass.sparing_logs import MOST_KEPT, QUIET_S, SparingLog


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))


def test_one_line_a_minute_and_the_next_says_how_many_were_left_out() -> None:
    now, lines = [0.0], Lines()
    sparing = SparingLog(lines, lambda: now[0])
    for second in range(3):
        now[0] = float(second)
        for _ in range(100):
            sparing.info("message.rejected", device="A", problem="odd")
    now[0] = QUIET_S
    for _ in range(2):
        sparing.info("message.rejected", device="A", problem="odd")
    now[0] = 3 * QUIET_S
    sparing.info("message.rejected", device="A", problem="other")
    assert lines.lines == [
        ("message.rejected", {"device": "A", "problem": "odd"}),
        ("message.rejected", {"device": "A", "problem": "odd", "left_out": 299}),
        ("message.rejected", {"device": "A", "problem": "other", "left_out": 1}),
    ]


def test_devices_and_events_are_told_apart() -> None:
    lines = Lines()
    sparing = SparingLog(lines, lambda: 0.0)
    for _ in range(2):
        for event in ("one", "other"):
            for device in ("A", "B", None):
                sparing.info(event, device=device)
    assert len(lines.lines) == 6


def test_what_is_remembered_is_bounded() -> None:
    lines = Lines()
    sparing = SparingLog(lines, lambda: 0.0)
    for number in range(MOST_KEPT * 2 + 1):
        for _ in range(2):
            sparing.info("one", device=str(number))
    assert len(sparing._quiet_until) + len(sparing._left_out) <= 2 * MOST_KEPT
    assert len(lines.lines) == MOST_KEPT * 2 + 1
