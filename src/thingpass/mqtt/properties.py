"""MQTT 5 section 2.2.2.2, table 2-4: every property, its data type and the packets it may stand in.

The table is the whole truth: the decoder, the encoder and the checks "not allowed here" and "twice" are
driven by it (`property_lists.py`), and nothing about a single property is decided anywhere else in the codec.
A new property is a row here and a field of `Properties` with the same name; a test holds that the two agree.
What a property *means* lives in `session.py`.
"""

from __future__ import annotations

import enum

import msgspec

from thingpass.mqtt.reason_codes import PacketType


class DataType(enum.Enum):
    """MQTT5 1.5: how a property's value lies on the wire."""

    BYTE = "byte"
    TWO_BYTE_INTEGER = "two byte integer"
    FOUR_BYTE_INTEGER = "four byte integer"
    VARIABLE_BYTE_INTEGER = "variable byte integer"
    UTF8_STRING = "UTF-8 string"
    BINARY_DATA = "binary data"
    UTF8_STRING_PAIR = "UTF-8 string pair"


class Scope(enum.Enum):
    """Where a property list stands: a packet, or the Will inside CONNECT."""

    CONNECT = PacketType.CONNECT
    CONNACK = PacketType.CONNACK
    PUBLISH = PacketType.PUBLISH
    PUBACK = PacketType.PUBACK
    PUBREC = PacketType.PUBREC
    PUBREL = PacketType.PUBREL
    PUBCOMP = PacketType.PUBCOMP
    SUBSCRIBE = PacketType.SUBSCRIBE
    SUBACK = PacketType.SUBACK
    UNSUBSCRIBE = PacketType.UNSUBSCRIBE
    UNSUBACK = PacketType.UNSUBACK
    DISCONNECT = PacketType.DISCONNECT
    AUTH = PacketType.AUTH
    WILL = 0


class Properties(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The properties of one packet (or Will); what was not sent is None or empty. In the table's order."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifier: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_property: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None

    def __repr__(self) -> str:
        # Only the names: values may be credentials (authentication data) or belong to the payload.
        given = [name for name in self.__struct_fields__ if getattr(self, name) not in (None, ())]
        return f"Properties({', '.join(given)})"


NO_PROPERTIES = Properties()


class PropertyRow(msgspec.Struct, frozen=True):
    """One row of MQTT5 table 2-4."""

    identifier: int
    name: str
    data_type: DataType
    scopes: frozenset[Scope]
    # In these scopes the property may stand more than once; the field is then a tuple.
    repeatable_in: frozenset[Scope] = frozenset()
    minimum: int | None = None  # bounds narrower than the data type's, where the specification sets them
    maximum: int | None = None


_S = Scope
_T = DataType
_PUBLISH_WILL = frozenset({_S.PUBLISH, _S.WILL})
_ANSWERS = frozenset(
    {
        _S.CONNACK,
        _S.PUBACK,
        _S.PUBREC,
        _S.PUBREL,
        _S.PUBCOMP,
        _S.SUBACK,
        _S.UNSUBACK,
        _S.DISCONNECT,
        _S.AUTH,
    }
)
_AUTHENTICATION = frozenset({_S.CONNECT, _S.CONNACK, _S.AUTH})
_BOTH_HANDS = frozenset({_S.CONNECT, _S.CONNACK})
_CONNECT = frozenset({_S.CONNECT})
_CONNACK = frozenset({_S.CONNACK})
_EVERYWHERE = frozenset(_S)


PROPERTIES: tuple[PropertyRow, ...] = (
    PropertyRow(0x01, "payload_format_indicator", _T.BYTE, _PUBLISH_WILL, maximum=1),
    PropertyRow(0x02, "message_expiry_interval", _T.FOUR_BYTE_INTEGER, _PUBLISH_WILL),
    PropertyRow(0x03, "content_type", _T.UTF8_STRING, _PUBLISH_WILL),
    PropertyRow(0x08, "response_topic", _T.UTF8_STRING, _PUBLISH_WILL),
    PropertyRow(0x09, "correlation_data", _T.BINARY_DATA, _PUBLISH_WILL),
    PropertyRow(
        0x0B,
        "subscription_identifier",
        _T.VARIABLE_BYTE_INTEGER,
        frozenset({_S.PUBLISH, _S.SUBSCRIBE}),
        repeatable_in=frozenset({_S.PUBLISH}),
        minimum=1,
    ),
    PropertyRow(
        0x11,
        "session_expiry_interval",
        _T.FOUR_BYTE_INTEGER,
        frozenset({_S.CONNECT, _S.CONNACK, _S.DISCONNECT}),
    ),
    PropertyRow(0x12, "assigned_client_identifier", _T.UTF8_STRING, _CONNACK),
    PropertyRow(0x13, "server_keep_alive", _T.TWO_BYTE_INTEGER, _CONNACK),
    PropertyRow(0x15, "authentication_method", _T.UTF8_STRING, _AUTHENTICATION),
    PropertyRow(0x16, "authentication_data", _T.BINARY_DATA, _AUTHENTICATION),
    PropertyRow(0x17, "request_problem_information", _T.BYTE, _CONNECT, maximum=1),
    PropertyRow(0x18, "will_delay_interval", _T.FOUR_BYTE_INTEGER, frozenset({_S.WILL})),
    PropertyRow(0x19, "request_response_information", _T.BYTE, _CONNECT, maximum=1),
    PropertyRow(0x1A, "response_information", _T.UTF8_STRING, _CONNACK),
    PropertyRow(0x1C, "server_reference", _T.UTF8_STRING, frozenset({_S.CONNACK, _S.DISCONNECT})),
    PropertyRow(0x1F, "reason_string", _T.UTF8_STRING, _ANSWERS),
    PropertyRow(0x21, "receive_maximum", _T.TWO_BYTE_INTEGER, _BOTH_HANDS, minimum=1),
    PropertyRow(0x22, "topic_alias_maximum", _T.TWO_BYTE_INTEGER, _BOTH_HANDS),
    # Its bounds depend on the Topic Alias Maximum and have a reason code of their own: session.py.
    PropertyRow(0x23, "topic_alias", _T.TWO_BYTE_INTEGER, frozenset({_S.PUBLISH})),
    PropertyRow(0x24, "maximum_qos", _T.BYTE, _CONNACK, maximum=1),
    PropertyRow(0x25, "retain_available", _T.BYTE, _CONNACK, maximum=1),
    PropertyRow(0x26, "user_property", _T.UTF8_STRING_PAIR, _EVERYWHERE, repeatable_in=_EVERYWHERE),
    PropertyRow(0x27, "maximum_packet_size", _T.FOUR_BYTE_INTEGER, _BOTH_HANDS, minimum=1),
    PropertyRow(0x28, "wildcard_subscription_available", _T.BYTE, _CONNACK, maximum=1),
    PropertyRow(0x29, "subscription_identifier_available", _T.BYTE, _CONNACK, maximum=1),
    PropertyRow(0x2A, "shared_subscription_available", _T.BYTE, _CONNACK, maximum=1),
)

PROPERTY_BY_IDENTIFIER: dict[int, PropertyRow] = {row.identifier: row for row in PROPERTIES}
# Fields that hold a tuple: repeatable in at least one scope.
REPEATED_FIELDS: frozenset[str] = frozenset(row.name for row in PROPERTIES if row.repeatable_in)
