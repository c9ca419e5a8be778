"""From the byte stream to one packet's bytes: what is cut off waits here, what may not come is refused here.

Checks go from the first byte to the last, each as soon as its bytes are there. So a session fails at the same
byte however the network cut the data, a packet that may not come costs no memory, and the buffer never grows
past one packet of the allowed size.
"""

from __future__ import annotations

from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.fixed_header import read_fixed_header
from thingpass.mqtt.foreign import foreign_fault, might_be_foreign
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.mqtt.reason_codes import PacketType, ReasonCode
from thingpass.mqtt.transitions import TRANSITIONS, Fault, State

_CONNECT_FIRST_BYTE = 0x10


class Framing:
    """The beginning of a packet whose end has not come, and the rules of cutting.

    `waiting` is read by the session.
    """

    __slots__ = ("_maximum_packet_size", "_needed", "waiting")

    def __init__(self, maximum_packet_size: int) -> None:
        self._maximum_packet_size = maximum_packet_size
        self.waiting = bytearray()
        self._needed = 0  # bytes that must wait before another look makes sense

    def join(self, data: bytes) -> bytes:
        """What waits and what came behind it, or nothing while that is not enough.

        A packet that comes byte by byte is so copied once, when it is complete.
        """
        waiting = self.waiting
        if not waiting:
            return data
        waiting += data
        if len(waiting) < self._needed:
            return b""
        joined = bytes(waiting)
        waiting.clear()
        self._needed = 0
        return joined

    def next_packet(
        self, data: bytes, position: int, state: State, version: ProtocolVersion | None
    ) -> tuple[PacketType, State, Cursor] | None:
        """The type of the packet that begins at `position`, the state it leads to and its body.

        None when its end has not come; the rest of `data` then waits here. Raises MqttError.
        """
        first = data[position]
        if state is State.AWAITING_CONNECT and first != _CONNECT_FIRST_BYTE:
            self._refuse_first_bytes(data[position:])
            return None
        body = read_fixed_header(data, position, version)
        if body is None:
            self._wait(data[position:], len(data) - position + 1)
            return None
        start, end = body
        if end - position > self._maximum_packet_size:
            raise ProtocolViolation(
                f"a packet of {end - position} bytes, {self._maximum_packet_size} are allowed",
                statement="MQTT-3.2.2-15",
                reason_code=ReasonCode.PACKET_TOO_LARGE,
            )
        packet_type = PacketType(first >> 4)
        cell = _cell(state, packet_type)
        if end > len(data):
            self._wait(data[position:], end - position)
            return None
        return packet_type, cell, Cursor(data, start, end)

    def _wait(self, rest: bytes, needed: int) -> None:
        self.waiting += rest
        self._needed = needed

    def _refuse_first_bytes(self, first_bytes: bytes) -> None:
        foreign = foreign_fault(first_bytes)
        if foreign is not None:
            raise foreign
        if might_be_foreign(first_bytes):
            self._wait(first_bytes, len(first_bytes) + 1)
            return
        read_fixed_header(first_bytes[:1], 0, None)  # raises for a reserved type and for reserved flags
        _cell(State.AWAITING_CONNECT, PacketType(first_bytes[0] >> 4))


def _cell(state: State, packet_type: PacketType) -> State:
    cell = TRANSITIONS[state][packet_type]
    if isinstance(cell, Fault):
        raise ProtocolViolation(
            cell.sentence.format(packet=packet_type.name),
            statement=cell.statement,
            reason_code=cell.reason_code,
        )
    return cell
