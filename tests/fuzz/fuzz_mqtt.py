"""Fuzz the MQTT session by hand: `python tests/fuzz/fuzz_mqtt.py [ITERATIONS] [SEED]`, 20,000 unless said.

Invariants, whatever a peer sends, in whatever pieces:
- `receive` raises nothing (the closed list of allowed exceptions is empty); after the end it returns nothing;
- the pieces make no difference to the events, the state and the bytes sent;
- the buffer never holds more than one packet of the allowed size;
- what the server sends is always whole packets that its own decoder reads;
- the decoder alone raises MqttError and nothing else.

The inputs are the vectors of tests/vectors/mqtt and sequences of them, damaged. It needs no fuzzing engine;
where one is at hand, `run(data)` is its entry.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.unit.mqtt.wire import load_vectors, opened  # noqa: E402  # the paths come first
from thingpass.mqtt.decoding import decode  # noqa: E402
from thingpass.mqtt.errors import MqttError  # noqa: E402
from thingpass.mqtt.events import ConnectReceived, Event, MessagePublished, SubscribeRequested  # noqa: E402
from thingpass.mqtt.fixed_header import read_fixed_header  # noqa: E402
from thingpass.mqtt.packets import ProtocolVersion  # noqa: E402
from thingpass.mqtt.session import Limits, Session  # noqa: E402
from thingpass.mqtt.transitions import State  # noqa: E402

LIMITS = Limits(maximum_packet_size=300, receive_maximum=4, topic_alias_maximum=2, send_maximum=3)
LARGEST_HEADER = 5


def _answer(session: Session, events: list[Event]) -> list[Event]:
    """Act like a server on what was reported; returns what that reported in turn."""
    more: list[Event] = []
    for event in events:
        if isinstance(event, ConnectReceived):
            more += session.accept(1.0, assigned_client_id="fuzz")
        elif isinstance(event, MessagePublished):
            if event.qos and event.packet_id % 3:
                session.acknowledge(event.packet_id)
            session.publish(event.topic, event.payload, event.packet_id % 3)
        elif isinstance(event, SubscribeRequested):
            session.grant(event.packet_id, [subscription.qos for subscription in event.subscriptions])
    return more


def _play(session: Session, pieces: list[bytes]) -> tuple[list[Event], bytes, State]:
    seen: list[Event] = []
    sent = b""
    for piece in pieces:
        was_closing = session.closing
        events = session.receive(piece, 1.0)
        assert not (was_closing and events), "an event after the end"
        while events:
            seen += events
            events = _answer(session, events)
        if session.state is State.OPEN:
            assert len(session._waiting) < LIMITS.maximum_packet_size + LARGEST_HEADER
            sent += session.data_to_send()
    return seen, sent + session.data_to_send(), session.state


def _check_sent(sent: bytes, version: ProtocolVersion | None) -> None:
    position = 0
    while position < len(sent):
        body = read_fixed_header(sent, position, version)
        assert body is not None
        assert body[1] <= len(sent), "half a packet was sent"
        if version is not None:
            decode(sent[position : body[1]], version)
        position = body[1]


def run(data: bytes) -> None:
    """One input against all the invariants; the first byte chooses how the session begins."""
    versions = (None, *ProtocolVersion)
    version = versions[data[0] % len(versions)] if data else None
    data = data[1:]
    try:
        decode(data, version)
    except MqttError:
        pass

    def begin() -> Session:
        return Session(LIMITS, 0.0) if version is None else opened(version, limits=LIMITS)

    session = begin()
    _, sent, _ = _play(session, [data])
    _check_sent(sent, session.protocol_version)
    session = begin()
    _, sent, _ = _play(session, [data[index : index + 1] for index in range(len(data))])
    _check_sent(sent, session.protocol_version)
    if version is not None:
        # Compared between sessions that answer nothing: one that answers does so between the pieces.
        whole, cut = begin(), begin()
        events = whole.receive(data, 1.0)
        in_pieces = [
            event for index in range(len(data)) for event in cut.receive(data[index : index + 1], 1.0)
        ]
        assert events == in_pieces
        assert whole.state is cut.state
        assert whole.data_to_send() == cut.data_to_send()


def _damage(source: random.Random, data: bytearray) -> bytearray:
    for _ in range(source.choice((0, 1, 1, 2, 5))):
        place = source.randrange(len(data) + 1)
        match source.randrange(4):
            case 0:
                data[place : place + 1] = source.randbytes(1)
            case 1:
                del data[place : place + source.randrange(1, 4)]
            case 2:
                data[place:place] = source.randbytes(source.randrange(1, 4))
            case _:
                data[place : place + 1] = bytes((source.choice((0, 1, 0x7F, 0x80, 0xFF)),))
    return data


def main(iterations: int, seed: int) -> None:
    """Run so many damaged inputs; an input that breaks an invariant is shown in full."""
    source = random.Random(seed)
    corpus = [row["data"] for name in ("packets.json", "faults.json") for row in load_vectors(name)]
    began = time.monotonic()
    for _ in range(iterations):
        chosen = b"".join(source.choice(corpus) for _ in range(source.randrange(1, 5)))
        data = source.randbytes(1) + bytes(_damage(source, bytearray(chosen)))
        try:
            run(data)
        except BaseException:
            sys.stderr.write(f"input: {data.hex()}\n")
            raise
    seconds = time.monotonic() - began
    sys.stdout.write(f"{iterations} inputs in {seconds:.1f} s, seed {seed}: no invariant broken\n")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 20_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32),
    )
