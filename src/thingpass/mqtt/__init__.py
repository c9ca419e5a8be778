"""MQTT 3.1, 3.1.1 and 5.0 as a server speaks it: bytes in, events out, verbs in, bytes out.

This room knows no socket, no clock, no log and nothing of Thingpass: it could be a library of its own. It
decides what the protocol alone can decide (form, order, limits, time-outs); who may connect and what a
message means is decided above.
"""

from thingpass.mqtt.errors import (
    ForeignProtocol,
    MalformedPacket,
    MqttError,
    ProtocolViolation,
    TimedOut,
    UnsupportedVersion,
    WrongState,
)
from thingpass.mqtt.events import (
    ConnectReceived,
    DeliveryAcknowledged,
    Disconnected,
    Event,
    MessagePublished,
    PingReceived,
    SessionFailed,
    SubscribeRequested,
    UnsubscribeRequested,
)
from thingpass.mqtt.packets import Connect, ProtocolVersion, Subscription
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.session_state import SessionState
from thingpass.mqtt.transitions import State

__all__ = [
    "Connect",
    "ConnectReceived",
    "DeliveryAcknowledged",
    "Disconnected",
    "Event",
    "ForeignProtocol",
    "Limits",
    "MalformedPacket",
    "MessagePublished",
    "MqttError",
    "PingReceived",
    "ProtocolVersion",
    "ProtocolViolation",
    "ReasonCode",
    "Session",
    "SessionFailed",
    "SessionState",
    "State",
    "SubscribeRequested",
    "Subscription",
    "TimedOut",
    "UnsubscribeRequested",
    "UnsupportedVersion",
    "WrongState",
]
