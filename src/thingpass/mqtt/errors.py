"""What a peer can do wrong, as values: a reason code, the statement of the specification and what was seen.

No payload, user name or password ever stands in `seen`. The session never lets these out of `receive`; they
arrive in `events.SessionFailed`. The codec's functions raise them.
"""

from __future__ import annotations

from thingpass.mqtt.reason_codes import ReasonCode


class MqttError(Exception):
    """Base of everything that ends a session by the peer's doing.

    `reason_code` is MQTT 5's, `statement` the tag of the rule that was broken (`MQTT-3.1.0-1`, of MQTT 5
    unless it says otherwise; empty where no numbered statement exists), `seen` one clause for the log.
    `looks_like` names another protocol that the bytes plainly belong to: `"tls"` or `"http"`.
    """

    default_reason_code = ReasonCode.UNSPECIFIED_ERROR

    def __init__(
        self,
        seen: str,
        *,
        statement: str = "",
        reason_code: ReasonCode | None = None,
        looks_like: str | None = None,
    ) -> None:
        super().__init__(seen)
        self.seen = seen
        self.statement = statement
        self.reason_code = self.default_reason_code if reason_code is None else reason_code
        self.looks_like = looks_like

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), self.seen, self.statement, self.reason_code))

    def __str__(self) -> str:
        tag = f" [{self.statement}]" if self.statement else ""
        return f"{self.seen}{tag}"


class MalformedPacket(MqttError):
    """The bytes cannot be read as the specification says (MQTT5 1.2, Malformed Packet)."""

    default_reason_code = ReasonCode.MALFORMED_PACKET


class ProtocolViolation(MqttError):
    """The packet can be read, but is not allowed here (MQTT5 1.2, Protocol Error), or passes a limit."""

    default_reason_code = ReasonCode.PROTOCOL_ERROR


class UnsupportedVersion(MqttError):
    """CONNECT names a protocol or a level that is not spoken here; `level` is the byte it carried."""

    default_reason_code = ReasonCode.UNSUPPORTED_PROTOCOL_VERSION

    def __init__(self, seen: str, *, statement: str, level: int) -> None:
        super().__init__(seen, statement=statement)
        self.level = level


class ForeignProtocol(MqttError):
    """The first bytes are no MQTT at all; `looks_like` says what they are."""

    default_reason_code = ReasonCode.MALFORMED_PACKET


class TimedOut(MqttError):
    """The peer was silent for too long: no CONNECT in time, or the keep alive ran out."""

    default_reason_code = ReasonCode.KEEP_ALIVE_TIMEOUT


class WrongState(Exception):
    """The *caller* asked for something that the session's state does not allow.

    A bug, never a peer's doing.
    """
