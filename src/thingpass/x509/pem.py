"""PEM armour (RFC 7468) as people really send it: found in any text, with its base64 undone.

Outside the blocks anything may stand (preamble lines, `Bag Attributes`, mail quoting); inside, whitespace
of any kind. A scan takes time linear in the text.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"
_LONGEST_LABEL = 64  # the longest in use, ENCRYPTED PRIVATE KEY and its kin, have under 32


class Block(NamedTuple):
    """One armoured block: its label (`CERTIFICATE`) and the text between its two lines."""

    label: str
    body: str

    @property
    def armoured(self) -> bytes:
        """The block again, as a parser of PEM takes it."""
        return f"{_BEGIN}{self.label}-----{self.body}{_END}{self.label}-----\n".encode("ascii", "replace")


class Scan(NamedTuple):
    """The blocks of a text, and the label of one that begins and never ends, or ends and never began."""

    blocks: tuple[Block, ...]
    unclosed: str | None
    unopened: str | None


class Damaged(Exception):
    """The text between the armour is no base64; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def scan(text: str) -> Scan:
    """All blocks of a text, in order."""
    blocks: list[Block] = []
    at = 0
    while (begin := text.find(_BEGIN, at)) >= 0:
        label_start = begin + len(_BEGIN)
        label_end = text.find(_DASHES, label_start, label_start + _LONGEST_LABEL + len(_DASHES))
        if label_end < 0:
            at = label_start
            continue
        label = text[label_start:label_end]
        body_start = label_end + len(_DASHES)
        end_line = f"{_END}{label}{_DASHES}"
        body_end = text.find(end_line, body_start)
        if body_end < 0 or text.find(_BEGIN, body_start, body_end) >= 0:
            return Scan(tuple(blocks), label, None)
        blocks.append(Block(label, text[body_start:body_end]))
        at = body_end + len(end_line)
    return Scan(tuple(blocks), None, _label_at(text, text.find(_END, at)))


def undo_base64(body: str) -> bytes:
    """The bytes of a body or of bare base64; skips whitespace and RFC 1421 headers; raises Damaged."""
    lines = [line for line in body.splitlines() if ":" not in line]
    characters = "".join("".join(lines).split())
    if not characters:
        raise Damaged("there is nothing between its two lines")
    try:
        return binascii.a2b_base64(characters.encode("ascii"), strict_mode=True)
    except UnicodeEncodeError:
        raise Damaged("it contains characters that are not base64") from None
    except binascii.Error:
        whole = len(characters) % 4 == 0
        raise Damaged(
            "it contains characters that are not base64" if whole else "its base64 is cut off"
        ) from None


def _label_at(text: str, end: int) -> str | None:
    if end < 0:
        return None
    start = end + len(_END)
    stop = text.find(_DASHES, start, start + _LONGEST_LABEL + len(_DASHES))
    return text[start:stop] if stop > start else "..."
