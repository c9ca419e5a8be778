"""Message types made of schemas: the wire is protobuf's own, names are found as protoc finds them."""

from __future__ import annotations

from typing import Any

import pytest

from thingpass.proto3.errors import SchemaError
from thingpass.proto3.types import last_message_type, message_type

START = 'syntax = "proto3";\n'


def test_the_last_message_is_the_one_that_counts() -> None:
    """As in ThingsBoard [DynamicProtoUtils]."""
    assert last_message_type(START + "message A {} message B {} enum C { D = 0; }").DESCRIPTOR.name == "B"


def test_message_by_name() -> None:
    assert message_type(START + "package p.q; message A {} message B {}", "A").DESCRIPTOR.full_name == "p.q.A"
    with pytest.raises(SchemaError, match="protobuf does not accept"):
        message_type(START + "message A {}", "C")


def test_names_are_looked_for_from_the_inside_out() -> None:
    made: Any = last_message_type(
        START
        + """
package a.b;
message Inner { int32 outer_one = 1; }
message M {
  message Inner { int32 inner_one = 1; enum E { X = 0; Y = 1; } }
  Inner near = 1;
  .a.b.Inner far = 2;
  b.Inner middle = 3;
  Inner.E kind = 4;
  map<string, Inner> many = 5;
  oneof choice { Inner chosen = 6; }
  optional M again = 7;
}
"""
    )()
    made.near.inner_one = 1
    made.far.outer_one = 2
    made.middle.outer_one = 3
    made.kind = 1
    made.many["k"].inner_one = 4
    made.chosen.inner_one = 5
    made.again.near.inner_one = 6
    read = type(made).FromString(made.SerializeToString())
    assert read == made
    assert made.WhichOneof("choice") == "chosen"
    assert made.HasField("again")


def test_packing_is_as_declared() -> None:
    def sent(option: str) -> bytes:
        made: Any = last_message_type(START + f"message M {{ repeated int32 a = 1 {option}; }}")(a=[1, 2])
        return bytes(made.SerializeToString())

    assert sent("") == sent("[packed = true]") == b"\x0a\x02\x01\x02"
    assert sent("[packed = false]") == b"\x08\x01\x08\x02"


@pytest.mark.parametrize(
    ("body", "line", "problem"),
    [
        ("int33 a = 1;", 3, "there is no type 'int33'"),
        ("int32 a = 1;\n.M2 b = 2;", 4, "there is no type '.M2'"),
        ("map<string, M2> b = 2;", 3, "there is no type 'M2'"),
    ],
)
def test_unknown_type_is_told_with_its_line(body: str, line: int, problem: str) -> None:
    with pytest.raises(SchemaError) as caught:
        last_message_type(f"{START}message M {{\n{body}\n}}")
    assert (caught.value.line, caught.value.problem) == (line, problem)


def test_what_only_protobuf_finds_is_told_too() -> None:
    """Values of an enum stand in the scope around it."""
    with pytest.raises(SchemaError, match="protobuf does not accept it"):
        last_message_type(START + "message M { enum A { X = 0; } enum B { X = 0; } }")


def test_schemas_do_not_know_each_other() -> None:
    one = last_message_type(START + "message M { int32 a = 1; }")
    other = last_message_type(START + "message M { string a = 1; }")
    assert one.DESCRIPTOR is not other.DESCRIPTOR
    assert one(a=1).SerializeToString() != other(a="1").SerializeToString()


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(SchemaError, match="protobuf does not accept it"):
        last_message_type('syntax = "proto3"; message A { int32 a = 1 [json_name = "\\ud800"]; }')
