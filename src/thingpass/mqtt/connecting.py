"""What CONNECT asks for, as far as the session can say it alone, and what CONNACK answers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.packets import Connect, ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode

if TYPE_CHECKING:
    from thingpass.mqtt.session import Limits

_MQTT_5 = ProtocolVersion.MQTT_5


def check_connect(connect: Connect) -> None:
    """Raises ProtocolViolation for what is well formed and cannot be served all the same."""
    properties = connect.properties
    if properties is not None and properties.authentication_method is not None:
        raise ProtocolViolation(
            "CONNECT asks for enhanced authentication, which is not spoken here",
            statement="MQTT-4.12.0-1",
            reason_code=ReasonCode.BAD_AUTHENTICATION_METHOD,
        )
    if connect.client_id or connect.protocol_version is _MQTT_5:
        return
    # Deviates: MQTT 3.1 allows no more than 23 characters either, but clients in the field send more.
    if connect.protocol_version is ProtocolVersion.MQTT_3_1 or not connect.clean_start:
        raise ProtocolViolation(
            "an empty client identifier without a clean session",
            statement="MQTT-3.1.3-8 of 3.1.1",
            reason_code=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        )


def session_expiry_s(connect: Connect, limits: Limits) -> int:
    """How long the session is kept when its connection has ended; 0: not at all."""
    if connect.protocol_version is not _MQTT_5:  # 3.1.1 3.1.2.4: it knows no expiry, so for the longest
        return 0 if connect.clean_start else limits.session_expiry_maximum
    asked = connect.properties.session_expiry_interval if connect.properties is not None else None
    return min(asked or 0, limits.session_expiry_maximum)


def send_maximum(connect: Connect, limits: Limits) -> int:
    """How many messages of QoS 1 and 2 may be on their way to the client. MQTT5 3.1.2.11.3."""
    asked = connect.properties.receive_maximum if connect.properties is not None else None
    return limits.send_maximum if asked is None else min(asked, limits.send_maximum)


def connack_properties(
    connect: Connect,
    limits: Limits,
    *,
    session_expiry_s: int,
    assigned_client_id: str | None,
    server_keep_alive: int | None,
) -> Properties:
    asked = connect.properties
    # Maximum QoS is left out, which says 2. So is Retain Available, which says 1: this is no broker and
    # the flag has no effect, but stock clients that set it must not fail over it.
    return Properties(
        # Said only where it is not what was asked for. MQTT5 3.2.2.3.2
        session_expiry_interval=(
            session_expiry_s
            if asked is not None and (asked.session_expiry_interval or 0) != session_expiry_s
            else None
        ),
        receive_maximum=limits.receive_maximum,
        maximum_packet_size=limits.maximum_packet_size,
        assigned_client_identifier=None if connect.client_id else assigned_client_id,
        topic_alias_maximum=limits.topic_alias_maximum or None,
        shared_subscription_available=0,
        server_keep_alive=server_keep_alive,
    )
