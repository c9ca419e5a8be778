"""Device API reference 2.11: a gateway's messages, and what is wrong with a part of one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.mqtt.reason_codes import PacketType, ReasonCode, permitted
from thingpass.servers import gateway_payloads as payloads
from thingpass.servers.gateway_metrics import MOST_CONNECTORS, GatewayMetrics
from thingpass.servers.gateway_payloads import (
    MOST_DEVICES_NAMED,
    AttributesWanted,
    ConnectorTime,
    ConnectRequest,
    Fault,
    Problem,
    RpcReply,
)
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.store.rows import Attribute, JsonText, Sample

NOW = 1_767_225_600_000

PARSERS: list[Callable[[bytes], object]] = [
    lambda payload: payloads.parse_telemetry(payload, NOW),
    payloads.parse_attributes,
    payloads.parse_connect,
    payloads.parse_disconnect,
    payloads.parse_attribute_request,
    payloads.parse_rpc_reply,
]


class TestTelemetry:
    def test_every_device_has_its_samples(self) -> None:
        parts, times = payloads.parse_telemetry(
            b'{"A":[{"ts":5,"values":{"t":1.0}},{"u":"007"}],"B":[{"j":{"x":[1]}}],"C":[]}', NOW
        )
        assert parts.by_device == {
            "A": [Sample(5, {"t": 1.0}), Sample(NOW, {"u": 7})],
            "B": [Sample(NOW, {"j": JsonText('{"x":[1]}')})],
            "C": [],
        }
        assert (parts.problems, times) == ([], [])

    def test_what_is_wrong_with_one_is_said_of_that_one(self) -> None:
        parts, _ = payloads.parse_telemetry(b'{"A":[{"t":1}],"B":{"t":1},"C":[5],"":[],"D":null}', NOW)
        assert list(parts.by_device) == ["A"]
        assert [(each.device, each.fault) for each in parts.problems] == [
            ("B", Fault.WRONG_TYPE),
            ("C", Fault.BAD_VALUES),
            ("", Fault.BAD_NAME),
            ("D", Fault.WRONG_TYPE),
        ]
        assert str(parts.problems[1]) == "Device 'C': Element 1 of the array is a number, not an object."

    def test_metadata_is_taken_out(self) -> None:
        metadata = '{"connector":"opc","receivedTs":10,"publishedTs":25,"more":1}'
        parts, times = payloads.parse_telemetry(
            f'{{"A":[{{"ts":5,"values":{{"t":1}},"metadata":{metadata}}},{{"u":2.50,"metadata":null}}]}}'.encode(),
            NOW,
        )
        assert parts.by_device == {"A": [Sample(5, {"t": 1}), Sample(NOW, {"u": 2.5})]}
        assert times == [ConnectorTime("opc", 10, 25)]

    def test_a_value_with_that_name_is_none(self) -> None:
        parts, times = payloads.parse_telemetry(b'{"A":[{"ts":5,"values":{"metadata":1}}]}', NOW)
        assert parts.by_device == {"A": [Sample(5, {"metadata": 1})]}
        assert not times

    @pytest.mark.parametrize(
        "metadata",
        [
            "5",
            "{}",
            '{"connector":"c","receivedTs":1}',
            '{"connector":5,"receivedTs":1,"publishedTs":1}',
            '{"connector":"c","receivedTs":1,"publishedTs":99999999999999999999}',
        ],
    )
    def test_incomplete_metadata_is_refused(self, metadata: str) -> None:
        parts, times = payloads.parse_telemetry(f'{{"A":[{{"t":1,"metadata":{metadata}}}]}}'.encode(), NOW)
        assert [each.fault for each in parts.problems] == [Fault.BAD_VALUES]
        assert not times

    def test_numbers_keep_their_spelling_beside_metadata(self) -> None:
        body = b'{"A":[{"a":1e0,"b":1.0,"metadata":{"connector":"c","receivedTs":1,"publishedTs":1}}]}'
        parts, _ = payloads.parse_telemetry(body, NOW)
        values = parts.by_device["A"][0].values
        assert [type(values[key]) for key in "ab"] == [int, float]

    def test_so_many_devices_and_no_more(self) -> None:
        def named(count: int) -> bytes:
            return json.dumps({str(number): [] for number in range(count)}).encode()

        assert (
            len(payloads.parse_telemetry(named(MOST_DEVICES_NAMED), NOW)[0].by_device) == MOST_DEVICES_NAMED
        )
        with pytest.raises(PayloadInvalid, match="names 1001 devices"):
            payloads.parse_telemetry(named(MOST_DEVICES_NAMED + 1), NOW)


def test_attributes() -> None:
    parts = payloads.parse_attributes(b'{"A":{"k":true,"j":[1]},"B":[],"C":{"k":1e9999}}')
    assert parts.by_device == {"A": {"k": True, "j": JsonText("[1]")}}
    assert [(each.device, each.fault) for each in parts.problems] == [
        ("B", Fault.WRONG_TYPE),
        ("C", Fault.BAD_VALUES),
    ]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"device":"A"}', ConnectRequest("A", None)),
        (b'{"device":"A","type":null}', ConnectRequest("A", None)),
        (b'{"device":"A","type":"pump"}', ConnectRequest("A", "pump")),
    ],
)
def test_connect(body: bytes, wanted: ConnectRequest) -> None:
    assert payloads.parse_connect(body) == wanted


def test_disconnect() -> None:
    assert payloads.parse_disconnect(b'{"device":"A","more":1}') == "A"


def test_attribute_request() -> None:
    one = payloads.parse_attribute_request(b'{"id":1,"device":"A","client":true,"key":"k"}')
    several = payloads.parse_attribute_request(b'{"id":"2","device":"A","client":false,"keys":["k","l","k"]}')
    assert one == AttributesWanted(1, "A", True, ("k",))
    assert several == AttributesWanted(2, "A", False, ("k", "l"))
    found = [Attribute("k", 1, 0), Attribute("l", JsonText("[2]"), 0)]
    assert payloads.attribute_response(one, found[:1]) == b'{"id":1,"device":"A","value":1}'
    assert payloads.attribute_response(several, found) == b'{"id":2,"device":"A","values":{"k":1,"l":[2]}}'
    assert payloads.attribute_response(several, []) == b'{"id":2,"device":"A"}'


@pytest.mark.parametrize("data", [b'{"done":true}', b'"text"', b"null", b"1.50"])
def test_a_reply_is_passed_on_as_it_came(data: bytes) -> None:
    body = b'{"device":"A","id":7,"data":' + data + b"}"
    assert payloads.parse_rpc_reply(body) == RpcReply("A", 7, data)


def test_what_is_sent() -> None:
    assert payloads.attributes_update("A", {"k": JsonText("[1]")}) == b'{"device":"A","data":{"k":[1]}}'
    assert payloads.attributes_removal("A", ["k"]) == b'{"device":"A","data":{"deleted":["k"]}}'
    assert (
        payloads.rpc_request("A", 7, "m", '{"p":1}')
        == b'{"device":"A","data":{"id":7,"method":"m","params":{"p":1}}}'
    )
    assert payloads.disconnected("A", ReasonCode.QUOTA_EXCEEDED) == b'{"device":"A","reason":151}'


def test_reason_strings_are_short() -> None:
    problem = Problem("x" * 255, Fault.BAD_NAME, "The name is odd.")
    assert len(payloads.reason_string([problem] * 1_000)) < 200


@pytest.mark.parametrize("fault", Fault)
def test_faults_have_codes_that_an_acknowledgement_may_carry(fault: Fault) -> None:
    assert permitted(fault.code, PacketType.PUBACK) == fault.code


@pytest.mark.parametrize("parse", PARSERS)
@given(payload=st.binary(max_size=60) | st.text(alphabet='{}[]":,A0 ntrue\\u', max_size=40).map(str.encode))
def test_whatever_comes_is_read_or_refused(parse: Callable[[bytes], object], payload: bytes) -> None:
    with contextlib.suppress(PayloadInvalid):
        parse(payload)


class TestMetrics:
    def test_a_minute(self) -> None:
        metrics = GatewayMetrics()
        metrics.note([ConnectorTime("a", 0, 10), ConnectorTime("a", 0, 20)], 50)
        sample = metrics.take(99)
        assert sample is not None
        assert sample.ts_ms == 99
        assert json.loads(str(sample.values["gatewayMetrics"])) == {
            "a": {
                "avgGwLatency": 15,
                "minGwLatency": 10,
                "maxGwLatency": 20,
                "avgTransportLatency": 35,
                "minTransportLatency": 30,
                "maxTransportLatency": 40,
            }
        }
        assert metrics.take(100) is None

    def test_connectors_are_bounded(self) -> None:
        metrics = GatewayMetrics()
        metrics.note([ConnectorTime(str(number), 0, 0) for number in range(MOST_CONNECTORS + 9)], 0)
        sample = metrics.take(0)
        assert sample is not None
        assert len(json.loads(str(sample.values["gatewayMetrics"]))) == MOST_CONNECTORS
