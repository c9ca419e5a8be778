"""Device API reference 2.4 to 2.7, row by row, and the same rules written a second time, slowly."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thingpass.servers import device_payloads
from thingpass.servers.device_payloads import (
    LATEST_TS_MS,
    LONGEST_KEY,
    MOST_VALUES,
    AttributeRequest,
    attribute_response,
    attributes_removal,
    attributes_update,
    parse_attribute_request,
    parse_attributes,
    parse_rpc_method,
    parse_telemetry,
)
from thingpass.servers.payload_faults import DEEPEST_NESTING, MOST_DIGITS, PayloadInvalid
from thingpass.store.rows import Attribute, JsonText, Sample

NOW = 1_767_225_600_000


def value_of(written: str) -> object:
    """What is stored for one value, by both ways into the parser."""
    (sample,) = parse_telemetry(f'{{"k":{written}}}'.encode(), NOW)
    assert parse_attributes(f'{{"k":{written}}}'.encode()) == sample.values
    return sample.values["k"]


def same(one: object, other: object) -> bool:
    """Equal, and of the same kind: 1, 1.0 and True are three values; so are 0.0 and -0.0."""
    return type(one) is type(other) and repr(one) == repr(other)


SAMPLES: list[tuple[str, list[tuple[int, dict[str, object]]]]] = [
    ('{"k":1}', [(NOW, {"k": 1})]),
    ('{"ts":5,"values":{"k":1}}', [(5, {"k": 1})]),
    ('[{"k":1},{"ts":5,"values":{"k":2}}]', [(NOW, {"k": 1}), (5, {"k": 2})]),
    ('{"ts":1,"temp":5}', [(NOW, {"ts": 1, "temp": 5})]),
    ('{"values":{"a":1}}', [(NOW, {"values": JsonText('{"a":1}')})]),
    ('{"ts":1,"values":{"a":1},"metadata":{"b":2}}', [(1, {"a": 1})]),
    ('{"ts":1,"values":{"a":{"b":1.50}},"c":2}', [(1, {"a": JsonText('{"b":1.50}')})]),
    (
        '[{"a":[1, 2.0]},{"ts":1,"values":{"a":[3]}}]',
        [(NOW, {"a": JsonText("[1,2.0]")}), (1, {"a": JsonText("[3]")})],
    ),
    ("{}", []),
    ("[]", []),
    ('{"k":null}', []),
    ('[{"k":null},{"l":1}]', [(NOW, {"l": 1})]),
    ('{"ts":1,"values":{}}', []),
    ('{"k":1,"k":2}', [(NOW, {"k": 2})]),
    ('{"k":1,"k":{"a":1},"l":"1"}', [(NOW, {"k": JsonText('{"a":1}'), "l": 1})]),
    (' \n{ "k" : 1 }\t', [(NOW, {"k": 1})]),
]


@pytest.mark.parametrize(("written", "samples"), SAMPLES, ids=[row[0] for row in SAMPLES])
def test_shapes(written: str, samples: list[tuple[int, dict[str, Any]]]) -> None:
    assert parse_telemetry(written.encode(), NOW) == [Sample(ts, values) for ts, values in samples]


@pytest.mark.parametrize(
    ("ts", "stored"),
    [
        ("1767225600000", 1767225600000),
        ("1.9", 1),
        ("-1.9", -1),
        ("1e15", 10**15),
        ("1.5e3", 1500),
        ("-5", -5),
        ('"1767225600000"', 1767225600000),
        ('"-5"', -5),
        ("1.00000000000000000000", 1),
        (str(LATEST_TS_MS), LATEST_TS_MS),
    ],
)
def test_forms_of_ts(ts: str, stored: int) -> None:
    assert parse_telemetry(f'{{"ts":{ts},"values":{{"k":1}}}}'.encode(), NOW) == [Sample(stored, {"k": 1})]


@pytest.mark.parametrize(
    "ts",
    ["null", "true", "{}", "[1]", '"soon"', '""', '"1.5"', '" 1"', '"1_0"', "1e20", str(LATEST_TS_MS + 1)],
)
def test_other_forms_of_ts_are_refused(ts: str) -> None:
    with pytest.raises(PayloadInvalid, match="`ts`"):
        parse_telemetry(f'{{"ts":{ts},"values":{{"k":1}}}}'.encode(), NOW)
    with pytest.raises(PayloadInvalid, match="`ts` of element 2"):
        parse_telemetry(f'[{{}},{{"ts":{ts},"values":{{"k":1}}}}]'.encode(), NOW)


VALUES: list[tuple[str, object]] = [
    ("true", True),
    ("false", False),
    ("5", 5),
    ("-0", 0),
    ("1e3", 1000),
    ("1.5e1", 15),
    ("1.0e2", 100),
    ("1E+2", 100),
    ("0e5", 0),
    ("0.0e0", 0),
    ("0e999999999", 0),
    ("1.0", 1.0),
    ("0.0", 0.0),
    ("-0.0", 0.0),
    ("100.00", 100.0),
    ("1.5", 1.5),
    ("-21.25", -21.25),
    ("1e-3", 0.001),
    ("15e-1", 1.5),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("9.223372036854775807e18", 2**63 - 1),
    ("9223372036854775808", "9223372036854775808"),
    ("-9223372036854775809", "-9223372036854775809"),
    ("1e19", "1" + "0" * 19),
    ("1e400", "1" + "0" * 400),
    ("-1.5e400", "-15" + "0" * 399),
    ("0.1234567890123456", 0.1234567890123456),
    ("0.12345678901234567", "0.12345678901234567"),
    ("1.00000000000000000", "1.00000000000000000"),
    ("-0.00000000000000000", "0.00000000000000000"),
    ("1e-17", "0.00000000000000001"),
    ("12345678901234567890.5", 12345678901234567890.5),
    ('"text"', "text"),
    ('"1"', 1),
    ('"007"', 7),
    ('"-1"', -1),
    ('"-0"', 0),
    ('".5"', 0.5),
    ('"-.5"', -0.5),
    ('"1.0"', 1.0),
    ('"-0.0"', 0.0),
    ('"100.00"', 100.0),
    ('"١٢"', 12),
    ('"١.٥"', 1.5),
    ('"𝟏𝟐"', "𝟏𝟐"),
    ('"+1"', "+1"),
    ('"1."', "1."),
    ('"."', "."),
    ('"-"', "-"),
    ('"1e3"', "1e3"),
    ('"0x10"', "0x10"),
    ('" 1"', " 1"),
    ('"1 "', "1 "),
    ('"1_0"', "1_0"),
    ('""', ""),
    ('"true"', "true"),
    ('"NaN"', "NaN"),
    ('"Infinity"', "Infinity"),
    ('"1,5"', "1,5"),
    ('"1.2.3"', "1.2.3"),
    ('"2026-01-01"', "2026-01-01"),
    ('"9223372036854775808"', "9223372036854775808"),
    ('"00009223372036854775808"', "00009223372036854775808"),
    ('"0.12345678901234567"', "0.12345678901234567"),
    ('"' + "9" * 400 + '.5"', "9" * 400 + ".5"),
    ('"' + "9" * 5000 + '"', "9" * 5000),
    ('{"a": 1.50, "b" : [ 1e2 ,null]}', JsonText('{"a":1.50,"b":[1e2,null]}')),
    ("[]", JsonText("[]")),
    ('["a b"]', JsonText('["a b"]')),
]


@pytest.mark.parametrize(("written", "stored"), VALUES, ids=[row[0][:40] for row in VALUES])
def test_values(written: str, stored: object) -> None:
    value = value_of(written)
    assert same(value, stored), (value, stored)


@pytest.mark.parametrize(
    "written",
    [
        "1e1000",
        "1e999999999",
        "-1e200000000",
        "1e-1001",
        "9" * 1001,
        "9" * 5000,
        "0." + "1" * 1001,
        "9" * 400 + ".5",
        "1" * 3000 + ".5",
    ],
    ids=lambda written: written[:20],
)
def test_numbers_without_bound_are_refused(written: str) -> None:
    for payload in (f'{{"k":{written}}}', f'{{"k":[{{"a":{written}}}]}}'):
        if written == "9" * 1001 and "[" in payload:
            continue  # a whole number inside a JSON value stays text
        with pytest.raises(PayloadInvalid, match=r"digits|larger than a DOUBLE"):
            parse_telemetry(payload.encode(), NOW)


def test_the_largest_number_written_out_is_taken() -> None:
    assert value_of(f"1e{MOST_DIGITS - 1}") == "1" + "0" * (MOST_DIGITS - 1)
    assert value_of("9" * MOST_DIGITS) == "9" * MOST_DIGITS


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"null", "not null"),
        (b"5", "not a number"),
        (b"1.5", "not a number"),
        (b'"text"', "not a string"),
        (b"true", "not a boolean"),
        (b"[[]]", "Element 1 of the array is an array of 0"),
        (b'[{"a":1},5]', "Element 2 of the array is a number"),
        (b"[null]", "Element 1 of the array is null"),
        (b'{"ts":1,"values":5}', "`values` is a number"),
        (b'{"ts":1,"values":null}', "`values` is null"),
        (b'[{"ts":1,"values":[]}]', "`values` of element 1 is an array of 0"),
    ],
)
def test_other_shapes_are_refused(payload: bytes, words: str) -> None:
    with pytest.raises(PayloadInvalid, match=re.escape(words)):
        parse_telemetry(payload, NOW)


LENIENT: list[tuple[bytes, str | None]] = [
    (b"{a:1}", "double quotes"),
    (b"{'a':1}", "double quotes"),
    (b"{\"a\":'x'}", "double quotes"),
    (b'{"a":abc}', "double quotes"),
    (b'{"a":NaN}', "NaN"),
    (b'{"a":-Infinity}', None),
    (b'{"a":Infinity}', "Infinity"),
    (b'{"a":undefined}', "undefined"),
    (b'{"a":True}', "lower case"),
    (b'{"a":Null}', "lower case"),
    (b'{"a"=1}', "colon"),
    (b'{"a"=>1}', "colon"),
    (b'{"a":1;"b":2}', None),
    (b'// c\n{"a":1}', "comments"),
    (b'{"a":1 /* c */}', "comments"),
    (b'# c\n{"a":1}', "comments"),
    (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
    (b')]}\'\n{"a":1}', None),
    (b'{"a":"x\ny"}', "line breaks"),
    (b'{"a":01}', None),
    (b'{"a":+1}', "digit"),
    (b'{"a":.5}', "digit"),
    (b'{"a":1.}', None),
    (b'{"a":0x10}', None),
    (b'{"a":[1,]}', None),
    (b'{"a":1,}', None),
    (b'{"a":}', None),
    (b'{"a":1', None),
    (b'{"a":1}}', None),
    (b'{"a":1}{"b":2}', None),
    (b'{"a":"\\u12"}', None),
    (b'{"a":"\\x41"}', None),
    (b'{"a":"\\ud800"}', None),
    (b'{"a":"\xff"}', "UTF-8"),
    (b'{"a":"\xed\xa0\x80"}', "UTF-8"),
]


@pytest.mark.parametrize(("payload", "mend"), LENIENT, ids=[repr(row[0]) for row in LENIENT])
def test_json_is_strict_and_says_what_was_meant(payload: bytes, mend: str | None) -> None:
    """All but the last ten or so are taken by ThingsBoard: the stated difference."""
    for parse in (lambda data: parse_telemetry(data, NOW), parse_attributes, parse_attribute_request):
        with pytest.raises(PayloadInvalid) as caught:
            parse(payload)
        assert mend is None or mend in (caught.value.mend or "")


def test_errors_say_where_and_never_repeat_the_payload() -> None:
    secret = "x" * 500
    with pytest.raises(PayloadInvalid, match=r"at byte 1012, where 'Q' stands") as caught:
        parse_telemetry(f'{{"{secret}":"{secret}","a": Q}}'.encode(), NOW)
    assert secret not in caught.value.sentence
    with pytest.raises(PayloadInvalid) as caught:
        parse_telemetry(f'{{"{secret}":1}}'.encode(), NOW)
    assert "500 characters" in caught.value.sentence
    assert len(caught.value.sentence) < 120


class TestBounds:
    def test_keys_have_a_longest(self) -> None:
        assert parse_telemetry(f'{{"{"k" * LONGEST_KEY}":1}}'.encode(), NOW)
        for payload in ('{"KEY":1}', '{"ts":1,"values":{"KEY":1}}', '[{"a":1},{"KEY":1}]', '{"KEY":[1]}'):
            with pytest.raises(PayloadInvalid, match="256 characters"):
                parse_telemetry(payload.replace("KEY", "k" * (LONGEST_KEY + 1)).encode(), NOW)

    def test_keys_have_no_character_zero(self) -> None:
        with pytest.raises(PayloadInvalid, match=re.escape("U+0000")):
            parse_telemetry(b'{"a\\u0000":1}', NOW)
        assert value_of('"\\u0000"') == "\x00"
        assert value_of('"\\\\u0000"') == "\\u0000"

    def test_a_message_has_so_many_values_at_most(self) -> None:
        members = ",".join(f'"k{number}":1' for number in range(MOST_VALUES))
        assert len(parse_telemetry(f"{{{members}}}".encode(), NOW)[0].values) == MOST_VALUES
        for payload in (f'{{{members},"l":1}}', f'[{{"l":1}},{{{members}}}]'):
            with pytest.raises(PayloadInvalid, match="10001 values"):
                parse_telemetry(payload.encode(), NOW)

    def test_nesting_has_a_deepest(self) -> None:
        def nested(depth: int) -> bytes:
            return b'{"k":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

        assert isinstance(parse_telemetry(nested(DEEPEST_NESTING), NOW)[0].values["k"], JsonText)
        for depth in (DEEPEST_NESTING + 1, 500, 5_000, 100_000):
            with pytest.raises(PayloadInvalid, match="nested deeper than 64"):
                parse_telemetry(nested(depth), NOW)
        with pytest.raises(PayloadInvalid):
            parse_telemetry(b"[" * 100_000, NOW)

    def test_many_small_json_values_are_read_in_linear_time(self) -> None:
        payload = b"[" + b",".join([b'{"a":[1]}'] * 8_000) + b"]"
        assert len(parse_telemetry(payload, NOW)) == 8_000


class TestAttributes:
    def test_there_is_no_ts_form(self) -> None:
        assert parse_attributes(b'{"ts":1,"values":{}}') == {"ts": 1, "values": JsonText("{}")}

    @pytest.mark.parametrize("payload", [b"[]", b'[{"a":1}]', b"5", b"null", b'"a"', b""])
    def test_only_an_object_will_do(self, payload: bytes) -> None:
        with pytest.raises(PayloadInvalid):
            parse_attributes(payload)

    def test_nulls_are_skipped_and_an_empty_object_is_nothing(self) -> None:
        assert parse_attributes(b'{"a":null,"b":"x"}') == {"b": "x"}
        assert parse_attributes(b"{}") == {}


class TestAttributeRequest:
    @pytest.mark.parametrize(
        ("payload", "request_"),
        [
            (b"{}", AttributeRequest(True, True)),
            (b'{"other":1}', AttributeRequest(True, True)),
            (b'{"clientKeys":"a,b","sharedKeys":"c"}', AttributeRequest(True, True, ("a", "b"), ("c",))),
            (b'{"clientKeys":"a,b"}', AttributeRequest(True, False, ("a", "b"), None)),
            (b'{"sharedKeys":"c"}', AttributeRequest(False, True, None, ("c",))),
            (b'{"clientKeys":"a, b"}', AttributeRequest(True, False, ("a", " b"), None)),
            (b'{"clientKeys":""}', AttributeRequest(True, False, ("",), None)),
            (b'{"clientKeys":5}', AttributeRequest(True, False, ("5",), None)),
            (b'{"clientKeys":1.50}', AttributeRequest(True, False, ("1.50",), None)),
            (b'{"clientKeys":true}', AttributeRequest(True, False, ("true",), None)),
            (b'{"clientKeys":["a,b"]}', AttributeRequest(True, False, ("a", "b"), None)),
            (b'{"clientKeys":"a,a"}', AttributeRequest(True, False, ("a",), None)),
        ],
    )
    def test_forms(self, payload: bytes, request_: AttributeRequest) -> None:
        assert parse_attribute_request(payload) == request_

    @pytest.mark.parametrize(
        "payload",
        [
            b'{"clientKeys":null}',
            b'{"clientKeys":{}}',
            b'{"sharedKeys":["a","b"]}',
            b'{"sharedKeys":[]}',
            b"[]",
            b"5",
            b"",
            b"null",
        ],
    )
    def test_other_forms_are_refused(self, payload: bytes) -> None:
        with pytest.raises(PayloadInvalid):
            parse_attribute_request(payload)


class TestAnswers:
    def test_values_keep_their_kind_and_json_is_embedded(self) -> None:
        attributes = [
            Attribute(key, value, NOW)
            for key, value in {
                "on": True,
                "n": 5,
                "x": 1.0,
                "s": 'a"b',
                "j": JsonText('{"a":1.50}'),
            }.items()
        ]
        assert (
            attribute_response(attributes, None)
            == b'{"client":{"on":true,"n":5,"x":1.0,"s":"a\\"b","j":{"a":1.50}}}'
        )

    def test_a_scope_without_hits_is_left_out(self) -> None:
        shared = [Attribute("a", 1, NOW)]
        assert attribute_response([], shared) == b'{"shared":{"a":1}}'
        assert attribute_response(None, None) == b"{}"

    def test_pushes(self) -> None:
        assert attributes_update({"a": 1, "j": JsonText("[1.50]")}) == b'{"a":1,"j":[1.50]}'
        assert attributes_removal(["a", "b"]) == b'{"deleted":["a","b"]}'


class TestRpcMethod:
    @pytest.mark.parametrize(
        ("payload", "method"),
        [
            (b'{"method":"getSessionLimits","params":{"timeout":5000}}', "getSessionLimits"),
            (b'{"method":5}', "5"),
            (b'{"method":["m"]}', "m"),
        ],
    )
    def test_forms(self, payload: bytes, method: str) -> None:
        assert parse_rpc_method(payload) == method

    @pytest.mark.parametrize("payload", [b"{}", b'{"method":null}', b'{"method":{}}', b"[]", b"x", b""])
    def test_other_forms_are_refused(self, payload: bytes) -> None:
        with pytest.raises(PayloadInvalid):
            parse_rpc_method(payload)


# The same rules a second time, from the reference and with nothing but the standard library


class Spelled(str):
    """A JSON number as it was written."""


def reference_number(text: str) -> object:
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    plain = format(number, "f").lstrip("-")
    if number and len(plain.replace(".", "").lstrip("0") or "0") > MOST_DIGITS:
        raise PayloadInvalid("digits")
    simple = "." in text and "e" not in text.lower()
    if number == number.to_integral_value() and not simple:
        whole = int(number)
        return whole if -(2**63) <= whole < 2**63 else str(whole)
    if -exponent > 16:
        return ("-" if number < 0 else "") + plain
    return float(number) + 0.0


def reference_value(value: object) -> object:
    if type(value) is Spelled:
        return reference_number(value)
    if type(value) is str:
        java_digits = re.fullmatch(r"-?(\d+(\.\d+)?|\.\d+)", value) and all(c <= "\uffff" for c in value)
        if not java_digits:
            return value
        number = reference_number(value)
        return value if isinstance(number, str) else number
    return value


def reference(payload: str) -> list[tuple[int, dict[str, object]]]:
    def not_a_number(text: str) -> object:
        raise PayloadInvalid(text)

    def values(members: dict[str, object]) -> dict[str, object]:
        return {key: reference_value(value) for key, value in members.items() if value is not None}

    document = json.loads(payload, parse_int=Spelled, parse_float=Spelled, parse_constant=not_a_number)
    found = []
    for element in document if isinstance(document, list) else [document]:
        if "ts" in element and "values" in element:
            found.append((int(Decimal(element["ts"])), values(element["values"])))
        else:
            found.append((NOW, values(element)))
    return [(ts, told) for ts, told in found if told]


def read_again(text: str) -> object:
    return json.loads(text, parse_int=Spelled, parse_float=Spelled)


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,19})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
digit_strings = st.from_regex(r"[+-]?[0-9٠-٩]{0,21}\.?[0-9]{0,18}", fullmatch=True)
texts = st.one_of(st.text(max_size=12), digit_strings).map(lambda text: json.dumps(text, ensure_ascii=False))
scalars = st.one_of(st.sampled_from(["true", "false", "null"]), numbers, texts)
keys = st.text(max_size=5).filter(lambda key: "\x00" not in key).map(json.dumps)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(keys, st.sampled_from([":", " : "]), values).map("".join), max_size=4)
    return members.map(lambda each: "{" + ",".join(each) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda each: "[" + " , ".join(each) + "]")


value_texts = st.recursive(scalars, lambda inner: objects(inner) | arrays(inner), max_leaves=8)
elements = st.one_of(
    objects(value_texts),
    st.tuples(st.integers(-(10**13), 10**13), objects(value_texts)).map(
        lambda pair: f'{{"ts":{pair[0]},"values":{pair[1]}}}'
    ),
)
telemetry = st.one_of(elements, st.lists(elements, max_size=3).map(lambda each: "[" + ",".join(each) + "]"))


def has_too_many_digits(payload: str) -> bool:
    found: list[bool] = []

    def note(text: str) -> None:
        _, digits, power = Decimal(text).as_tuple()
        assert isinstance(power, int)
        long = max(len(digits) + power, len(digits), 1 - power) > MOST_DIGITS
        found.append(long and any(digits))

    json.loads(payload, parse_float=note, parse_int=note)
    return any(found)


@settings(deadline=None)
@given(telemetry)
@example('{"ts":1,"values":{"a":"1"},"values":{"b":2}}')
@example('{"":10E999}')
@example('{"":[10E999]}')
def test_it_agrees_with_the_slow_reference(payload: str) -> None:
    if has_too_many_digits(payload):  # wherever the number stands
        with pytest.raises(PayloadInvalid, match="digits"):
            parse_telemetry(payload.encode(), NOW)
        return
    wanted = reference(payload)
    found = parse_telemetry(payload.encode(), NOW)
    assert [sample.ts_ms for sample in found] == [ts for ts, _ in wanted]
    for sample, (_, values) in zip(found, wanted, strict=True):
        assert sample.values.keys() == values.keys()
        for key, value in sample.values.items():
            if type(value) is JsonText:
                assert read_again(value) == values[key]
            else:
                assert same(value, values[key]), (value, values[key])


any_payload = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(str.encode),
    st.text(alphabet='{}[]",:.-+eE0123456789ntfals \\u"', max_size=40).map(str.encode),
    st.tuples(telemetry.map(str.encode), st.integers(0, 200), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    ),
)


@settings(deadline=None)
@given(any_payload)
@example(b'{"k":' * 100_000)
@example(b'{"a":"' + b"9" * 70_000 + b'"}')
@example(b'{"ts":-,"values":{}}')
def test_whatever_the_bytes_nothing_but_payload_invalid_comes_out(payload: bytes) -> None:
    for parse in (
        lambda data: parse_telemetry(data, NOW),
        parse_attributes,
        parse_attribute_request,
        parse_rpc_method,
    ):
        sentence = ""
        try:
            parse(payload)
        except PayloadInvalid as error:
            sentence = error.sentence
        assert len(sentence) < 200
        assert sentence.isprintable()


@settings(deadline=None)
@given(telemetry)
def test_what_is_stored_can_be_sent_back(payload: str) -> None:
    try:
        samples = parse_telemetry(payload.encode(), NOW)
    except PayloadInvalid:  # a number of more digits than are taken: nothing is stored
        return
    for sample in samples:
        told = json.loads(attributes_update(sample.values))
        assert told.keys() == sample.values.keys()


def test_the_page_names_every_bound() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/telemetry-values.md").read_text("utf-8")
    for bound in (LONGEST_KEY, MOST_VALUES, DEEPEST_NESTING, MOST_DIGITS, LATEST_TS_MS):
        assert f"{bound:,}" in page, bound
    assert device_payloads.__doc__ is not None
    assert "docs/reference/telemetry-values.md" in device_payloads.__doc__
