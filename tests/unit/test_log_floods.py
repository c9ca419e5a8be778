from __future__ import annotations

import io
import json
import uuid

import pytest
import structlog

from thingpass import log_floods
from thingpass.clock import ManualClock
from thingpass.log_floods import LINES_OF_ALL, LINES_OF_ONE, MOST_REMEMBERED, HoldBackFloods
from thingpass.logs import configure_logging
from thingpass.settings import LogSettings


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.processor = HoldBackFloods(self.clock.monotonic)

    def write(self, event: str, **values: object) -> dict[str, object] | None:
        try:
            return dict(self.processor(None, "info", {"event": event, **values}))
        except structlog.DropEvent:
            return None

    def flood(self, count: int, event: str = "message.rejected", **values: object) -> int:
        """How many lines came."""
        return sum(self.write(event, **values) is not None for _ in range(count))


def test_one_device_gets_a_few_lines_a_minute_and_the_rest_is_counted() -> None:
    bench = Bench()
    assert bench.flood(1_000, device="a") == LINES_OF_ONE
    assert bench.flood(1_000, device="b") == LINES_OF_ONE
    bench.clock.advance(60)
    line = bench.write("message.rejected", device="a")
    assert line is not None
    assert line["held_back"] == 1_000 - LINES_OF_ONE
    assert "held_back" not in (bench.write("message.rejected", device="a") or {})


def test_line_that_would_not_come_need_not_be_made() -> None:
    bench = Bench()
    held_back = bench.processor.holds_back
    assert not held_back("message.rejected", "a")
    bench.flood(LINES_OF_ONE, device="a")
    assert held_back("message.rejected", "a")
    assert not held_back("message.rejected", "b")
    bench.clock.advance(60)
    assert not held_back("message.rejected", "a")
    assert (bench.write("message.rejected", device="a") or {})["held_back"] == 1


def test_a_fleet_gets_no_line_for_each_device() -> None:
    bench = Bench()
    lines = sum(bench.flood(1, device=str(number)) for number in range(5 * MOST_REMEMBERED))
    assert lines == LINES_OF_ALL
    assert len(bench.processor._of_one) == MOST_REMEMBERED


def test_other_events_are_never_held_back() -> None:
    assert Bench().flood(1_000, event="device.provisioned", device="a") == 1_000


def test_it_is_in_the_way_of_every_line() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="json"), stream=stream)
    try:
        name = str(uuid.uuid4())
        log = structlog.get_logger("thingpass.test")
        for _ in range(100):
            log.info("message.rejected", device=name, problem="x")
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert [line["event"] for line in lines] == ["message.rejected"] * LINES_OF_ONE
    finally:
        structlog.reset_defaults()


@pytest.mark.parametrize("event", log_floods.WHO_CAUSES)
def test_events_are_written_somewhere(event: str) -> None:
    from tests.unit.test_house import FILES

    assert any(f'"{event}"' in path.read_text() for path in FILES if path.name != "log_floods.py")
