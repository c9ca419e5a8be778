"""What is wrong with a payload, in words: where it is no JSON, and what its writer most likely meant.

A sentence here quotes at most a few characters: payloads stay out of logs and answers.
"""

from __future__ import annotations

import re
from typing import Final

from thingpass.errors import Invalid

DEEPEST_NESTING: Final = 64
"""Objects and arrays within each other, the message itself counted; readers recurse over them."""

MOST_DIGITS: Final = 1_000
"""Digits of a number written out. `1e200000000` has 11 bytes and would be 200 MB of text."""

_LONGEST_SHOWN: Final = 32
_PLACE: Final = re.compile(r"(?P<what>.*) \(byte (?P<at>\d+)\)")


class PayloadInvalid(Invalid):
    """A payload is not what its topic asks for. The sentence says what was seen and where."""

    code = "payload-invalid"


# What stands where JSON allows it not -> what its writer meant. The first row that fits wins.
_HINTS: Final = (
    (re.compile(rb"\xef\xbb\xbf"), "Send UTF-8 without a byte order mark."),
    (re.compile(rb"'"), "Names and strings stand in double quotes."),
    (re.compile(rb"-?(?:NaN|nan|Inf|inf)"), "JSON has no NaN or Infinity: send null, or leave the key out."),
    (re.compile(rb"True|False|None|TRUE|FALSE|NULL|Null"), "Write true, false and null in lower case."),
    (re.compile(rb"undefined"), "JSON has no undefined: send null, or leave the key out."),
    (re.compile(rb"//|/\*|#"), "JSON has no comments."),
    (re.compile(rb"[,;][^}\]]*[}\]]"), "Take the comma before the closing bracket out."),
    (re.compile(rb"="), "A colon stands between name and value."),
    (re.compile(rb"[+.]"), "A number begins with a digit or a minus."),
    (re.compile(rb"[\x00-\x1f]"), "Write line breaks and tabs in a string as \\n and \\t."),
    (re.compile(rb"[A-Za-z_$]"), "Names and strings stand in double quotes."),
)


def not_json(payload: bytes, error: Exception) -> PayloadInvalid:
    """The decoder's error as ours."""
    if not payload.strip():
        return PayloadInvalid(
            "The payload is empty.", mend='Send a JSON object, such as {"temperature":21.5}.'
        )
    if isinstance(error, UnicodeDecodeError):
        return PayloadInvalid(f"The payload is not UTF-8{_not_utf8_at(payload)}.", mend="Send text in UTF-8.")
    if isinstance(error, RecursionError):
        return PayloadInvalid(f"The payload is nested deeper than {DEEPEST_NESTING} levels.")
    text = str(error)
    if "out of range" in text:
        return PayloadInvalid(f"A number has more than {MOST_DIGITS} digits.", mend="Send it as a string.")
    if "truncated" in text:
        return PayloadInvalid("The payload is not JSON: it ends in the middle.")
    found = _PLACE.search(text.removeprefix("JSON is malformed: "))
    if found is None:
        return PayloadInvalid("The payload is not JSON.")
    at = int(found["at"])
    seen = shown(payload[at : at + 1].decode("latin-1")) if at < len(payload) else "the end"
    return PayloadInvalid(
        f"The payload is not JSON: {found['what']} at byte {at}, where {seen} stands.",
        mend=_hint(payload, at),
    )


def kind_words(value: object) -> str:
    """A decoded JSON value's kind, never the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return "a number"


def shown(text: str) -> str:
    """A few characters of a payload, quoted and harmless."""
    start = ascii(text[:_LONGEST_SHOWN])
    return start if len(text) <= _LONGEST_SHOWN else f"{start[:-1]}...'"


def _hint(payload: bytes, at: int) -> str | None:
    return next((hint for pattern, hint in _HINTS if pattern.match(payload, at)), None)


def _not_utf8_at(payload: bytes) -> str:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return f" at byte {error.start}"
    return ""
