"""MQTT 5 section 2.4: every reason code, and what an MQTT 3 client is told in its place.

A row per byte. What the specification calls by several names (0x00 is Success, Normal disconnection and
Granted QoS 0) is one row with aliases in `ReasonCode`. Nothing here decides when a code is sent; it says in
which packets a code may stand, and the decoder and the tests hold everybody to that.
"""

from __future__ import annotations

import enum

import msgspec


class PacketType(enum.IntEnum):
    """MQTT5 2.1.2, the high four bits of a packet's first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class ReasonCode(enum.IntEnum):
    """MQTT5 2.4. From 0x80 on a code says that something failed."""

    SUCCESS = 0x00
    NORMAL_DISCONNECTION = 0x00
    GRANTED_QOS_0 = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    REAUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


class ReasonRow(msgspec.Struct, frozen=True):
    """One row of MQTT5 table 2-6."""

    code: ReasonCode
    packets: frozenset[PacketType]  # in which the code may stand
    mqtt3: (
        int | None
    )  # the CONNACK return code of MQTT 3.1.1 section 3.2.2.3, where CONNACK may carry the code
    sentence: str


_P = PacketType
_ACKS = (_P.PUBACK, _P.PUBREC, _P.SUBACK, _P.UNSUBACK)
_ALL_ACKS = (_P.CONNACK, *_ACKS, _P.DISCONNECT)
_SUCCESSES = (
    _P.CONNACK,
    _P.PUBACK,
    _P.PUBREC,
    _P.PUBREL,
    _P.PUBCOMP,
    _P.SUBACK,
    _P.UNSUBACK,
    _P.DISCONNECT,
    _P.AUTH,
)


def _row(code: ReasonCode, packets: tuple[PacketType, ...], mqtt3: int | None, sentence: str) -> ReasonRow:
    return ReasonRow(code, frozenset(packets), mqtt3, sentence)


_R = ReasonCode
_CONNACK_DISCONNECT = (_P.CONNACK, _P.DISCONNECT)

REASONS: tuple[ReasonRow, ...] = (
    _row(_R.SUCCESS, _SUCCESSES, 0, "It went well."),
    _row(_R.GRANTED_QOS_1, (_P.SUBACK,), None, "The subscription is granted with QoS 1 at most."),
    _row(_R.GRANTED_QOS_2, (_P.SUBACK,), None, "The subscription is granted with QoS 2 at most."),
    _row(_R.DISCONNECT_WITH_WILL, (_P.DISCONNECT,), None, "The client leaves and wants its Will published."),
    _row(_R.NO_MATCHING_SUBSCRIBERS, (_P.PUBACK, _P.PUBREC), None, "Nobody subscribes to the topic."),
    _row(_R.NO_SUBSCRIPTION_EXISTED, (_P.UNSUBACK,), None, "There was no such subscription to end."),
    _row(_R.CONTINUE_AUTHENTICATION, (_P.AUTH,), None, "The authentication goes on."),
    _row(_R.REAUTHENTICATE, (_P.AUTH,), None, "The client starts to authenticate anew."),
    _row(_R.UNSPECIFIED_ERROR, _ALL_ACKS, 3, "The peer gives no reason."),
    _row(_R.MALFORMED_PACKET, _CONNACK_DISCONNECT, None, "The packet cannot be read by the specification."),
    _row(
        _R.PROTOCOL_ERROR, _CONNACK_DISCONNECT, None, "The packet is not allowed here or contradicts itself."
    ),
    _row(
        _R.IMPLEMENTATION_SPECIFIC_ERROR,
        _ALL_ACKS,
        3,
        "The packet is valid, but this receiver does not take it.",
    ),
    _row(
        _R.UNSUPPORTED_PROTOCOL_VERSION, (_P.CONNACK,), 1, "This version of the protocol is not spoken here."
    ),
    _row(_R.CLIENT_IDENTIFIER_NOT_VALID, (_P.CONNACK,), 2, "The client identifier is not allowed."),
    _row(_R.BAD_USER_NAME_OR_PASSWORD, (_P.CONNACK,), 4, "The user name or the password is not accepted."),
    _row(_R.NOT_AUTHORIZED, _ALL_ACKS, 5, "The client is not allowed to do this."),
    _row(_R.SERVER_UNAVAILABLE, (_P.CONNACK,), 3, "The server is not available."),
    _row(_R.SERVER_BUSY, _CONNACK_DISCONNECT, 3, "The server is busy, try again later."),
    _row(_R.BANNED, (_P.CONNACK,), 5, "The client is banned."),
    _row(_R.SERVER_SHUTTING_DOWN, (_P.DISCONNECT,), None, "The server is shutting down."),
    _row(_R.BAD_AUTHENTICATION_METHOD, _CONNACK_DISCONNECT, 5, "The authentication method is not supported."),
    _row(
        _R.KEEP_ALIVE_TIMEOUT,
        (_P.DISCONNECT,),
        None,
        "Nothing was heard for one and a half times the keep alive.",
    ),
    _row(
        _R.SESSION_TAKEN_OVER, (_P.DISCONNECT,), None, "Another connection took the client identifier over."
    ),
    _row(
        _R.TOPIC_FILTER_INVALID,
        (_P.SUBACK, _P.UNSUBACK, _P.DISCONNECT),
        None,
        "The topic filter is not accepted.",
    ),
    _row(
        _R.TOPIC_NAME_INVALID,
        (_P.CONNACK, _P.PUBACK, _P.PUBREC, _P.DISCONNECT),
        None,  # MQTT 3.1.1 3.1.4: closed without a CONNACK
        "The topic name is not accepted.",
    ),
    _row(_R.PACKET_IDENTIFIER_IN_USE, _ACKS, None, "The packet identifier is in use already."),
    _row(
        _R.PACKET_IDENTIFIER_NOT_FOUND, (_P.PUBREL, _P.PUBCOMP), None, "The packet identifier is not known."
    ),
    _row(
        _R.RECEIVE_MAXIMUM_EXCEEDED,
        (_P.DISCONNECT,),
        None,
        "More messages are in flight than the Receive Maximum.",
    ),
    _row(_R.TOPIC_ALIAS_INVALID, (_P.DISCONNECT,), None, "The topic alias is 0 or above the maximum."),
    _row(_R.PACKET_TOO_LARGE, _CONNACK_DISCONNECT, 3, "The packet is larger than the maximum packet size."),
    _row(_R.MESSAGE_RATE_TOO_HIGH, (_P.DISCONNECT,), None, "Messages arrive too fast."),
    _row(
        _R.QUOTA_EXCEEDED,
        (_P.CONNACK, _P.PUBACK, _P.PUBREC, _P.SUBACK, _P.DISCONNECT),
        3,
        "A limit set for this client is used up.",
    ),
    _row(_R.ADMINISTRATIVE_ACTION, (_P.DISCONNECT,), None, "The connection was closed by an administrator."),
    _row(
        _R.PAYLOAD_FORMAT_INVALID,
        (_P.CONNACK, _P.PUBACK, _P.PUBREC, _P.DISCONNECT),
        3,
        "The payload is not what it was said to be.",
    ),
    _row(_R.RETAIN_NOT_SUPPORTED, _CONNACK_DISCONNECT, 3, "Retained messages are not supported."),
    _row(_R.QOS_NOT_SUPPORTED, _CONNACK_DISCONNECT, 3, "This QoS is not supported."),
    _row(_R.USE_ANOTHER_SERVER, _CONNACK_DISCONNECT, 3, "Another server serves this client for now."),
    _row(_R.SERVER_MOVED, _CONNACK_DISCONNECT, 3, "Another server serves this client for good."),
    _row(
        _R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        (_P.SUBACK, _P.DISCONNECT),
        None,
        "Shared subscriptions are not supported.",
    ),
    _row(_R.CONNECTION_RATE_EXCEEDED, _CONNACK_DISCONNECT, 3, "Connections are opened too fast."),
    _row(_R.MAXIMUM_CONNECT_TIME, (_P.DISCONNECT,), None, "The connection was open as long as it may."),
    _row(
        _R.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        (_P.SUBACK, _P.DISCONNECT),
        None,
        "Subscription identifiers are not supported.",
    ),
    _row(
        _R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
        (_P.SUBACK, _P.DISCONNECT),
        None,
        "Wildcards in subscriptions are not supported.",
    ),
)

REASON_BY_CODE: dict[int, ReasonRow] = {row.code: row for row in REASONS}


def is_allowed_in(reason_code: int, packet_type: PacketType) -> bool:
    """Whether MQTT5 table 2-6 lets the code stand in the packet."""
    row = REASON_BY_CODE.get(reason_code)
    return row is not None and packet_type in row.packets


def permitted(reason_code: int, packet_type: PacketType) -> int:
    """The code, or the unspecified error in place of one that may not stand in the packet."""
    return reason_code if is_allowed_in(reason_code, packet_type) else ReasonCode.UNSPECIFIED_ERROR


def describe(reason_code: int) -> str:
    """The code's sentence; for an unknown code, a sentence that says so."""
    row = REASON_BY_CODE.get(reason_code)
    return row.sentence if row is not None else f"Reason code 0x{reason_code:02X} is not known."
