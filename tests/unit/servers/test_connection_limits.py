"""Against a connection that only remembers; floods over real sockets are in tests/integration."""

from __future__ import annotations

import pytest

from thingpass.messaging.rate_limiting import Breach, DeviceMeters, RateLimiter, ScopeLimits, TransportLimits
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.rate_limits import parse_rate_limit
from thingpass.servers.connection_limits import LONGEST_HOLD_S, MOST_REFUSED, ConnectionLimits
from thingpass.store.rows import Device

DEVICE = Device(
    id="d", number=1, created_at_ms=0, tenant_id="t", profile_id="p", profile_name="default", name="d"
)


class Remembering:
    def __init__(self) -> None:
        self.now = 0.0
        self.answers: list[tuple[int, int]] = []
        self.held: list[float] = []
        self.ends: list[str] = []
        self.breaches: list[Breach] = []

    def time(self) -> float:
        return self.now

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None:
        self.answers.append((packet_id, reason_code))

    def hold_reading(self, seconds: float) -> None:
        self.held.append(seconds)

    def end_for_rate(self, sentence: str) -> None:
        self.ends.append(sentence)

    def record_breach(self, breach: Breach) -> None:
        self.breaches.append(breach)


class Case:
    """A device that may send so much telemetry, and its connection."""

    def __init__(self, telemetry: str, *, can_refuse: bool) -> None:
        limits = TransportLimits(device=ScopeLimits(telemetry_messages=parse_rate_limit(telemetry)))
        meters = RateLimiter(lambda tenant_id: limits).meters_for(DEVICE, 0.0)
        assert meters is not None
        self.meters: DeviceMeters = meters
        self.connection = Remembering()
        self.counters = Counters()
        self.limits = ConnectionLimits(self.connection, meters, self.counters, can_refuse=can_refuse)

    def send(self, packet_id: int = 1, *, carries_data: bool = True) -> bool:
        message = MessagePublished("t", b"{}", 1 if packet_id else 0, False, False, packet_id, None)
        return self.limits.admit(message, carries_data=carries_data)


def test_mqtt_5_hears_that_its_message_is_refused_and_stays() -> None:
    case = Case("2:1", can_refuse=True)
    assert [case.send(packet_id) for packet_id in (1, 2, 3, 4)] == [True, True, False, False]
    assert case.connection.answers == [(3, ReasonCode.QUOTA_EXCEEDED), (4, ReasonCode.QUOTA_EXCEEDED)]
    assert (case.connection.held, case.connection.ends) == ([], [])
    assert case.counters.rate_limited == {"device_telemetry_messages": 2}
    case.connection.now = 0.5
    assert case.send()


def test_many_refusals_are_one_entry() -> None:
    case = Case("1:1", can_refuse=True)
    for _ in range(50):
        case.send()
    (breach,) = case.connection.breaches
    assert (breach.name, breach.limit) == ("device_telemetry_messages", "1:1")


def test_mqtt_5_that_does_not_listen_is_disconnected_with_the_reason() -> None:
    case = Case("1:10", can_refuse=True)
    assert case.send()
    for _ in range(MOST_REFUSED + 10):
        assert not case.send()
    assert case.connection.ends == [
        "The limit device_telemetry_messages, 1:10, is used up; try again in 10 s."
    ]
    assert len(case.connection.answers) == MOST_REFUSED, "behind the end nothing is answered"
    assert case.meters.users == 0


@pytest.mark.parametrize(("can_refuse", "packet_id"), [(False, 1), (False, 0), (True, 0)])
def test_who_cannot_be_told_is_taken_and_waits(can_refuse: bool, packet_id: int) -> None:
    case = Case("10:1", can_refuse=can_refuse)
    assert all(case.send(packet_id) for _ in range(15))
    assert case.connection.answers == []
    assert case.connection.held[0] == pytest.approx(0.1)
    assert case.limits.debt_s() == pytest.approx(0.6), "what was taken in excess, and room for the next one"
    case.connection.now = 0.61
    assert case.limits.debt_s() == 0
    assert case.send(packet_id)


def test_a_debt_beyond_what_can_be_waited_for_ends_the_connection() -> None:
    case = Case("1:20", can_refuse=False)
    assert [case.send(packet_id) for packet_id in (1, 2, 3, 4)] == [True, True, False, False]
    assert len(case.connection.ends) == 1
    assert case.limits.debt_s() > LONGEST_HOLD_S


def test_a_hold_is_for_the_kind_of_messages_that_caused_it() -> None:
    limits = TransportLimits(
        device=ScopeLimits(messages=parse_rate_limit("1:3600"), telemetry_messages=parse_rate_limit("1:1"))
    )
    meters = RateLimiter(lambda tenant_id: limits).meters_for(DEVICE, 0.0)
    assert meters is not None
    connection = Remembering()
    tracked = ConnectionLimits(connection, meters, Counters(), can_refuse=False)  # opening took the message
    message = MessagePublished("t", b"{}", 1, False, False, 1, None)
    assert tracked.admit(message, carries_data=True)
    assert tracked.admit(message, carries_data=True)
    connection.now = 2.1
    assert tracked.debt_s() == 0


def test_subscriptions_and_points_are_counted_and_never_refused() -> None:
    limits = TransportLimits(
        device=ScopeLimits(messages=parse_rate_limit("2:10"), data_points=parse_rate_limit("5:10"))
    )
    meters = RateLimiter(lambda tenant_id: limits).meters_for(DEVICE, 0.0)
    assert meters is not None
    tracked = ConnectionLimits(Remembering(), meters, Counters(), can_refuse=True)
    tracked.charge()
    tracked.charge_points(6)
    message = MessagePublished("t", b"{}", 1, False, False, 1, None)
    assert not tracked.admit(message, carries_data=False)
    assert not tracked.admit(message, carries_data=True)


def test_ending_twice_counts_once() -> None:
    case = Case("1:1", can_refuse=True)
    assert case.meters.users == 1
    case.limits.ended()
    case.limits.ended()
    assert case.meters.users == 0
