"""The hot path: a run of plain messages read with a cursor over one buffer, without a packet in between.

Plain is a PUBLISH of QoS 0 or 1 without DUP and RETAIN, whole in the data, under a topic name that was found
valid before, without properties, and within every limit. Whatever differs in anything, or is wrong in
anything, is left to the general path (`framing.py`, `decoding.py`, `inflight.py`), which knows all the rules;
so nothing is decided here, and a test holds that the two agree. A device's telemetry is nearly always plain.
"""

from __future__ import annotations

from thingpass.mqtt.events import Event, MessagePublished
from thingpass.mqtt.inflight import InboundMessages
from thingpass.mqtt.topics import KNOWN_TOPIC_NAMES

_QOS_0 = 0x30  # first bytes of a PUBLISH without DUP and RETAIN
_QOS_1 = 0x32
_SHORTEST = 6  # one length byte, a topic of one character, and what keeps every index below inside the data


def read_plain_messages(
    data: bytes,
    position: int,
    size: int,
    inbound: InboundMessages,
    maximum_packet_size: int,
    is_mqtt5: bool,
    events: list[Event],
) -> int:
    """Append the plain messages that `data` goes on with; returns the position of the first other packet."""
    while size - position >= _SHORTEST:
        first = data[position]
        if first != _QOS_1 and first != _QOS_0:
            break
        length = data[position + 1]
        start = position + 2
        if length > 0x7F:  # a second length byte: up to 16 KiB
            high = data[start]
            if not 0 < high < 0x80:
                break
            length += (high - 1) << 7
            start += 1
        end = start + length
        if end > size or data[start] or end - position > maximum_packet_size:
            break
        body = start + 2 + data[start + 1]
        topic = KNOWN_TOPIC_NAMES.get(data[start + 2 : body])
        if topic is None:
            break
        packet_id = 0
        if first == _QOS_1:
            body += 2
            if body > end:
                break
            packet_id = data[body - 2] << 8 | data[body - 1]
            if not packet_id or inbound.in_flight >= inbound.maximum or packet_id in inbound.at_qos_2:
                break
        if is_mqtt5:  # the length of the properties: 0
            if body >= end or data[body]:
                break
            body += 1
        elif body > end:
            break
        if packet_id:
            inbound.at_qos_1[packet_id] = None
            inbound.in_flight += 1
        events.append(MessagePublished(topic, data[body:end], first >> 1 & 1, False, False, packet_id))
        position = end
    return position
