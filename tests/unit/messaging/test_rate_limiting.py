from __future__ import annotations

import pytest

from thingpass.messaging import rate_limiting
from thingpass.messaging.gateway_mark import is_gateway
from thingpass.messaging.rate_limiting import RateLimiter, ScopeLimits, TransportLimits
from thingpass.rate_limits import parse_rate_limit
from thingpass.store.rows import Device


def device(name: str = "d", tenant: str = "t", info: str | None = None) -> Device:
    return Device(
        id=f"id-{name}",
        number=1,
        created_at_ms=0,
        tenant_id=tenant,
        profile_id="p",
        profile_name="default",
        name=name,
        additional_info_json=info,
    )


def scope(
    messages: str | None = None, telemetry: str | None = None, points: str | None = None
) -> ScopeLimits:
    def read(text: str | None) -> rate_limiting.RateLimit | None:
        return None if text is None else parse_rate_limit(text)

    return ScopeLimits(messages=read(messages), telemetry_messages=read(telemetry), data_points=read(points))


GATEWAY = device("g", info='{"gateway":true,"description":""}')


def limiter(**limits: ScopeLimits) -> RateLimiter:
    found = TransportLimits(**limits)
    return RateLimiter(lambda tenant_id: found)


def test_without_limits_nothing_is_made() -> None:
    assert limiter().meters_for(device(), 0.0) is None
    assert limiter(gateway=scope("1:1")).meters_for(device(), 0.0) is None
    assert limiter(device=scope("1:1")).meters_for_sub_devices(GATEWAY, 0.0) is None


def test_messages_and_telemetry_are_counted_apart() -> None:
    meters = limiter(device=scope("1:10", "2:10")).meters_for(device(), 0.0)
    assert meters is not None
    assert meters.admit(0.0, carries_data=False) is None
    assert meters.admit(0.0, carries_data=True) is None
    assert meters.admit(0.0, carries_data=True) is None
    for carries_data, name, wait_s in (
        (False, "device_messages", 10),
        (True, "device_telemetry_messages", 5),
    ):
        breach = meters.admit(0.0, carries_data=carries_data)
        assert breach is not None
        assert (breach.name, breach.wait_s, breach.retry_after_s) == (name, pytest.approx(wait_s), wait_s)


def test_a_message_is_taken_whole_while_there_are_points_and_the_next_waits_for_the_debt() -> None:
    meters = limiter(device=scope(points="10:1")).meters_for(device(), 0.0)
    assert meters is not None
    assert meters.admit(0.0, carries_data=True) is None
    meters.charge_points(30, 0.0)
    breach = meters.admit(0.0, carries_data=True)
    assert breach is not None
    assert (breach.name, breach.limit, breach.wait_s) == ("device_data_points", "10:1", pytest.approx(2.1))
    assert meters.admit(0.0, carries_data=False) is None, "what carries no data needs no points"
    assert meters.admit(2.2, carries_data=True) is None


def test_all_limits_are_spent_or_none() -> None:
    meters = limiter(device=scope(telemetry="5:1"), tenant=scope(telemetry="1:10")).meters_for(device(), 0.0)
    assert meters is not None
    assert meters.admit(0.0, carries_data=True) is None
    for _ in range(10):
        breach = meters.admit(0.0, carries_data=True)
        assert breach is not None
        assert breach.name == "tenant_telemetry_messages"
    assert meters.admit(10.0, carries_data=True) is None


def test_devices_of_a_tenant_share_its_limit_and_another_tenant_has_its_own() -> None:
    limits = limiter(tenant=scope("1:10"))
    first, second = (limits.meters_for(device(name), 0.0) for name in ("a", "b"))
    other = limits.meters_for(device("c", tenant="u"), 0.0)
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.admit(0.0, carries_data=False) is None
    assert second.admit(0.0, carries_data=False) is not None
    assert other.admit(0.0, carries_data=False) is None


def test_what_was_used_outlives_the_connection() -> None:
    limits = limiter(device=scope("1:10"))
    first = limits.meters_for(device(), 0.0)
    assert first is not None
    assert first.admit(0.0, carries_data=False) is None
    again = limits.meters_for(device(), 1.0)
    assert again is not None
    assert again.admit(1.0, carries_data=False) is not None


def test_gateways_have_limits_of_their_own() -> None:
    limits = limiter(device=scope("1:1"), gateway_device=scope("2:1"), gateway=scope("3:1"))
    own = limits.meters_for(GATEWAY, 0.0)
    below = limits.meters_for_sub_devices(GATEWAY, 0.0)
    assert own is not None
    assert below is not None
    for meters, allowed, name in ((own, 2, "gateway_device_messages"), (below, 3, "gateway_messages")):
        for _ in range(allowed):
            assert meters.admit(0.0, carries_data=False) is None
        breach = meters.admit(0.0, carries_data=False)
        assert breach is not None
        assert breach.name == name


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, False),
        ('{"gateway":true}', True),
        ('{"gateway":"true"}', False),
        ('{"gateway":false}', False),
        ('"gateway"', False),
        ("{gateway", False),
    ],
)
def test_a_gateway_is_marked_in_its_additional_info(info: str | None, expected: bool) -> None:
    assert is_gateway(device(info=info)) is expected


def test_an_episode_is_news_once() -> None:
    meters = limiter(device=scope("1:10")).meters_for(device(), 0.0)
    assert meters is not None
    assert [meters.begins_episode(now) for now in (0.0, 1.0, 59.0, 118.0, 178.0)] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_meters_that_nobody_needs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiting, "SWEEP_ABOVE", 10)
    limits = limiter(device=scope("1:10"))
    used = limits.meters_for(device("used"), 0.0)
    connected = limits.meters_for(device("connected"), 0.0)
    assert used is not None
    assert connected is not None
    used.charge(0.0, carries_data=False)
    connected.users = 1
    for number in range(1_000):
        limits.meters_for(device(str(number)), 1.0)
    assert len(limits._devices) <= 30
    assert limits.meters_for(device("used"), 1.0) is used
    assert limits.meters_for(device("connected"), 1.0) is connected
