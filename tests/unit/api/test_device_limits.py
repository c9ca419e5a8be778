from __future__ import annotations

import pytest

from thingpass.api.device_limits import DeviceRequestLimits
from thingpass.api.error_answers import TooManyRequests, answer_of
from thingpass.clock import ManualClock
from thingpass.identity.refusal_log import RefusalLog
from thingpass.messaging.rate_limiting import RateLimiter, ScopeLimits, TransportLimits
from thingpass.metrics import Counters
from thingpass.rate_limits import parse_rate_limit
from thingpass.store.rows import Device
from thingpass.tls.evidence import Evidence

DEVICE = Device(
    id="d", number=1, created_at_ms=0, tenant_id="t", profile_id="p", profile_name="default", name="Pump 1"
)
EVIDENCE = Evidence(listener="http", peer_address="192.0.2.1", peer_port=1)


class Case:
    def __init__(self, limits: TransportLimits) -> None:
        self.clock = ManualClock()
        self.counters = Counters()
        self.refusal_log = RefusalLog()
        self.limits = DeviceRequestLimits(
            RateLimiter(lambda tenant_id: limits),
            counters=self.counters,
            refusal_log=self.refusal_log,
            clock=self.clock,
        )


def test_without_limits_everything_is_admitted() -> None:
    case = Case(TransportLimits())
    for _ in range(10_000):
        case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
    case.limits.charge_points(DEVICE, 10**9)
    case.limits.admit(DEVICE, EVIDENCE, carries_data=True)


def test_above_the_limit_the_device_hears_when_to_come_back() -> None:
    case = Case(TransportLimits(device=ScopeLimits(telemetry_messages=parse_rate_limit("2:5"))))
    for _ in range(2):
        case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
    for _ in range(20):
        with pytest.raises(TooManyRequests, match="device_telemetry_messages, 2:5, is used up") as raised:
            case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
        assert raised.value.retry_after_s == 3
        assert answer_of(raised.value).status == 429
    assert case.counters.rate_limited == {"device_telemetry_messages": 20}
    (entry,) = case.refusal_log.list()
    assert (entry.code, entry.device_name) == ("rate-limit-exceeded", "Pump 1")
    case.clock.advance(2.6)
    case.limits.admit(DEVICE, EVIDENCE, carries_data=True)


def test_points_are_a_debt_that_the_next_request_waits_for() -> None:
    case = Case(TransportLimits(device=ScopeLimits(data_points=parse_rate_limit("10:1"))))
    case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
    case.limits.charge_points(DEVICE, 30)
    with pytest.raises(TooManyRequests):
        case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
    case.limits.admit(DEVICE, EVIDENCE, carries_data=False)
    case.clock.advance(2.2)
    case.limits.admit(DEVICE, EVIDENCE, carries_data=True)
