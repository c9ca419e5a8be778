from __future__ import annotations

from pathlib import Path

import pytest

from thingpass.devices.events import LONGEST_PAYLOAD
from thingpass.mqtt.packets import Will
from thingpass.mqtt.properties import Properties
from thingpass.servers.connection_ends import ENDS
from thingpass.servers.device_life import MOST_WILL_DELAY_S, last_will

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "device-events.md"


def test_ends_are_unique_and_in_the_reference() -> None:
    assert len({end.code for end in ENDS}) == len({end.sentence for end in ENDS}) == len(ENDS)
    page = PAGE.read_text()
    for end in ENDS:
        assert f"| `{end.code}` | {end.sentence.replace('{seen}', '*seen*')} |" in page


@pytest.mark.parametrize(
    ("delay_s", "expiry_s", "held_s"),
    [
        (None, 0, 0),
        (30, 0, 0),  # the session ends with the connection, and so its will is due
        (None, 30, 0),
        (30, 60, 30),
        (60, 30, 30),
        (0xFFFF_FFFF, 0xFFFF_FFFF, MOST_WILL_DELAY_S),
    ],
)
def test_delay_ends_with_the_session(delay_s: int | None, expiry_s: int, held_s: int) -> None:
    properties = None if delay_s is None else Properties(will_delay_interval=delay_s)
    will = last_will(Will("t", b"gone", properties=properties), session_expiry_s=expiry_s)
    assert will is not None
    assert will.delay_s == held_s


def test_no_more_of_the_payload_is_kept_than_the_bound() -> None:
    will = last_will(Will("t", b"x" * 10_000), session_expiry_s=0)
    assert will is not None
    assert (will.payload, will.payload_bytes) == (b"x" * LONGEST_PAYLOAD, 10_000)
    assert "xxx" not in repr(will)


def test_no_will_is_none() -> None:
    assert last_will(None, session_expiry_s=60) is None
