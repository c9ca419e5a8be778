"""What the server and its folding process say to each other: one JSON object a line."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Fold(msgspec.Struct, frozen=True, tag=True):
    """Fold the journal up to the id `through`. Answers: Folded for each slice, then Done or Failed.

    Every request has a number, which its answers repeat: so the answers to a request that nobody waits for
    any more are told from those to the next.
    """

    request: int
    through: int
    now_ms: int


class DropBefore(msgspec.Struct, frozen=True, tag=True):
    """Drop what is older. Answer: Done or Failed."""

    request: int
    before_ms: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child holds series.db and has migrated it."""

    request: int = 0


class Folded(msgspec.Struct, frozen=True, tag=True):
    """Everything up to this journal id is in series.db; series of these devices are cleared away."""

    request: int
    through: int
    removed_devices: tuple[int, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The request is carried out."""

    request: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The request (0: the start) could not be carried out; it may be sent again."""

    request: int
    code: str
    sentence: str


Request: TypeAlias = Fold | DropBefore
Answer: TypeAlias = Ready | Folded | Done | Failed

_encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def line(message: Request | Answer) -> bytes:
    return _encode(message) + b"\n"
