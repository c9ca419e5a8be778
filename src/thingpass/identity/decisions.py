"""What is asked and what is answered: a CONNECT's claims, and `Allowed` or `Refused` with its steps.

The two answers refuse to be tested for truth: every Python object is true, so `if decide(...)` would let
everybody in. Match on the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import msgspec

from thingpass.identity.refusals import Refusal, say
from thingpass.store.rows import Credentials, Device


class ConnectAttempt(msgspec.Struct, frozen=True):
    """What a client says of itself in CONNECT (or in an HTTP request: its token as user name)."""

    client_id: str
    user_name: str | None
    password: bytes | None
    protocol_version: int

    def __repr__(self) -> str:  # the user name may be an access token
        return f"ConnectAttempt(client_id={self.client_id!r}, protocol_version={self.protocol_version})"


class Step(msgspec.Struct, frozen=True):
    """One thing that was looked at: "why" is a print of the steps."""

    check: str
    seen: str


class Allowed(msgspec.Struct, frozen=True):
    """The peer is this device, proven by these credentials."""

    device: Device
    credentials: Credentials
    steps: tuple[Step, ...]
    fingerprint_sha256: str | None = None  # of the client certificate; None: not by certificate

    def __bool__(self) -> NoReturn:
        raise TypeError("a decision is neither true nor false: match on Allowed and Refused")


class Refused(msgspec.Struct, frozen=True):
    """The peer is nobody, for the reason of a row of `refusals.REFUSALS`.

    `seen` fills the row's texts and holds nothing secret. `device` is the one that it may have meant to be.
    """

    refusal: Refusal
    seen: Mapping[str, str]
    steps: tuple[Step, ...]
    device: Device | None = None
    subject: str | None = None
    fingerprint_sha256: str | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError("a decision is neither true nor false: match on Allowed and Refused")

    @property
    def sentence(self) -> str:
        return say(self.refusal.sentence, self.seen)

    @property
    def mend(self) -> str:
        return say(self.refusal.mend, self.seen)

    @property
    def for_peer(self) -> str:
        """All that the refused client may be told."""
        return say(self.refusal.for_peer, self.seen)

    @property
    def mqtt5(self) -> int:
        """CONNACK reason code of MQTT 5."""
        return self.refusal.mqtt5

    @property
    def mqtt3(self) -> int:
        """CONNACK return code of MQTT 3.1 and 3.1.1."""
        return self.refusal.mqtt3
