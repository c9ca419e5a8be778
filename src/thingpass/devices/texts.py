"""Names and labels that people give: ThingsBoard's bounds and messages."""

from __future__ import annotations

import re
from typing import Final

from thingpass.errors import Invalid

LONGEST_NAME: Final = 255
_HTML: Final = re.compile(r"<[a-zA-Z/!?]")


def check_text(what: str, field: str, text: str | None, *, required: bool = False) -> None:
    """`what` is whose field it is, such as "Device". Raises Invalid."""
    if required and (text is None or not text.strip()):
        raise Invalid(f"{what} {field} should be specified!")
    if text is None:
        return
    if "\x00" in text:
        raise Invalid(f"{what} {field} should not contain 0x00 symbol!")
    if len(text) > LONGEST_NAME:
        raise Invalid(f"Validation error: {field} length must be equal or less than {LONGEST_NAME}")
    if _HTML.search(text):
        raise Invalid(f"Validation error: {field} is malformed")
