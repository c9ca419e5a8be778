from __future__ import annotations

import pytest

from thingpass.mqtt.outbound import OutboundMessages, Outgoing
from thingpass.mqtt.packets import Publish
from thingpass.mqtt.session_state import SessionState
from thingpass.servers import mqtt_device_session
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.kept_sessions import KeptSessions
from thingpass.servers.mqtt_device_session import MqttDeviceSession, ToDevice
from thingpass.servers.subscriptions import Subscriptions


class Nobody:
    """Pushes and calls, as far as leaving them goes."""

    def __init__(self) -> None:
        self.left: list[str] = []

    def leave(self, device_id: str, listener: object) -> None:
        self.left.append(device_id)


def session(to_device: Nobody, device_id: str, client_id: str = "c") -> MqttDeviceSession:
    return MqttDeviceSession(
        ToDevice(to_device, to_device),  # type: ignore[arg-type]  # nothing else of them is asked for
        device_id=device_id,
        client_id=client_id,
        subscriptions=Subscriptions(),
        link=None,  # type: ignore[arg-type]  # the device is away
    )


def state(size: int = 0) -> SessionState:
    outbound = OutboundMessages(10)
    if size:
        outbound.wait(Outgoing(Publish(False, 1, False, "t", 1, None, b"x" * size), None))
    return SessionState(outbound, (), None)


@pytest.fixture
def nobody() -> Nobody:
    return Nobody()


@pytest.fixture
def kept() -> KeptSessions:
    return KeptSessions(DeadlineWheel(), maximum=2)


def test_a_session_is_found_once(kept: KeptSessions, nobody: Nobody) -> None:
    left = session(nobody, "d")
    kept.keep(left, state(), 10.0)
    assert kept.take("d", "c", clean_start=False) is left
    assert kept.take("d", "c", clean_start=False) is None
    assert nobody.left == []


@pytest.mark.parametrize(("client_id", "clean_start"), [("another", False), ("c", True)])
def test_what_is_not_continued_is_over(
    kept: KeptSessions, nobody: Nobody, client_id: str, clean_start: bool
) -> None:
    kept.keep(session(nobody, "d"), state(), 10.0)
    assert kept.take("d", client_id, clean_start=clean_start) is None
    assert nobody.left == ["d", "d"], "it hears of attributes and calls no more"
    assert len(kept) == 0


def test_the_longest_away_goes_first(kept: KeptSessions, nobody: Nobody) -> None:
    for device_id in ("a", "b", "c"):
        kept.keep(session(nobody, device_id), state(), 10.0)
    assert len(kept) == 2
    assert set(nobody.left) == {"a"}


def test_bytes_are_bounded(kept: KeptSessions, nobody: Nobody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingpass.servers.kept_sessions.MOST_BYTES_HELD", 3_000)
    kept.keep(session(nobody, "large"), state(3_000), 10.0)
    assert (len(kept), set(nobody.left)) == (0, {"large"})
    kept.keep(session(nobody, "a"), state(1_500), 10.0)
    kept.keep(session(nobody, "b"), state(1_500), 10.0)
    assert (len(kept), set(nobody.left)) == (1, {"large", "a"})


def test_its_time_ends_it(nobody: Nobody) -> None:
    wheel = DeadlineWheel()
    kept = KeptSessions(wheel, maximum=2)
    kept.keep(session(nobody, "d"), state(), 10.0)
    ((member,),) = wheel._slots.values()
    assert member.deadline() == 10.0
    member.overdue(10.0)
    assert (len(kept), member.deadline(), set(nobody.left)) == (0, None, {"d"})


def test_who_missed_too_much_begins_anew(
    kept: KeptSessions, nobody: Nobody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_device_session, "MOST_KEYS_NOTED", 3)
    left = session(nobody, "d")
    kept.keep(left, state(), 10.0)
    left.attributes_saved({"a": 1, "b": 2})
    left.attributes_removed(["a", "c"])
    assert not left.has_missed_too_much
    left.attributes_saved({"d": 1, "e": 2})
    assert left.has_missed_too_much
    left.attributes_saved({"f": 1})
    assert kept.take("d", "c", clean_start=False) is None


def test_an_absent_device_takes_no_calls(nobody: Nobody) -> None:
    left = session(nobody, "d")
    left.go_away(state())
    assert left.rpc_requested(None, lambda delivery: None) is False  # type: ignore[arg-type]  # not looked at
