"""`multipart/form-data` (RFC 7578) as a stream: feed bytes, get what they say. No more than a head is kept.

FastAPI's own way puts every upload into a temporary file before the route sees it, which writes it twice.
"""

from __future__ import annotations

import enum
from email.message import Message
from typing import Final, TypeAlias

import msgspec

from thingpass.errors import Invalid

_LONGEST_HEAD: Final = 8_192
_LONGEST_BOUNDARY: Final = 70  # RFC 2046 5.1.1
_MOST_PARTS: Final = 20


class PartBegan(msgspec.Struct, frozen=True):
    """The head of a part. `file_name` is None for a plain field."""

    name: str
    file_name: str | None
    content_type: str | None


class PartData(msgspec.Struct, frozen=True):
    """Some bytes of the part that began last."""

    data: bytes


Event: TypeAlias = PartBegan | PartData


class _State(enum.Enum):
    PREAMBLE = enum.auto()
    BEHIND_BOUNDARY = enum.auto()
    HEAD = enum.auto()
    DATA = enum.auto()
    END = enum.auto()


class MultipartReader:
    """One body. Raises Invalid for what is no multipart, saying what is wrong with it."""

    def __init__(self, content_type: str | None) -> None:
        # The line break before a boundary belongs to it, and the body begins as if one had been there.
        self._delimiter = b"\r\n--" + boundary_of(content_type)
        self._waiting = b"\r\n"
        self._state = _State.PREAMBLE
        self._parts = 0

    def feed(self, data: bytes) -> list[Event]:
        self._waiting += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> None:
        """The body has ended. Raises Invalid when its last boundary did not come."""
        if self._state is not _State.END:
            raise Invalid("The upload ends in the middle.", mend="Send it again.")

    def _step(self, events: list[Event]) -> bool:
        """Whether there may be more to do with what waits."""
        match self._state:
            case _State.PREAMBLE:
                return self._skip_preamble()
            case _State.BEHIND_BOUNDARY:
                return self._end_boundary()
            case _State.HEAD:
                return self._read_head(events)
            case _State.DATA:
                return self._read_data(events)
        self._waiting = b""  # RFC 2046 5.1.1: what follows the last boundary is to be ignored
        return False

    def _skip_preamble(self) -> bool:
        _, found, rest = self._waiting.partition(self._delimiter)
        if not found:
            self._waiting = self._waiting[-len(self._delimiter) :]
            return False
        self._waiting, self._state = rest, _State.BEHIND_BOUNDARY
        return True

    def _end_boundary(self) -> bool:
        line, found, rest = self._waiting.partition(b"\r\n")
        if line.startswith(b"--"):
            self._state = _State.END
            return True
        if not found:
            if len(line) > _LONGEST_HEAD:
                raise Invalid("The upload has a boundary that does not end.")
            return False
        if line.strip(b" \t"):
            raise Invalid("The upload has something behind a boundary.")
        # The head's first line break may be its last: a part without headers.
        self._waiting, self._state = b"\r\n" + rest, _State.HEAD
        return True

    def _read_head(self, events: list[Event]) -> bool:
        head, found, rest = self._waiting.partition(b"\r\n\r\n")
        if len(head) > _LONGEST_HEAD:
            raise Invalid(f"The head of a part is longer than {_LONGEST_HEAD} bytes.")
        if not found:
            return False
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise Invalid(f"The upload has more than {_MOST_PARTS} parts.")
        events.append(_part(head))
        self._waiting, self._state = rest, _State.DATA
        return True

    def _read_data(self, events: list[Event]) -> bool:
        data, found, rest = self._waiting.partition(self._delimiter)
        if found:
            if data:
                events.append(PartData(data))
            self._waiting, self._state = rest, _State.BEHIND_BOUNDARY
            return True
        # The end of what is there may be the beginning of a boundary.
        kept = len(self._delimiter) - 1
        if len(data) > kept:
            events.append(PartData(data[:-kept]))
            self._waiting = data[-kept:]
        return False


def boundary_of(content_type: str | None) -> bytes:
    """Raises Invalid for what is no multipart/form-data."""
    header = Message()
    header["content-type"] = content_type or ""
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise Invalid(
            "The upload is not multipart/form-data.",
            mend="Send the file as its part 'file': curl -F file=@FILE",
        )
    if not 1 <= len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise Invalid(f"The upload's boundary must be 1 to {_LONGEST_BOUNDARY} ASCII characters long.")
    return boundary.encode("ascii")


def _part(head: bytes) -> PartBegan:
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    name, file_name = _parameters(headers.get("content-disposition", ""))
    if name is None:
        raise Invalid("A part of the upload has no name.")
    return PartBegan(name, file_name, headers.get("content-type"))


def _parameters(disposition: str) -> tuple[str | None, str | None]:
    """Name and file name; RFC 7578 4.2 wants the file name as UTF-8, `filename*` is understood too."""
    header = Message()
    header["content-disposition"] = disposition
    name = header.get_param("name", header="content-disposition")
    file_name = header.get_filename()
    return (name if isinstance(name, str) else None), file_name
