"""Names as RFC 4514 text."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import COMMON_NAME_OID, UNHURRIED, element, name_der
from thingpass.x509 import der
from thingpass.x509.distinguished_names import common_name, name_text, read_name

ORGANIZATION_OID = bytes.fromhex("55040a")


def text_of(*attributes: tuple[bytes, int, bytes]) -> str:
    return name_text(read_name(name_der(*attributes)))


def test_most_specific_part_stands_first() -> None:
    assert text_of((ORGANIZATION_OID, 0x13, b"Plant"), (COMMON_NAME_OID, 0x0C, b"pump")) == "CN=pump,O=Plant"


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        (b'a,b+c"d\\e<f>g;h', 'a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h'),
        (b"#a#", "\\#a#"),
        (b" a ", "\\ a\\ "),
        (b"a=b", "a=b"),
        ("Zürich".encode(), "Zürich"),
    ],
)
def test_special_characters_are_escaped(value: bytes, escaped: str) -> None:
    assert text_of((COMMON_NAME_OID, 0x0C, value)) == f"CN={escaped}"  # RFC 4514 2.4


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (12, "ä".encode()),
        (20, "ä".encode("latin-1")),
        (30, "ä".encode("utf-16-be")),
        (28, "ä".encode("utf-32-be")),
    ],
)
def test_every_string_type_is_read(tag: int, value: bytes) -> None:
    assert text_of((COMMON_NAME_OID, tag, value)) == "CN=ä"


def test_unknown_types_are_written_in_hexadecimal() -> None:
    assert text_of((bytes.fromhex("2a0304"), 0x0C, b"a")) == "1.2.3.4=#0c0161"


def test_first_common_name_is_taken_as_it_stands() -> None:
    name = read_name(name_der((COMMON_NAME_OID, 12, b"a,b"), (COMMON_NAME_OID, 12, b"second")))
    assert common_name(name) == "a,b"


def test_relative_name_with_two_attributes_is_joined_by_plus() -> None:
    attributes = b"".join(
        element(0x30, element(0x06, oid) + element(0x0C, value))
        for oid, value in ((COMMON_NAME_OID, b"a"), (ORGANIZATION_OID, b"b"))
    )
    assert name_text(read_name(element(0x30, element(0x31, attributes)))) == "CN=a+O=b"


def test_agrees_with_the_parser_of_cryptography() -> None:
    name = x509.Name.from_rfc4514_string("CN=pump\\, red,OU=a\\+b,O=Plant,L=San Francisco,ST=CA,C=US")
    assert name_text(read_name(name.public_bytes())) == name.rfc4514_string()


@UNHURRIED
@given(st.binary(max_size=60))
def test_only_malformed_is_raised(content: bytes) -> None:
    for data in (content, element(0x30, content), element(0x30, element(0x31, element(0x30, content)))):
        try:
            name_text(read_name(data))
        except der.Malformed:
            pass
