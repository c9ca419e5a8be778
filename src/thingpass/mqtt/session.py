"""The server's side of one MQTT connection, sans-I/O: feed, act, collect.

`receive(data, now)` returns what the peer did, the verbs (`accept`, `acknowledge`, `publish`, ...) say what
the server does, `data_to_send()` gives the bytes for it. Nothing here owns a socket or a clock: `now` is any
monotonic clock in seconds, and `deadline()` says when to call `tick` at the latest.

The life of a session: `receive` reports ConnectReceived; the caller decides and calls `accept` (and handles
the events it returns, what the client had sent behind CONNECT) or `refuse`; every MessagePublished of QoS 1
and 2 is answered by one `acknowledge`, every SubscribeRequested by `grant`, every UnsubscribeRequested by
`confirm_unsubscribe`. Once `closing` is true the caller sends `data_to_send()` and closes the connection;
verbs that come later (a commit that ended, a decision that took long) do nothing.

What may come when is `transitions.py`; cutting the stream, `framing.py`; form, `decoding.py`; what CONNECT
asks for, `connecting.py`; which identifiers fit, `inflight.py` and `outbound.py`; messages to the client,
`deliveries.py`; what goes out, `outbox.py`. A session whose client asked for it (`session_expiry_interval`
above 0) leaves `state_to_keep()`; given to `accept` of a later connection of the same client, it goes on
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from thingpass.mqtt.connecting import check_connect, connack_properties, send_maximum, session_expiry_s
from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.decoding import decode_body, decode_connect, decode_protocol
from thingpass.mqtt.deliveries import Deliveries
from thingpass.mqtt.errors import MqttError, ProtocolViolation, TimedOut, WrongState
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
from thingpass.mqtt.framing import Framing
from thingpass.mqtt.inflight import Arrival, InboundMessages
from thingpass.mqtt.outbound import OutboundMessages
from thingpass.mqtt.outbox import Outbox
from thingpass.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    ProtocolVersion,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from thingpass.mqtt.plain_messages import read_plain_messages
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import REASON_BY_CODE, PacketType, ReasonCode, permitted
from thingpass.mqtt.session_state import SessionState
from thingpass.mqtt.subscription_identifiers import SubscriptionIdentifiers
from thingpass.mqtt.topic_aliases import TopicAliases
from thingpass.mqtt.topics import is_shared
from thingpass.mqtt.transitions import State

_MQTT_3_1 = ProtocolVersion.MQTT_3_1
_MQTT_5 = ProtocolVersion.MQTT_5
_OPEN = State.OPEN
_KEEP_ALIVE_FACTOR = 1.5  # MQTT5 3.1.2.10 [MQTT-3.1.2-22]
# What a client may send behind CONNECT before it is decided on, beside one packet of the largest size: four
# TLS records of the largest size. The caller should stop reading while the state is DECIDING.
_HELD_BACK_MAXIMUM = 65_536
_SERVER_UNAVAILABLE_MQTT_3 = 3


class Limits(msgspec.Struct, frozen=True):
    """What one session may take from its client."""

    maximum_packet_size: int = 65_536  # bytes, with the fixed header; ThingsBoard's default for a payload
    receive_maximum: int = 100  # unacknowledged messages of QoS 1 and 2 (MQTT 5; MQTT 3 has no such limit)
    topic_alias_maximum: int = 10  # names kept per connection; devices have a handful
    send_maximum: int = 1000  # messages of QoS 1 and 2 on their way to the client, whatever it allows
    waiting_maximum: int = 1000  # messages that wait because the client's Receive Maximum is used up
    held_bytes_maximum: int = 1_048_576  # of these messages, and of those kept to be sent again
    session_expiry_maximum: int = 0  # seconds that a session is kept for its client; 0: none is
    connect_timeout_s: float = 10.0  # from the start to CONNECT, and again from CONNECT to the decision


class Session:
    """One connection. Read `state`, `connect`, `protocol_version`; see the module for the order of calls."""

    __slots__ = (
        "_asked_to_outlive",
        "_deliveries",
        "_framing",
        "_heard_at",
        "_inbound",
        "_is_mqtt5",
        "_outbox",
        "_send_maximum",
        "_silence_allowed_s",
        "_topic_aliases",
        "_waiting",
        "connect",
        "limits",
        "outgoing",
        "protocol_version",
        "session_expiry_interval",
        "state",
        "will",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.state = State.AWAITING_CONNECT
        self.connect: Connect | None = None  # until it is accepted
        self._asked_to_outlive = False  # CONNECT had a Session Expiry Interval
        # What is to be said when the connection ends; a DISCONNECT with 0x00 takes it back.
        self.will: Will | None = None
        self.protocol_version: ProtocolVersion | None = None
        self._is_mqtt5 = False
        self._framing = Framing(limits.maximum_packet_size)
        self._waiting = self._framing.waiting  # a packet's beginning, or what waits for the decision
        self._outbox = Outbox()
        # What waits for `data_to_send`; callers only look whether it is empty, once per message.
        self.outgoing = self._outbox.waiting
        self._heard_at = now
        self._silence_allowed_s: float | None = limits.connect_timeout_s
        self._inbound = InboundMessages()
        self._send_maximum = limits.send_maximum
        self._deliveries: Deliveries | None = None  # from the first message to the client on
        # Seconds that the caller should keep `state_to_keep()` after the connection has ended; 0: not at all.
        self.session_expiry_interval = 0
        self._topic_aliases: TopicAliases | None = None

    @property
    def closing(self) -> bool:
        """Whether the session is over: send what is left, then close. `receive` returns nothing any more."""
        return self.state >= State.CLOSING

    @property
    def heard_at(self) -> float:
        """When the client was last heard, or accepted."""
        return self._heard_at

    @property
    def unacknowledged(self) -> int:
        """Messages of QoS 1 and 2 from the client that wait for `acknowledge`."""
        return self._inbound.unacknowledged

    @property
    def send_quota(self) -> int:
        """How many more messages of QoS 1 and 2 the client takes now; further ones wait here."""
        deliveries = self._deliveries
        return self._send_maximum if deliveries is None else deliveries.outbound.quota

    # --- feed ---

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What the peer did by sending `data`, in order; never raises on what it sent.

        Any byte counts as a sign of life. Deviates from MQTT5 3.1.2.10, which counts whole packets: a large
        message on a slow line is no dead client, and who keeps a connection this way pays no less than
        PINGREQ.
        """
        if self.state is not _OPEN or self._waiting:
            return self._receive_otherwise(data, now)
        self._heard_at = now
        events: list[Event] = []
        position = 0
        size = len(data)
        while True:
            position = read_plain_messages(
                data, position, size, self._inbound, self.limits.maximum_packet_size, self._is_mqtt5, events
            )
            if position == size:
                return events
            position = self._receive_packet(data, position, events)
            if position == size:
                return events

    def _receive_otherwise(self, data: bytes, now: float) -> list[Event]:
        # Before the session is open, behind the beginning of a packet, or after the end.
        state = self.state
        if state is State.DECIDING:
            return self._hold_back(data)
        if state >= State.CLOSING:
            return []
        if state is _OPEN:
            self._heard_at = now
        data = self._framing.join(data)
        if not data:
            return []
        if state is _OPEN:
            return self.receive(data, now)
        events: list[Event] = []
        position = self._receive_packet(data, 0, events)
        if events and not self.closing:  # CONNECT is with the caller, who gets as long as the client had
            self._heard_at = now
            self._waiting += data[position:]
        return events

    def _hold_back(self, data: bytes) -> list[Event]:
        # MQTT5 3.1.4: clients may send on before CONNACK; the packets get their turn after `accept`
        self._waiting += data
        if len(self._waiting) <= self.limits.maximum_packet_size + _HELD_BACK_MAXIMUM:
            return []
        seen = "too much was sent behind CONNECT before its answer"
        return [self._fail(ProtocolViolation(seen, reason_code=ReasonCode.QUOTA_EXCEEDED))]

    def _receive_packet(self, data: bytes, position: int, events: list[Event]) -> int:
        # One packet of any kind; returns where the next one begins: nowhere, the size, when that is it.
        try:
            packet = self._framing.next_packet(data, position, self.state, self.protocol_version)
            if packet is None:
                return len(data)
            packet_type, following_state, cursor = packet
            if packet_type is PacketType.CONNECT:
                event: Event | None = self._on_connect(cursor)
            else:
                body = decode_body(data[position], cursor, self.protocol_version)
                event = _HANDLERS[packet_type](self, body)
        except MqttError as error:
            events.append(self._fail(error))
            return len(data)
        if event is not None:
            events.append(event)
        if following_state is State.CLOSING:
            self._close()
            return len(data)
        self.state = following_state
        return cursor.end

    # --- what packets mean ---

    def _on_connect(self, cursor: Cursor) -> Event | None:
        version = decode_protocol(cursor)
        self.protocol_version = version
        self._outbox.speak(version)
        connect = decode_connect(cursor, version)
        self.connect = connect
        self.will = connect.will
        asked = connect.properties
        self._asked_to_outlive = asked is not None and bool(asked.session_expiry_interval)
        self._outbox.adopt(connect)
        if version is _MQTT_5:
            self._is_mqtt5 = True
            self._inbound.maximum = self.limits.receive_maximum
        check_connect(connect)
        self.session_expiry_interval = session_expiry_s(connect, self.limits)
        self._send_maximum = send_maximum(connect, self.limits)
        return ConnectReceived(connect)

    def _on_publish(self, packet: Publish) -> Event | None:
        topic = packet.topic
        properties = packet.properties
        if properties is not None:
            if properties.subscription_identifier:
                raise ProtocolViolation(
                    "a PUBLISH of a client with a subscription identifier", statement="MQTT-3.3.4-6"
                )
            if properties.topic_alias is not None:
                if self._topic_aliases is None:
                    self._topic_aliases = TopicAliases(self.limits.topic_alias_maximum)
                topic = self._topic_aliases.resolve(properties.topic_alias, topic)
        packet_id = packet.packet_id
        arrival = self._inbound.begin(packet.qos, packet_id, packet.duplicate) if packet.qos else Arrival.NEW
        if arrival is Arrival.RECEIVED:
            self._outbox.send(PubRec(packet_id))
        if arrival is not Arrival.NEW:
            return None
        return MessagePublished(
            topic, packet.payload, packet.qos, packet.retain, packet.duplicate, packet_id, properties
        )

    def _on_puback(self, packet: PubAck) -> Event | None:
        return self._delivery_ended(packet.packet_id, packet.reason_code, PacketType.PUBACK)

    def _on_pubcomp(self, packet: PubComp) -> Event | None:
        # 0x92, identifier not found: for the sender the delivery is over all the same
        return self._delivery_ended(packet.packet_id, ReasonCode.SUCCESS, PacketType.PUBCOMP)

    def _delivery_ended(self, packet_id: int, reason_code: int, packet_type: PacketType) -> Event | None:
        if not self._make_deliveries().ended(packet_id, packet_type, self._heard_at):
            return None
        return DeliveryAcknowledged(packet_id, reason_code)

    def _on_pubrec(self, packet: PubRec) -> Event | None:
        packet_id = packet.packet_id
        if packet.reason_code >= ReasonCode.UNSPECIFIED_ERROR:  # MQTT5 4.3.3: the refusal ends the delivery
            return self._delivery_ended(packet_id, packet.reason_code, PacketType.PUBREC)
        self._make_deliveries().received(packet_id)
        return None

    def _on_pubrel(self, packet: PubRel) -> Event | None:
        self._outbox.send(PubComp(packet.packet_id, self._inbound.release(packet.packet_id)))
        return None

    def _on_subscribe(self, packet: Subscribe) -> Event | None:
        if self._is_mqtt5:
            for subscription in packet.subscriptions:
                if is_shared(subscription.topic_filter):  # CONNACK said that they are not available
                    raise ProtocolViolation(
                        "a shared subscription", reason_code=ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
                    )
            numbered = packet.properties is not None and bool(packet.properties.subscription_identifier)
            if numbered or self._subscription_identifiers is not None:
                self._make_deliveries().subscription_requested(packet)
        return SubscribeRequested(packet.packet_id, packet.subscriptions, packet.properties)

    def _on_unsubscribe(self, packet: Unsubscribe) -> Event | None:
        if self._subscription_identifiers is not None:
            self._subscription_identifiers.ended(packet.topic_filters)
        return UnsubscribeRequested(packet.packet_id, packet.topic_filters, packet.properties)

    def _on_pingreq(self, packet: PingReq) -> Event | None:
        self._outbox.send(PingResp())  # MQTT5 3.12.4 [MQTT-3.12.4-1]
        return PingReceived()

    def _on_disconnect(self, packet: Disconnect) -> Event | None:
        if packet.reason_code == ReasonCode.NORMAL_DISCONNECTION:  # [MQTT-3.14.4-3]
            self.will = None
        properties = packet.properties
        if properties is not None and properties.session_expiry_interval is not None:
            self._on_expiry_changed(properties.session_expiry_interval)
        reason_string = properties.reason_string if properties is not None else None
        return Disconnected(packet.reason_code, reason_string)

    def _on_expiry_changed(self, interval: int) -> None:
        if interval and not self._asked_to_outlive:  # MQTT5 3.14.2.2.2
            raise ProtocolViolation("a Session Expiry Interval in DISCONNECT, but none in CONNECT")
        self.session_expiry_interval = min(interval, self.limits.session_expiry_maximum)

    # --- act ---

    def accept(
        self,
        now: float,
        *,
        assigned_client_id: str | None = None,
        server_keep_alive: int | None = None,
        resumed: SessionState | None = None,
    ) -> list[Event]:
        """Answer CONNECT with success; returns the events of what the client had already sent behind it.

        `resumed` is what was kept of the client's session, if it did not ask for a clean start.

        `assigned_client_id` is needed for an MQTT 5 client with an empty identifier [MQTT-3.1.3-6].
        `server_keep_alive` (seconds) replaces the client's keep alive in MQTT 5; older clients cannot be
        told. Raises WrongState when no decision is due. On a session that is over it does nothing.
        """
        if self.closing:
            return []
        connect = self.connect
        if self.state is not State.DECIDING or connect is None:
            raise WrongState(f"accept in state {self.state.name}")
        keep_alive = connect.keep_alive
        properties = None
        if self._is_mqtt5:
            if not connect.client_id and not assigned_client_id:
                raise WrongState("accept of an empty client identifier without assigning one")
            if server_keep_alive is not None:
                keep_alive = server_keep_alive
            properties = connack_properties(
                connect,
                self.limits,
                session_expiry_s=self.session_expiry_interval,
                assigned_client_id=assigned_client_id,
                server_keep_alive=server_keep_alive,
            )
        # MQTT5 3.2.2 [MQTT-3.2.2-2], [MQTT-3.2.2-3]; MQTT 3.1 has no such flag
        present = resumed is not None and self.protocol_version is not _MQTT_3_1
        if not self._outbox.send(ConnAck(present, ReasonCode.SUCCESS, properties)):
            return [
                self._fail(
                    ProtocolViolation(
                        "the client's maximum packet size leaves no room for a CONNACK",
                        statement="MQTT-3.1.2-24",
                        reason_code=ReasonCode.PACKET_TOO_LARGE,
                    )
                )
            ]
        self.state = State.OPEN
        self.connect = None  # with the password in it
        self._heard_at = now
        self._silence_allowed_s = keep_alive * _KEEP_ALIVE_FACTOR or None
        if resumed is not None:
            self._resume(resumed)
        if self.session_expiry_interval:
            self._make_deliveries().outbound.keep()
        return self.receive(b"", now)

    def _resume(self, state: SessionState) -> None:
        self._deliveries = deliveries = self._deliver_by(state.outbound)
        deliveries.subscription_identifiers = state.subscription_identifiers
        self._inbound.restore(state.received)
        deliveries.go_on(self._send_maximum, self._heard_at)

    def state_to_keep(self) -> SessionState:
        """What the client's next connection goes on with; this session must not be used any more."""
        outbound = self._make_deliveries().outbound
        return SessionState(outbound, self._inbound.received(), self._subscription_identifiers)

    @property
    def _subscription_identifiers(self) -> SubscriptionIdentifiers | None:
        return None if self._deliveries is None else self._deliveries.subscription_identifiers

    def _make_deliveries(self) -> Deliveries:
        if self._deliveries is None:
            self._deliveries = self._deliver_by(OutboundMessages(self._send_maximum))
        return self._deliveries

    def _deliver_by(self, outbound: OutboundMessages) -> Deliveries:
        return Deliveries(self._outbox, outbound, is_mqtt5=self._is_mqtt5)

    def refuse(self, *, mqtt5: int, mqtt3: int, reason_string: str | None = None) -> None:
        """Answer CONNECT with the reason code of the client's version, then close.

        The reason string goes to MQTT 5 clients that did not decline it, where it fits. Raises WrongState
        when no decision is due. On a session that is over it does nothing.
        """
        if self.closing:
            return
        if self.state is not State.DECIDING:
            raise WrongState(f"refuse in state {self.state.name}")
        self._outbox.send_refusal(mqtt5, mqtt3, reason_string)
        self._close()

    def acknowledge(self, packet_id: int, reason_code: int = 0, reason_string: str | None = None) -> None:
        """Answer one MessagePublished: PUBACK or PUBREC as its QoS needs, with words if they are wanted.

        It goes out behind the answers to earlier messages of its QoS [MQTT-4.6.0-2], [MQTT-4.6.0-3]. MQTT 3
        cannot say a failure: there the message counts as taken, so `disconnect` where that is wrong.
        """
        if self.state is not _OPEN:
            return
        if self._inbound.must_wait(packet_id):
            self._inbound.hold((packet_id, reason_code, reason_string))
            return
        self._answer(packet_id, reason_code, reason_string)
        while self._inbound.held and (answer := self._inbound.next_held()):
            self._answer(*answer)

    def _answer(self, packet_id: int, reason_code: int, reason_string: str | None) -> None:
        # [MQTT-3.4.2-1], [MQTT-3.5.2-1]: PUBACK and PUBREC have the same reason codes
        reason_code = permitted(reason_code, PacketType.PUBACK) if self._is_mqtt5 else 0
        at_qos_1 = self._inbound.settle(packet_id, reason_code) is PacketType.PUBACK
        packet = PubAck(packet_id, reason_code) if at_qos_1 else PubRec(packet_id, reason_code)
        self._outbox.send_with_reason(packet, reason_string)

    def acknowledge_many(self, packet_ids: Sequence[int]) -> None:
        """Answer several MessagePublished with success, in the order in which they came."""
        if self.state is not _OPEN:
            return
        inbound = self._inbound
        if inbound.at_qos_2 or not inbound.are_next(packet_ids):
            for packet_id in packet_ids:
                self.acknowledge(packet_id)
            return
        forget = inbound.at_qos_1.pop
        send = self._outbox.waiting.append
        for packet_id in packet_ids:
            forget(packet_id, None)
            send((0x4002_0000 | packet_id).to_bytes(4, "big"))  # PUBACK of every version: 40 02, identifier
        inbound.in_flight -= len(packet_ids)
        inbound.release_memory()

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool = False,
        properties: Properties | None = None,
        expires_at: float | None = None,
        now: float | None = None,
    ) -> int | None:
        """Send a message: its packet identifier (0 at QoS 0), or None when it is not sent.

        A message of QoS 1 or 2 waits here while the client's Receive Maximum is used up, and is dropped when
        it still waits at `expires_at`; with it goes `now`, since MQTT 5 clients are told how long is left.
        None: the message is larger than the client takes [MQTT-3.1.2-24], the client is too far behind
        (`backed_up`), or the session is not open. Raises ValueError for a topic or a payload that does not
        fit into any packet.
        """
        if self.state is not _OPEN or (qos and self.backed_up):
            return None
        return self._make_deliveries().publish(
            topic,
            payload,
            qos,
            retain=retain,
            properties=properties,
            expires_at=expires_at,
            now=self._heard_at if now is None else now,
        )

    def begin_publish(self, topic: str, size: int, qos: int) -> bytes | None:
        """The beginning of a message whose payload of `size` bytes the caller sends itself.

        It is not queued: send what waits before it, and nothing of `data_to_send` before the payload's end.
        It cannot be sent again, so QoS 1 and 2 are only for a session that ends with its connection. None:
        the client's Receive Maximum is used up, or the message is larger than it takes, or than any packet.
        """
        if self.state is not _OPEN:
            return None
        return self._make_deliveries().begin_publish(topic, size, qos)

    @property
    def backed_up(self) -> bool:
        """Whether so much waits for the client, or for its answer, that `publish` takes no more."""
        limits, outbound = self.limits, None if self._deliveries is None else self._deliveries.outbound
        waiting, held = (0, 0) if outbound is None else (outbound.waiting, outbound.bytes_held)
        return waiting >= limits.waiting_maximum or held >= limits.held_bytes_maximum

    def grant(self, packet_id: int, reason_codes: Sequence[int]) -> None:
        """Answer SubscribeRequested.

        Per filter, in their order, the granted QoS or a reason code of a failure.
        """
        if self.state is not _OPEN:
            return
        if self._subscription_identifiers is not None:
            self._subscription_identifiers.granted(packet_id, reason_codes)
        if self._is_mqtt5:
            codes = tuple(permitted(code, PacketType.SUBACK) for code in reason_codes)  # [MQTT-3.9.3-2]
        else:
            # MQTT 3.1.1 has one failure; MQTT 3.1 has "no way of informing" (3.8) and is told QoS 0
            failure = 0 if self.protocol_version is _MQTT_3_1 else 0x80
            codes = tuple(code if code <= ReasonCode.GRANTED_QOS_2 else failure for code in reason_codes)
        self._outbox.send(SubAck(packet_id, None, codes))

    def confirm_unsubscribe(self, packet_id: int, reason_codes: Sequence[int]) -> None:
        """Answer UnsubscribeRequested: a reason code per filter, in their order (MQTT 3 carries none)."""
        if self.state is _OPEN:
            codes = tuple(permitted(code, PacketType.UNSUBACK) for code in reason_codes)  # [MQTT-3.11.3-2]
            self._outbox.send(UnsubAck(packet_id, None, codes))

    def disconnect(self, reason_code: int, reason_string: str | None = None) -> None:
        """End the session from this side; MQTT 5 clients are told why, a CONNECT that waits is refused."""
        if self.closing:
            return
        if self.state is _OPEN:
            self._outbox.send_disconnect(reason_code, reason_string)
        elif self.state is State.DECIDING:
            row = REASON_BY_CODE.get(reason_code)
            mqtt3 = row.mqtt3 if row is not None else None
            self._outbox.send_refusal(reason_code, mqtt3 or _SERVER_UNAVAILABLE_MQTT_3, reason_string)
        self._close()

    # --- collect ---

    def data_to_send(self) -> bytes:
        """The bytes that wait to be sent; they count as sent."""
        if self.state is State.CLOSING:
            self.state = State.CLOSED
        return self._outbox.collect()

    def deadline(self) -> float | None:
        """When to call `tick` at the latest, or None for never. It moves with every `receive`."""
        if self._silence_allowed_s is None:
            return None
        return self._heard_at + self._silence_allowed_s

    def tick(self, now: float) -> list[Event]:
        """SessionFailed when the deadline has passed, else nothing."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        silence = f"{self._silence_allowed_s:g} s"
        if self.state is State.AWAITING_CONNECT:
            error = TimedOut(f"no CONNECT within {silence}", reason_code=ReasonCode.MAXIMUM_CONNECT_TIME)
        elif self.state is State.DECIDING:
            error = TimedOut(f"no decision within {silence}", reason_code=ReasonCode.SERVER_UNAVAILABLE)
        else:
            error = TimedOut(f"nothing was heard for {silence}", statement="MQTT-3.1.2-22")
        return [self._fail(error)]

    # --- the end ---

    def _fail(self, error: MqttError) -> SessionFailed:
        error.__traceback__ = None  # it would keep the frames, and with them the data, alive
        if self.state is _OPEN:
            self._outbox.send_disconnect(error.reason_code, error.seen)  # MQTT5 4.13.1
        else:
            self._outbox.send_connect_fault(error)
        self._close()
        return SessionFailed(error)

    def _close(self) -> None:
        self.state = State.CLOSING
        self._silence_allowed_s = None
        self._waiting.clear()


# Any: each handler takes the packet of its row, which a dictionary's type cannot say.
_HANDLERS: dict[PacketType, Callable[[Session, Any], Event | None]] = {
    PacketType.PUBLISH: Session._on_publish,
    PacketType.PUBACK: Session._on_puback,
    PacketType.PUBREC: Session._on_pubrec,
    PacketType.PUBREL: Session._on_pubrel,
    PacketType.PUBCOMP: Session._on_pubcomp,
    PacketType.SUBSCRIBE: Session._on_subscribe,
    PacketType.UNSUBSCRIBE: Session._on_unsubscribe,
    PacketType.PINGREQ: Session._on_pingreq,
    PacketType.DISCONNECT: Session._on_disconnect,
}
