"""Schemas as people write them, and what is said of faulty ones."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.proto3.declarations import FieldDeclaration
from thingpass.proto3.errors import SchemaError
from thingpass.proto3.reading import LONGEST_SCHEMA, camel_case, read_schema

START = 'syntax = "proto3";\n'


def fields(body: str) -> list[FieldDeclaration]:
    return list(read_schema(f"{START}message M {{ {body} }}").messages[-1].fields)


def test_what_thingsboards_page_shows_is_read() -> None:
    found = read_schema(
        """\
syntax ="proto3";
package telemetry;
/* what a sensor sends */
message SensorDataReading {
  optional double temperature = 1; // degrees
  optional double humidity = 2;
  InnerObject innerObject = 3;

  message InnerObject {
    optional string key1 = 1;
    optional bool key2 = 2;
    optional double key3 = 3;
    optional int32 key4 = 4;
    optional string key5 = 5;
  }
}
"""
    )
    assert found.package == "telemetry"
    (message,) = found.messages
    assert [(field.name, field.type_name, field.optional) for field in message.fields] == [
        ("temperature", "double", True),
        ("humidity", "double", True),
        ("innerObject", "InnerObject", False),
    ]
    assert message.messages[0].name == "InnerObject"
    assert message.fields[1].line == 6


def test_every_kind_of_declaration() -> None:
    found = read_schema(
        START
        + """
option java_package = "org.example";
option (my.option) = { a: 1, b: [1, 2], c { d: "}" } };
enum Kind { option allow_alias = true; A = 0; B = 1 [deprecated = true]; C = 0x1; D = -1; reserved 5 to max; }
;
message Message {  // keywords are names, too
  reserved 2, 15, 9 to 11;
  reserved "foo";
  option deprecated = true;
  repeated int32 numbers = 1 [packed = false, json_name = "n", (x) = {a: "]"}];
  map<string, .Other.Deep> deep = 3;
  oneof choice { option (x) = 1; string message = 4; Other.Deep oneof = 5; }
  Kind optional = 6;
  optional .Kind repeated = 7;;
  int32 message_type = 0x10;
}
message Other { message Deep {} }
"""
    )
    (kind,) = found.enums
    assert kind.allow_alias
    assert kind.values == (("A", 0), ("B", 1), ("C", 1), ("D", -1))
    message = found.messages[0]
    assert message.oneofs == ("choice",)
    by_name = {field.name: field for field in message.fields}
    assert (by_name["numbers"].packed, by_name["numbers"].json_name) == (False, "n")
    assert (by_name["deep"].key_type, by_name["deep"].type_name) == ("string", ".Other.Deep")
    assert by_name["oneof"].oneof == "choice"
    assert (by_name["optional"].type_name, by_name["optional"].optional) == ("Kind", False)
    assert by_name["repeated"].optional
    assert by_name["message_type"].number == 16


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "does not begin with syntax"),
        ("message A {}", 1, "does not begin with syntax"),
        ('syntax = "proto2";', 1, "the syntax is 'proto2'"),
        (START, 2, "declares no message"),
        (START + "enum E { A = 0; }", 2, "declares no message"),
        (START + "message A {", 2, "the end of the schema"),
        (START + "message A {\n  int32 a 1;\n}", 3, "expected '=', and there is '1'"),
        (START + "message A {\n  int32 a = 1\n}", 4, "expected ';', and there is '}'"),
        (START + "message A {\n  int32 = 1;\n}", 3, "expected the field's name"),
        (START + "message A {\n  int32 a = x;\n}", 3, "expected the field's number"),
        (START + "message A {\n  int32 a = 1.5;\n}", 3, "'1.5' is no whole number"),
        (START + "message A {\n  int32 a = 0;\n}", 3, "0 cannot be a field's number"),
        (START + "message A {\n  int32 a = 19000;\n}", 3, "19000 cannot be a field's number"),
        (START + "message A {\n  int32 a = 536870912;\n}", 3, "cannot be a field's number"),
        (START + "message A {\n  int32 a = 1;\n  int32 b = 1;\n}", 4, "the number 1 is taken on line 3"),
        (START + "message A {\n  int32 a = 1;\n  int32 a = 2;\n}", 4, "the name 'a' is taken on line 3"),
        (START + "message A {\n  int32 a_b = 1;\n  int32 aB = 2;\n}", 4, "the JSON name 'aB' is taken"),
        (START + "message A {}\nmessage A {}", 3, "the name 'A' is taken on line 2"),
        (START + "message A {\n  required int32 a = 1;\n}", 3, "`required` belongs to proto2"),
        (START + "message A {\n  int32 a = 1 [default = 5];\n}", 3, "default values belong to proto2"),
        (START + "message A {\n  group G = 1 {}\n}", 3, "groups belong to proto2"),
        (START + "message A {\n  extensions 4 to 5;\n}", 3, "extensions belong to proto2"),
        (START + 'import "other.proto";\nmessage A {}', 2, "imports are not supported"),
        (START + "service S {}\nmessage A {}", 2, "services are not supported"),
        (START + "extend A {}\nmessage A {}", 2, "extensions belong to proto2"),
        (START + "massage A {}", 2, "expected `message` or `enum`, and there is 'massage'"),
        (START + "package a;\npackage b;\nmessage A {}", 3, "a second `package`"),
        (
            START + "message A {\n  map<double, int32> a = 1;\n}",
            3,
            "'double' cannot be the type of a map's keys",
        ),
        (START + "message A {\n  repeated map<string, int32> a = 1;\n}", 3, "a map has no label"),
        (START + "message A {\n  oneof o {}\n}", 3, "the oneof 'o' has no field"),
        (START + "message A {\n  oneof o { repeated int32 a = 1; }\n}", 3, "a field in a oneof has no label"),
        (START + "enum E {\n  A = 1;\n}\nmessage A {}", 3, "the first value of an enum is 0"),
        (START + "enum E {}\nmessage A {}", 2, "the first value of an enum is 0"),
        (START + "enum E { A = 0;\n B = 0; }\nmessage A {}", 3, "the number 0 is taken on line 2"),
        (START + "enum E { A = 0; B = 4294967296; }\nmessage A {}", 2, "32 bits"),
        (START + "message A {\n  int32 a = 1; §\n}", 3, "'§' belongs to nothing"),
        (START + 'message A { option a = "no end; }', 2, "belongs to nothing"),
        (START + "/* no end", 2, "'/' belongs to nothing"),
        (START + "message A { option a = ); }", 2, "closes what was not opened"),
        (START + "message A { int32 a = " + "9" * 5000 + "; }", 2, "is no whole number"),
    ],
)
def test_fault_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read_schema(text)
    assert words in caught.value.problem
    assert caught.value.line == line
    assert str(caught.value) == f"line {line}: {caught.value.problem}"


def test_bounds() -> None:
    with pytest.raises(SchemaError, match="characters"):
        read_schema(START + " " * LONGEST_SCHEMA)
    deep = START + "message A {" * 5000 + "}" * 5000
    with pytest.raises(SchemaError, match="deeper than 32"):
        read_schema(deep)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", "a"), ("a_b", "aB"), ("a__b", "aB"), ("_a", "A"), ("a_1", "a1"), ("aB", "aB"), ("a_", "a")],
)
def test_names_in_json(name: str, expected: str) -> None:
    assert camel_case(name) == expected


PIECES = [
    *("syntax", "message", "enum", "oneof", "map", "optional", "repeated", "reserved", "option"),
    *("=", '"proto3"', ";", "<", ">", "{", "}", "[", "]", "(", ")", "-", ",", "'", '"', "//", "/*"),
    *("A", "a.b", "int32", "1", "0x"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(lambda words: START + " ".join(words)) | st.text())
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(SchemaError):
        read_schema(text)
