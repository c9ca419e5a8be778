"""One frozen struct per MQTT control packet, fields in the specification's order, for 3.1, 3.1.1 and 5.0.

These are values: they know nothing of bytes (`decoding.py`, `encoding.py`) or of what may follow what
(`transitions.py`). `properties` is None for MQTT 3 and where MQTT 5 sent none. No repr shows a user name
(ThingsBoard's access token), a password or a payload.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from thingpass.mqtt.properties import Properties


class ProtocolVersion(enum.IntEnum):
    """The Protocol Level (3.1.1) or Protocol Version (5.0) byte of CONNECT."""

    MQTT_3_1 = 3
    MQTT_3_1_1 = 4
    MQTT_5 = 5


# The Protocol Name that CONNECT carries with each level; no other pair is spoken.
PROTOCOL_NAMES: dict[ProtocolVersion, str] = {
    ProtocolVersion.MQTT_3_1: "MQIsdp",
    ProtocolVersion.MQTT_3_1_1: "MQTT",
    ProtocolVersion.MQTT_5: "MQTT",
}


class Will(msgspec.Struct, frozen=True):
    """The message that the server publishes when the client vanishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None

    def __repr__(self) -> str:
        return f"Will(topic={self.topic!r}, payload=<{len(self.payload)} bytes>, qos={self.qos})"


class Connect(msgspec.Struct, frozen=True):
    """MQTT5 3.1. `clean_start` is Clean Session in MQTT 3."""

    protocol_name: str
    protocol_version: ProtocolVersion
    clean_start: bool
    keep_alive: int  # seconds, 0: none
    client_id: str
    properties: Properties | None = None
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None

    def __repr__(self) -> str:
        user_name = "None" if self.user_name is None else "<hidden>"
        password = "None" if self.password is None else "<hidden>"
        return (
            f"Connect(protocol_version={self.protocol_version.name}, clean_start={self.clean_start}, "
            f"keep_alive={self.keep_alive}, client_id={self.client_id!r}, will={self.will!r}, "
            f"user_name={user_name}, password={password}, properties={self.properties!r})"
        )


class ConnAck(msgspec.Struct, frozen=True):
    """MQTT5 3.2. In MQTT 3 `reason_code` is the return code."""

    session_present: bool
    reason_code: int
    properties: Properties | None = None


class Publish(msgspec.Struct, frozen=True):
    """MQTT5 3.3. `packet_id` is 0 at QoS 0; `topic` is empty where an alias stands for it."""

    duplicate: bool
    qos: int
    retain: bool
    topic: str
    packet_id: int
    properties: Properties | None
    payload: bytes

    def __repr__(self) -> str:
        return (
            f"Publish(topic={self.topic!r}, payload=<{len(self.payload)} bytes>, qos={self.qos}, "
            f"retain={self.retain}, duplicate={self.duplicate}, packet_id={self.packet_id}, "
            f"properties={self.properties!r})"
        )


class PubAck(msgspec.Struct, frozen=True):
    """MQTT5 3.4."""

    packet_id: int
    reason_code: int = 0
    properties: Properties | None = None


class PubRec(msgspec.Struct, frozen=True):
    """MQTT5 3.5."""

    packet_id: int
    reason_code: int = 0
    properties: Properties | None = None


class PubRel(msgspec.Struct, frozen=True):
    """MQTT5 3.6."""

    packet_id: int
    reason_code: int = 0
    properties: Properties | None = None


class PubComp(msgspec.Struct, frozen=True):
    """MQTT5 3.7."""

    packet_id: int
    reason_code: int = 0
    properties: Properties | None = None


class Subscription(msgspec.Struct, frozen=True):
    """One topic filter of SUBSCRIBE with its options (MQTT5 3.8.3.1); MQTT 3 has only the QoS."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct, frozen=True):
    """MQTT5 3.8."""

    packet_id: int
    properties: Properties | None
    subscriptions: tuple[Subscription, ...]


class SubAck(msgspec.Struct, frozen=True):
    """MQTT5 3.9; a reason code per subscription, in their order."""

    packet_id: int
    properties: Properties | None
    reason_codes: tuple[int, ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """MQTT5 3.10."""

    packet_id: int
    properties: Properties | None
    topic_filters: tuple[str, ...]


class UnsubAck(msgspec.Struct, frozen=True):
    """MQTT5 3.11; MQTT 3 carries no reason codes."""

    packet_id: int
    properties: Properties | None = None
    reason_codes: tuple[int, ...] = ()


class PingReq(msgspec.Struct, frozen=True):
    """MQTT5 3.12."""


class PingResp(msgspec.Struct, frozen=True):
    """MQTT5 3.13."""


class Disconnect(msgspec.Struct, frozen=True):
    """MQTT5 3.14; MQTT 3 carries neither code nor properties."""

    reason_code: int = 0
    properties: Properties | None = None


class Auth(msgspec.Struct, frozen=True):
    """MQTT5 3.15, MQTT 5 only."""

    reason_code: int = 0
    properties: Properties | None = None


Packet: TypeAlias = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)
