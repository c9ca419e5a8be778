"""Just enough of DER to walk over tags: ITU-T X.690, definite lengths only.

Used to tell kinds of files apart and to read names that stricter parsers refuse. Values are not interpreted
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from thingpass.x509.errors import X509Error

SEQUENCE = 0x30
SET = 0x31
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
_CONTEXT_0 = b"\xa0"


class Malformed(X509Error):
    """The bytes are no DER; `missing` counts the bytes that lack at the end, if that is all."""

    def __init__(self, sentence: str, missing: int = 0) -> None:
        super().__init__(sentence)
        self.missing = missing


class Element(NamedTuple):
    """One element: its tag byte, and where its header, its content and the whole end."""

    tag: int
    start: int
    content_start: int
    end: int


def read_element(data: bytes, at: int, limit: int) -> Element:
    """The element that starts at `at`, which must end at or before `limit`; raises Malformed."""
    if limit - at < 2:
        raise Malformed("An element is cut off.", missing=2 - (limit - at))
    tag, length, content = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise Malformed("A tag number above 30 is not used in certificates.")
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:  # X.690 8.1.3.5; four bytes are 4 GiB, more than anything here
            raise Malformed("A length is indefinite or absurd.")
        if content + count > limit:
            raise Malformed("An element is cut off.", missing=content + count - limit)
        length = int.from_bytes(data[content : content + count])
        content += count
    if content + length > limit:
        raise Malformed("An element is cut off.", missing=content + length - limit)
    return Element(tag, at, content, content + length)


def children(data: bytes, parent: Element) -> Iterator[Element]:
    """The elements inside a constructed one, in order; raises Malformed on the way."""
    at = parent.content_start
    while at < parent.end:
        element = read_element(data, at, parent.end)
        yield element
        at = element.end


def child_tags(data: bytes, parent: Element, most: int = 10) -> bytes:
    """The tags of the first elements inside a constructed one, as bytes; stops at what is no DER."""
    tags = bytearray()
    try:
        for child in children(data, parent):
            tags.append(child.tag)
            if len(tags) == most:
                break
    except Malformed:
        pass
    return bytes(tags)


def issuer_and_subject(certificate_der: bytes) -> tuple[bytes, bytes]:
    """The DER of the issuer's and the subject's name of a certificate (RFC 5280 4.1); raises Malformed."""
    whole = read_element(certificate_der, 0, len(certificate_der))
    at, limit = read_element(certificate_der, whole.content_start, whole.end)[2:]
    names: list[bytes] = []
    # Version (left out in v1), serial number, signature, issuer, validity, subject: the names are at 2 and 4.
    position = -1 if certificate_der[at : at + 1] == _CONTEXT_0 else 0
    while len(names) < 2:
        element = read_element(certificate_der, at, limit)
        if position in (2, 4):
            names.append(certificate_der[element.start : element.end])
        at = element.end
        position += 1
    return names[0], names[1]
