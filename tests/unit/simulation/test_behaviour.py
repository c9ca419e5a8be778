from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.simulation import backoff
from thingpass.simulation.behaviour import JITTER, MOST_ECHOED_BYTES, Behaviour

NOW_MS = 1_767_225_600_000


def make(number: int = 0, interval_s: float = 10.0) -> Behaviour:
    return Behaviour(1, number, f"sim-{number:06d}", interval_s=interval_s)


def ask(device: Behaviour, method: object, params: object = None) -> Any:
    return json.loads(device.answer(json.dumps({"method": method, "params": params}).encode(), NOW_MS))


def test_telemetry_has_its_time_and_all_sensors() -> None:
    message = json.loads(make().telemetry(NOW_MS))
    assert message["ts"] == NOW_MS
    assert set(message["values"]) == {"temperature", "humidity", "battery", "door_open"}


def test_attributes_are_the_devices_own_and_do_not_change() -> None:
    assert make(1).client_attributes() == make(1).client_attributes()
    attributes = [json.loads(make(number).client_attributes()) for number in range(50)]
    assert len({device["serial"] for device in attributes}) == 50
    assert len({device["firmware_version"] for device in attributes}) > 1


@given(st.integers(0, 10**6), st.floats(0.1, 3_600))
def test_pauses_are_about_the_interval(number: int, interval_s: float) -> None:
    device = make(number, interval_s)
    assert 0 <= device.first_pause_s() <= interval_s
    for _ in range(5):
        assert interval_s * (1 - JITTER) <= device.next_pause_s() <= interval_s * (1 + JITTER)


def test_first_messages_of_a_fleet_are_spread() -> None:
    pauses = sorted(make(number).first_pause_s() for number in range(100))
    assert max(later - earlier for earlier, later in itertools.pairwise(pauses)) < 1


def test_status_names_what_a_technician_asks_for() -> None:
    status = ask(make(), "getStatus")
    assert {"temperature", "battery", "doorOpen", "interval", "firmwareVersion", "sent"} == set(status)


@pytest.mark.parametrize("params", [5, 5.0, {"interval": 5}, {"uploadFrequency": 5}])
def test_interval_is_set_by_rpc(params: object) -> None:
    device = make()
    assert ask(device, "setInterval", params) == {"interval": 5}
    assert device.interval_s == 5


@pytest.mark.parametrize("params", [None, 0, -1, 1e9, True, "5", [], {}, {"interval": None}])
def test_interval_that_is_none_is_refused_in_words(params: object) -> None:
    device = make()
    assert "must be a number" in ask(device, "setInterval", params)["error"]
    assert device.interval_s == 10


@pytest.mark.parametrize("params", [None, 1, "text", [1, {"a": None}], {"b": True}])
def test_echo_gives_back_what_it_got(params: object) -> None:
    assert ask(make(), "echo", params) == params


def test_echo_is_bounded() -> None:
    assert "error" in ask(make(), "echo", "x" * MOST_ECHOED_BYTES)


def test_unknown_method_hears_which_there_are() -> None:
    assert "getStatus" in ask(make(), "explode")["error"]


@given(st.binary(max_size=200))
def test_any_payload_is_answered_with_json(payload: bytes) -> None:
    json.loads(make().answer(payload, NOW_MS))


@pytest.mark.parametrize(
    "payload",
    [
        {"uploadFrequency": 2},
        {"shared": {"uploadFrequency": 2}},
        {"client": {}, "shared": {"uploadFrequency": 2}},
    ],
)
def test_shared_attribute_sets_the_interval(payload: object) -> None:
    device = make()
    assert device.take_shared(json.dumps(payload).encode())
    assert device.interval_s == 2
    assert not device.take_shared(json.dumps(payload).encode()), "it is no news a second time"


def test_deleted_attribute_gives_the_default_back() -> None:
    device = make()
    device.take_shared(b'{"uploadFrequency":2}')
    assert device.take_shared(b'{"deleted":["uploadFrequency"]}')
    assert device.interval_s == 10


@given(
    st.one_of(
        st.binary(max_size=50),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["shared", "deleted", "uploadFrequency"]), inner)
            ),
            max_leaves=5,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_attribute_message_harms(payload: bytes) -> None:
    device = make()
    device.take_shared(payload)
    assert 0 < device.interval_s <= 86_400


@given(st.integers(1, 100), st.integers(0, 1000))
def test_backoff_doubles_up_to_a_minute(failures: int, number: int) -> None:
    longest = min(2 ** (failures - 1), 60)
    assert longest / 2 <= backoff.pause_s(failures, 1, number) <= longest
