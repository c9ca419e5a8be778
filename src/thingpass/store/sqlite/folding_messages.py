"""What the server and its folding process say to each other: one JSON object a line."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Fold(msgspec.Struct, frozen=True, tag=True):
    """Fold the journal up to this id. Answer: Folded for each slice, then Done or Failed."""

    through: int
    now_ms: int


class DropBefore(msgspec.Struct, frozen=True, tag=True):
    """Drop what is older. Answer: Done or Failed."""

    before_ms: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child holds series.db and has migrated it."""


class Folded(msgspec.Struct, frozen=True, tag=True):
    """Everything up to this journal id is in series.db; series of these devices are cleared away."""

    through: int
    removed_devices: tuple[int, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The request is carried out."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The request could not be carried out; it may be sent again."""

    code: str
    sentence: str


Request: TypeAlias = Fold | DropBefore
Answer: TypeAlias = Ready | Folded | Done | Failed

_encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def line(message: Request | Answer) -> bytes:
    return _encode(message) + b"\n"
