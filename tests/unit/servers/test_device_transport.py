"""Which handler and which codec a topic has, for profiles with topics of their own."""

from __future__ import annotations

import pytest

from thingpass.servers import device_transport
from thingpass.servers.device_messages import HANDLERS, REQUEST_HANDLERS, carries_data
from thingpass.servers.device_topics import TOPICS, Format, Purpose, fixed_topics
from thingpass.servers.device_transport import DeviceTransport, make_transport
from thingpass.servers.device_transports import DEFAULT
from thingpass.servers.payload_codecs import JSON
from thingpass.servers.protobuf_payloads import WITHOUT_SCHEMAS

V1_TELEMETRY, V1_ATTRIBUTES = "v1/devices/me/telemetry", "v1/devices/me/attributes"


def make(**fields: object) -> DeviceTransport:
    return make_transport(HANDLERS, REQUEST_HANDLERS, protobuf=WITHOUT_SCHEMAS, **fields)  # type: ignore[arg-type]


def purpose(transport: DeviceTransport, name: str) -> Purpose | None:
    """What is done with a message of that name."""
    route = transport.routes.get(name) or transport.find_wildcard(name)
    if route is None:
        return None
    return next(purpose for purpose, handler in HANDLERS.items() if handler is route[0])


def test_without_custom_topics_the_table_holds() -> None:
    for name, row in fixed_topics().items():
        assert purpose(DEFAULT, name) is (row.purpose if row.purpose in HANDLERS else None)
    assert purpose(DEFAULT, "elsewhere") is None


def test_format_decides_the_codec() -> None:
    assert DEFAULT.routes["v2/t/j"][1] is JSON
    assert DEFAULT.routes["v2/t/p"][1] is WITHOUT_SCHEMAS
    transport = make(up=WITHOUT_SCHEMAS, down=WITHOUT_SCHEMAS)  # a profile in protobuf, v1 downlinks in JSON
    up = {V1_TELEMETRY: WITHOUT_SCHEMAS, "v2/t": WITHOUT_SCHEMAS, "v2/t/j": JSON, "v2/t/p": WITHOUT_SCHEMAS}
    assert {name: transport.routes[name][1] for name in up} == up
    for row in TOPICS:
        if row.format is Format.OF_PROFILE:
            assert transport.codec_up(row) is WITHOUT_SCHEMAS
            assert transport.codec_down(row) is (JSON if row.family == "v1" else WITHOUT_SCHEMAS)
        else:
            forced = JSON if row.format is Format.JSON else WITHOUT_SCHEMAS
            assert transport.codec_up(row) is transport.codec_down(row) is forced


def test_custom_topics_take_the_place_of_v1_and_v2_stays() -> None:
    transport = make(telemetry="my/data", attributes="my/facts")
    assert purpose(transport, "my/data") is Purpose.TELEMETRY
    assert purpose(transport, "my/facts") is Purpose.ATTRIBUTES
    assert purpose(transport, V1_TELEMETRY) is None
    assert purpose(transport, V1_ATTRIBUTES) is None
    assert purpose(transport, "v2/t") is Purpose.TELEMETRY
    assert purpose(transport, "v2/a/j") is Purpose.ATTRIBUTES


@pytest.mark.parametrize(
    ("wanted", "name", "matches"),
    [
        ("my/+/data", "my/1/data", True),
        ("my/+/data", "my/1/2/data", False),
        ("my/#", "my/1/2/data", True),
        ("my/#", "my", True),
        ("my.data", "my.data", True),
        ("my.data", "myxdata", False),  # ThingsBoard makes a regular expression of it
        ("my/+", "v1/devices/me/telemetry", False),
        ("#", "v1/devices/me/telemetry", True),
        ("#", "anything", True),
        ("#", "v2/a", True),
    ],
)
def test_wildcards_match_as_in_mqtt(wanted: str, name: str, matches: bool) -> None:
    transport = make(telemetry=wanted)
    found = purpose(transport, name)
    assert (found is Purpose.TELEMETRY) is matches
    assert purpose(transport, name) is found  # and again, from what was remembered


def test_attributes_are_tried_first() -> None:
    transport = make(telemetry="#", attributes="a/+")
    assert purpose(transport, "a/1") is Purpose.ATTRIBUTES
    assert purpose(transport, "b/1") is Purpose.TELEMETRY
    assert purpose(make(telemetry="#"), V1_ATTRIBUTES) is Purpose.ATTRIBUTES


def test_names_that_matched_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_transport, "MOST_NAMES_REMEMBERED", 50)
    transport = make(telemetry="my/#")
    for number in range(500):
        assert purpose(transport, f"my/{number}") is Purpose.TELEMETRY
        assert len(transport.routes) <= 50
    assert purpose(transport, "my/" + "x" * 1000) is Purpose.TELEMETRY
    assert "my/" + "x" * 1000 not in transport.routes
    assert purpose(transport, "v2/a") is Purpose.ATTRIBUTES


def test_forgetting_keeps_a_custom_topic_without_wildcards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_transport, "MOST_NAMES_REMEMBERED", 20)
    transport = make(telemetry="my/#", attributes="facts")
    for number in range(100):
        assert purpose(transport, f"my/{number}") is Purpose.TELEMETRY
    assert purpose(transport, "facts") is Purpose.ATTRIBUTES


def test_rate_limits_know_telemetry_and_attributes_by_any_of_their_names() -> None:
    transport = make(telemetry="plant/+/values", attributes="plant/facts")
    for name in ("plant/7/values", "plant/facts", "v2/t", "v2/t/p", "v2/a"):
        assert carries_data(transport, name), name
    for name in (V1_TELEMETRY, "v1/devices/me/rpc/request/1", "v1/devices/me/claim", "elsewhere"):
        assert not carries_data(transport, name), name
