"""Distinguished names as text, RFC 4514; total: no name that a peer can send makes it fail.

A name is written by strangers. Besides what RFC 4514 2.4 requires, every character that does not print
(control, bidirectional, line separators) is written as `\\XX`, so that a name cannot forge a log line or a
terminal's state.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from thingpass.x509 import der

# RFC 4514 section 3, then descriptors registered by RFC 4519 and PKCS #9 that certificates of devices carry.
_TYPE_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.42": "givenName",
    "2.5.4.46": "dnQualifier",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_COMMON_NAME = "2.5.4.3"

_STRING_ENCODINGS = {  # X.680 tags of the string types that RFC 5280 4.1.2.4 knows
    12: "utf-8",
    18: "ascii",
    19: "latin-1",  # PrintableString; some issuers put Latin-1 into it
    20: "latin-1",  # TeletexString, read by everybody as Latin-1
    22: "latin-1",
    26: "latin-1",
    28: "utf-32-be",
    30: "utf-16-be",
}
_ALWAYS_ESCAPED = frozenset('"+,;<>\\')
_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9._:@/-]+(?: [A-Za-z0-9._:@/-]+)*")  # nearly every name there is


class Attribute(NamedTuple):
    """One attribute of a name: its dotted type, its text if it is a string, and its value's DER."""

    type: str
    text: str | None
    value_der: bytes


Name = tuple[tuple[Attribute, ...], ...]
"""Relative names in the order of the certificate, most general first; each is one attribute or more."""


def read_name(name_der: bytes) -> Name:
    """A name from its DER; raises der.Malformed."""
    sequence = der.read_element(name_der, 0, len(name_der))
    return tuple(
        tuple(_read_attribute(name_der, element) for element in der.children(name_der, relative))
        for relative in der.children(name_der, sequence)
    )


def name_text(name: Name) -> str:
    """A name as RFC 4514 writes it: most specific first, `CN=a,OU=b`; the empty name is the empty text."""
    return ",".join("+".join(map(_attribute_text, relative)) for relative in reversed(name))


def common_name(name: Name) -> str | None:
    """The first common name as it stands (not escaped), which ThingsBoard takes too; None without one."""
    for relative in name:
        for attribute in relative:
            if attribute.type == _COMMON_NAME and attribute.text is not None:
                return attribute.text
    return None


def _read_attribute(data: bytes, element: der.Element) -> Attribute:
    parts = list(der.children(data, element))
    if len(parts) != 2 or parts[0].tag != der.OBJECT_IDENTIFIER:
        raise der.Malformed("An attribute of a name has not one type and one value.")
    kind, value = parts
    content = data[value.content_start : value.end]
    text = None
    encoding = _STRING_ENCODINGS.get(value.tag)
    if encoding is not None:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            text = None
    return Attribute(_dotted(data[kind.content_start : kind.end]), text, data[value.start : value.end])


@functools.lru_cache(maxsize=256)
def _dotted(content: bytes) -> str:
    if not content or len(content) > 64:
        raise der.Malformed("An object identifier is empty or absurdly long.")
    arcs, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    if content[-1] & 0x80:
        raise der.Malformed("An object identifier is cut off.")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _attribute_text(attribute: Attribute) -> str:
    type_name = _TYPE_NAMES.get(attribute.type)
    if type_name is None or attribute.text is None:  # RFC 4514 2.4: hexadecimal for what has no string form
        return f"{type_name or attribute.type}=#{attribute.value_der.hex()}"
    return f"{type_name}={_escaped(attribute.text)}"


def _escaped(text: str) -> str:
    if _NEVER_ESCAPED.fullmatch(text):
        return text
    last = len(text) - 1
    return "".join(
        f"\\{character}"
        if character in _ALWAYS_ESCAPED
        or (character == "#" and index == 0)
        or (character == " " and index in (0, last))
        else character
        if character.isprintable()
        else "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        for index, character in enumerate(text)
    )
