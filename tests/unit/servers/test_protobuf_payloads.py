"""Protobuf payloads, compared with protobuf's own JSON, and the fixed messages byte by byte."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from thingpass.devices.transport_configuration import ProtobufPayload
from thingpass.errors import Invalid
from thingpass.proto3.types import last_message_type
from thingpass.servers import protobuf_messages
from thingpass.servers.device_payloads import MOST_VALUES, AttributeRequest
from thingpass.servers.payload_codecs import JSON
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protobuf_payloads import WITHOUT_SCHEMAS, either, with_schemas
from thingpass.servers.protobuf_values import message_values
from thingpass.store.rows import Attribute, JsonText, Sample

START = 'syntax = "proto3";\n'
EVERYTHING = (
    START
    + """
message Everything {
  enum Kind { NONE = 0; SOME = 1; }
  message Inner { int32 a = 1; optional string b = 2; }
  double double_value = 1; float float_value = 2;
  int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6; sint32 s32 = 7; sint64 s64 = 8;
  fixed32 f32 = 9; fixed64 f64 = 10; sfixed32 sf32 = 11; sfixed64 sf64 = 12;
  bool flag = 13; string text = 14; bytes data = 15;
  Kind kind = 16; Inner inner = 17;
  optional int32 maybe = 18; optional Kind maybe_kind = 19;
  repeated int64 numbers = 20; repeated Inner inners = 21; repeated Kind kinds = 22;
  map<string, int32> by_name = 23; map<bool, Inner> by_flag = 24; map<int64, bytes> by_number = 25;
  oneof choice { int32 number_chosen = 26; Inner inner_chosen = 27; }
  int32 renamed_one = 28 [json_name = "other"];
}
"""
)
Everything: Any = last_message_type(EVERYTHING)
READING = (
    START + "message Reading { optional double temperature = 1; int64 count = 2; string some_text = 3; }"
)
Reading: Any = last_message_type(READING)
TIMED = START + "message V { int32 a = 1; } message T { optional int64 ts = 1; V values = 2; }"


def schemas(**fields: object) -> ProtobufPayload:
    return ProtobufPayload(**{"telemetry": READING, "attributes": READING, **fields})


def google_json(message: Any) -> dict[str, object]:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


class TestValues:
    def test_defaults_are_included_and_what_knows_that_it_was_not_set_is_not(self) -> None:
        values = message_values(Everything())
        assert values == google_json(Everything())
        assert values["i64"] == "0"
        assert "maybe" not in values
        assert "inner" not in values

    def test_everything(self) -> None:
        message = Everything(
            double_value=0.1,
            float_value=0.1,
            i32=-5,
            i64=-(2**63),
            u32=2**32 - 1,
            u64=2**64 - 1,
            s32=-1,
            s64=-1,
            f32=1,
            f64=1,
            sf32=-1,
            sf64=-1,
            flag=True,
            text="ä\x01",
            data=b"\x00\xff",
            kind=1,
            inner={"a": 1},
            maybe=0,
            maybe_kind=7,
            numbers=[1, -1],
            inners=[{}, {"b": ""}],
            kinds=[0, 1, 9],
            by_name={"x": 1},
            by_flag={True: {}},
            by_number={-1: b"a"},
            number_chosen=0,
            renamed_one=1,
        )
        assert message_values(message) == google_json(message)
        assert message_values(message)["floatValue"] == 0.1

    @given(st.floats(width=32))
    @example(1066494939103232.0)  # needs nine digits
    def test_32_bits_are_written_as_short_as_they_can_be(self, value: float) -> None:
        ours = message_values(Everything(float_value=value))["floatValue"]
        theirs = google_json(Everything(float_value=value))["floatValue"]
        assert ours == theirs or float(str(ours)) == float(str(theirs))

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(self, payload: bytes) -> None:
        try:
            message = Everything.FromString(payload)
        except Exception:
            with pytest.raises(PayloadInvalid):
                with_schemas(schemas(telemetry=EVERYTHING)).parse_telemetry(payload, 1)
        else:
            assert msgspec.json.encode(message_values(message))

    def test_message_that_would_grow_is_refused_while_it_grows(self) -> None:
        """Two bytes an element on the wire, and each field of it in JSON."""
        wide = START + "message W { " + "".join(f"int32 f{n} = {n};" for n in range(1, 500)) + "}"
        codec = with_schemas(schemas(telemetry=wide + "message M { repeated W w = 1; }"))
        with pytest.raises(PayloadInvalid, match=f"more than {MOST_VALUES} values"):
            codec.parse_telemetry(b"\x0a\x00" * 32_000, 1)

    def test_message_within_messages_is_bounded(self) -> None:
        codec = with_schemas(schemas(telemetry=START + "message M { M m = 1; }"))
        with pytest.raises(PayloadInvalid):
            codec.parse_telemetry(_nested(90), 1)
        assert codec.parse_telemetry(_nested(3), 1)


def _nested(levels: int) -> bytes:
    kind: Any = last_message_type(START + "message M { M m = 1; }")
    message = innermost = kind()
    for _ in range(levels):
        innermost.m.SetInParent()
        innermost = innermost.m
    return bytes(message.SerializeToString())


class TestReading:
    def test_telemetry_is_what_its_json_would_be(self) -> None:
        codec = with_schemas(schemas())
        payload = Reading(temperature=21.5, count=7, some_text="007").SerializeToString()
        assert codec.parse_telemetry(payload, 5) == [
            Sample(5, {"temperature": 21.5, "count": 7, "someText": 7})
        ]
        assert codec.parse_attributes(payload) == {"temperature": 21.5, "count": 7, "someText": 7}

    def test_time_of_telemetry(self) -> None:
        codec = with_schemas(schemas(telemetry=TIMED))
        kind: Any = last_message_type(TIMED)
        assert codec.parse_telemetry(kind(ts=9, values={"a": 1}).SerializeToString(), 5) == [
            Sample(9, {"a": 1})
        ]

    def test_reply_becomes_json(self) -> None:
        assert with_schemas(schemas()).parse_rpc_reply(b"\x0a\x02hi") == '{"payload":"hi"}'

    @pytest.mark.parametrize("payload", [b"{", b'{"a":1}', b"\xff", b"\x09\x00"])
    def test_other_bytes_are_refused(self, payload: bytes) -> None:
        codec = with_schemas(schemas())
        for parse in (lambda: codec.parse_telemetry(payload, 1), lambda: codec.parse_attributes(payload)):
            with pytest.raises(PayloadInvalid, match="no protobuf message Reading"):
                parse()

    def test_without_a_schema_it_is_said_which_is_missing(self) -> None:
        codec = with_schemas(ProtobufPayload(attributes=READING))
        with pytest.raises(PayloadInvalid, match="no protobuf schema for telemetry"):
            codec.parse_telemetry(b"", 1)
        for parse in (WITHOUT_SCHEMAS.parse_attributes, WITHOUT_SCHEMAS.parse_rpc_reply):
            with pytest.raises(PayloadInvalid, match="no protobuf schema"):
                parse(b"")
        with pytest.raises(PayloadInvalid, match="RPC to the device"):
            WITHOUT_SCHEMAS.rpc_request("1", "m", "{}")

    def test_schema_that_cannot_be_used(self) -> None:
        with pytest.raises(Invalid, match="line 1"):
            with_schemas(ProtobufPayload(telemetry="nonsense"))

    def test_either_reads_both_and_tells_the_first_fault(self) -> None:
        codec = either(with_schemas(schemas()), JSON)
        assert codec.parse_telemetry(b'{"a":1}', 5) == [Sample(5, {"a": 1})]
        assert codec.parse_telemetry(Reading(count=1).SerializeToString(), 5)[0].values["count"] == 1
        assert codec.parse_attribute_request(b'{"clientKeys":"a"}') == AttributeRequest(True, False, ("a",))
        with pytest.raises(PayloadInvalid, match="no protobuf message"):
            codec.parse_telemetry(b"nonsense", 5)


class TestRpcRequest:
    def test_default_schema_takes_parameters_as_json_text(self) -> None:
        codec = with_schemas(schemas())
        assert codec.rpc_request("7", "m", '{"a": 1}') == b"\x0a\x01m\x10\x07\x1a\x08" + b'{"a": 1}'
        assert codec.rpc_request("0", "m", '"on"') == b"\x0a\x01m\x10\x00\x1a\x02on"

    @pytest.mark.parametrize(
        ("params", "given", "expected"),
        [
            ("int32 params = 3;", "5", b"\x18\x05"),
            ("bool params = 3;", "true", b"\x18\x01"),
            ("message P { int32 a = 1; } P params = 3;", '{"a":1,"unknown":2}', b"\x1a\x02\x08\x01"),
        ],
    )
    def test_parameters_fit_the_schema(self, params: str, given: str, expected: bytes) -> None:
        request = START + f"message R {{ string method = 1; {params} }}"
        codec = with_schemas(schemas(rpc_request=request))
        assert codec.rpc_request("7", "m", given) == b"\x0a\x01m" + expected
        with pytest.raises(PayloadInvalid, match="do not fit"):
            codec.rpc_request("7", "m", '[["x"]]')


class TestFixedMessages:
    """Field numbers of ThingsBoard's transport.proto and queue.proto."""

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            (b"", AttributeRequest(True, True)),
            (b"\x0a\x03a,b", AttributeRequest(True, False, ("a", "b"), None)),
            (b"\x12\x01c", AttributeRequest(False, True, None, ("c",))),
            (b"\x0a\x01a\x12\x01c", AttributeRequest(True, True, ("a",), ("c",))),
        ],
    )
    def test_request_for_attributes(self, payload: bytes, expected: AttributeRequest) -> None:
        assert WITHOUT_SCHEMAS.parse_attribute_request(payload) == expected

    def test_answer_with_attributes(self) -> None:
        answer = WITHOUT_SCHEMAS.attribute_response("5", [Attribute("a", True, 3)], [])
        # requestId = 1: 5; clientAttributeList = 2: {ts = 1: 3, kv = 2: {key = 1: a, bool_v = 3: true}}
        assert answer == b"\x08\x05" + b"\x12\x09" + b"\x08\x03" + b"\x12\x05" + b"\x0a\x01a" + b"\x18\x01"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (2, b"\x10\x01\x20\x02"),
            (-1, b"\x10\x01\x20" + b"\xff" * 9 + b"\x01"),
            (1.5, b"\x10\x02\x29" + b"\x00" * 6 + b"\xf8\x3f"),
            ("x", b"\x10\x03\x32\x01x"),
            (JsonText("[1]"), b"\x10\x04\x3a\x03[1]"),
        ],
    )
    def test_push_of_a_value(self, value: object, expected: bytes) -> None:
        entry = b"\x0a\x01k" + expected
        inner = b"\x12" + bytes([len(entry)]) + entry
        pushed = WITHOUT_SCHEMAS.attributes_update({"k": value})  # type: ignore[dict-item]
        assert pushed == b"\x0a" + bytes([len(inner)]) + inner

    def test_push_of_removed_keys(self) -> None:
        assert WITHOUT_SCHEMAS.attributes_removal(["a", "b"]) == b"\x12\x01a\x12\x01b"

    def test_call_to_the_server_and_its_answer(self) -> None:
        assert WITHOUT_SCHEMAS.parse_rpc_method(b"\x0a\x04time\x12\x02{}") == "time"
        with pytest.raises(PayloadInvalid, match="no `method`"):
            WITHOUT_SCHEMAS.parse_rpc_method(b"")
        assert WITHOUT_SCHEMAS.rpc_answer("7", b"{}") == b"\x08\x07\x12\x02{}"
        assert protobuf_messages.rpc_answer("4294967295", b"").startswith(b"\x08\xff\xff")
        assert protobuf_messages.rpc_answer("9999999999", b"") == b""

    @given(st.binary(max_size=100))
    def test_any_bytes_are_read_or_refused(self, payload: bytes) -> None:
        for parse in (WITHOUT_SCHEMAS.parse_attribute_request, WITHOUT_SCHEMAS.parse_rpc_method):
            try:
                parse(payload)
            except PayloadInvalid:
                pass


def test_a_server_without_protobuf_devices_does_not_load_the_library() -> None:
    code = "import sys, thingpass.app; sys.exit('google.protobuf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-200:]
