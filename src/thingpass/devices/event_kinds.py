"""What can happen to a device: one row each. Codes are published: never renamed, only retired."""

from __future__ import annotations

from typing import Final

import msgspec


class EventKind(msgspec.Struct, frozen=True):
    """`help` is what the reference and `--help` say."""

    code: str
    help: str


CONNECTED: Final = EventKind("connected", "A session of the device began.")
DISCONNECTED: Final = EventKind("disconnected", "A session ended; the sentence says why.")
ACTIVE: Final = EventKind("active", "The device was heard of after it had been inactive.")
INACTIVE: Final = EventKind("inactive", "Nothing was heard of the device for its inactivity timeout.")
WILL: Final = EventKind("will", "The device vanished; this is the will that it had left.")
CREDENTIALS_CHANGED: Final = EventKind(
    "credentials-changed", "The device was given other credentials; its connections end."
)

EVENT_KINDS: tuple[EventKind, ...] = (CONNECTED, DISCONNECTED, ACTIVE, INACTIVE, WILL, CREDENTIALS_CHANGED)
EVENT_CODES: Final = frozenset(kind.code for kind in EVENT_KINDS)
