"""The protocol as a table: in which state which packet of the *client* may come, and what state follows.

Rules: every cell of state x packet type is here, either the state that follows or a `Fault` that names the
rule it breaks; `session.py` looks cells up and adds none of its own. What does not fit the table, and is
therefore in `session.py`: that a CONNECT which is allowed as such may be refused for what it says, and
everything about packet identifiers (`inflight.py`).

The server's own steps (not packets of the client): `accept` DECIDING -> OPEN; `refuse`, `disconnect` and
every failure -> CLOSING; the last byte taken by `data_to_send` CLOSING -> CLOSED.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from thingpass.mqtt.reason_codes import PacketType, ReasonCode


class State(enum.IntEnum):
    """Where a session stands."""

    AWAITING_CONNECT = 0
    DECIDING = 1  # CONNECT is with the caller; what the client sends behind it waits
    OPEN = 2
    CLOSING = 3  # nothing is read any more; what is queued is still to be sent
    CLOSED = 4


class Fault(msgspec.Struct, frozen=True):
    """A cell that is not allowed."""

    statement: str
    sentence: str
    reason_code: ReasonCode = ReasonCode.PROTOCOL_ERROR


Cell: TypeAlias = "State | Fault"

_P = PacketType
_NOT_FIRST = Fault("MQTT-3.1.0-1", "the first packet is {packet}, not CONNECT")
_SECOND_CONNECT = Fault("MQTT-3.1.0-2", "a second CONNECT on one connection")
_FROM_SERVERS_ONLY = Fault("", "{packet} is sent by servers only")
# A CONNECT that names a method is refused, so no session that is open ever agreed on one.
_AUTH_NOT_AGREED = Fault("MQTT-4.12.0-7", "AUTH, but no authentication method was agreed on")

TRANSITIONS: dict[State, dict[PacketType, Cell]] = {
    State.AWAITING_CONNECT: {
        **dict.fromkeys(_P, _NOT_FIRST),
        _P.CONNECT: State.DECIDING,
    },
    # MQTT5 3.1.4: a client may send on without waiting for CONNACK. What it sends is held back and gets its
    # cell of OPEN once the caller has accepted; so every packet leaves the state as it is.
    State.DECIDING: dict.fromkeys(_P, State.DECIDING),
    State.OPEN: {
        _P.CONNECT: _SECOND_CONNECT,
        _P.CONNACK: _FROM_SERVERS_ONLY,
        _P.PUBLISH: State.OPEN,
        _P.PUBACK: State.OPEN,
        _P.PUBREC: State.OPEN,
        _P.PUBREL: State.OPEN,
        _P.PUBCOMP: State.OPEN,
        _P.SUBSCRIBE: State.OPEN,
        _P.SUBACK: _FROM_SERVERS_ONLY,
        _P.UNSUBSCRIBE: State.OPEN,
        _P.UNSUBACK: _FROM_SERVERS_ONLY,
        _P.PINGREQ: State.OPEN,
        _P.PINGRESP: _FROM_SERVERS_ONLY,
        _P.DISCONNECT: State.CLOSING,
        _P.AUTH: _AUTH_NOT_AGREED,
    },
    # MQTT5 4.13.1: after the last packet of either side nothing counts any more.
    State.CLOSING: dict.fromkeys(_P, State.CLOSING),
    State.CLOSED: dict.fromkeys(_P, State.CLOSED),
}
