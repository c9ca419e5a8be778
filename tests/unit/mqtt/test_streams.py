"""Any bytes, cut anywhere: nothing is raised, and the cuts make no difference."""

from __future__ import annotations

from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mqtt.strategies import packets, patient, publishes, versions
from tests.unit.mqtt.wire import VERSIONS, connect_packet, feed_byte_by_byte, opened
from thingpass.mqtt import plain_messages
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import ConnectReceived, MessagePublished, SessionFailed
from thingpass.mqtt.packets import ProtocolVersion, Publish
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.topics import KNOWN_TOPIC_NAMES
from thingpass.mqtt.transitions import State

SMALL = Limits(maximum_packet_size=200, receive_maximum=5, topic_alias_maximum=3)
V4 = ProtocolVersion.MQTT_3_1_1


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _run(session: Session, pieces: list[bytes]) -> tuple[list[Any], bytes, State]:
    events: list[Any] = []
    sent = b""
    for piece in pieces:
        events += session.receive(piece, 1.0)
        sent += session.data_to_send() if not session.closing else b""
    return events, sent + session.data_to_send(), session.state


@st.composite
def _streams(draw: st.DrawFn) -> tuple[ProtocolVersion, bytes]:
    """Packets of one version, of which some bytes may be changed, cut out or put in."""
    version = draw(versions)
    chosen = draw(st.lists(packets(version), max_size=3))
    return version, _damaged(draw, b"".join(encode(packet, version) for packet in chosen))


@st.composite
def _plain_messages(draw: st.DrawFn) -> tuple[ProtocolVersion, bytes]:
    """What the hot path is made for, of which some bytes may be changed, cut out or put in."""
    version = draw(versions)
    payloads = draw(st.lists(st.binary(max_size=150), min_size=1, max_size=4))
    data = b"".join(
        encode(Publish(False, draw(st.integers(0, 1)), False, "a/b", number, None, payload), version)
        for number, payload in enumerate(payloads, start=1)
    )
    return version, _damaged(draw, data)


@st.composite
def _messages(draw: st.DrawFn) -> tuple[ProtocolVersion, list[Publish]]:
    version = draw(versions)
    return version, draw(st.lists(publishes(version), max_size=5))


def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        # Most places near the front, where the fixed header, the topic and the identifier are.
        place = draw(st.one_of(st.integers(0, min(len(data), 12)), st.integers(0, len(data))))
        damaged[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(damaged)


@patient
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_first_bytes_whatever_they_are_raise_nothing(data: bytes, cuts: list[int]) -> None:
    whole = _run(Session(SMALL, 0.0), [data])
    assert _run(Session(SMALL, 0.0), _pieces(data, cuts)) == whole
    assert _run(Session(SMALL, 0.0), [data[i : i + 1] for i in range(len(data))]) == whole


@patient
@given(_streams(), st.lists(st.integers(0, 400), max_size=6))
def test_cuts_make_no_difference_to_an_open_session(
    stream: tuple[ProtocolVersion, bytes], cuts: list[int]
) -> None:
    version, data = stream
    whole = _run(opened(version, limits=SMALL), [data])
    assert _run(opened(version, limits=SMALL), _pieces(data, cuts)) == whole
    assert _run(opened(version, limits=SMALL), [data[i : i + 1] for i in range(len(data))]) == whole
    failures = [event for event in whole[0] if isinstance(event, SessionFailed)]
    assert len(failures) <= 1
    assert not failures or whole[0][-1] is failures[0]
    assert bool(failures) <= (whole[2] is State.CLOSED)


@patient
@given(_streams(), st.lists(st.integers(0, 400), max_size=3))
def test_packets_behind_connect_are_reported_by_accept(
    stream: tuple[ProtocolVersion, bytes], cuts: list[int]
) -> None:
    version, data = stream
    expected = opened(version, limits=SMALL).receive(data, 1.0)
    session = Session(SMALL, 0.0)
    events: list[Any] = []
    for piece in _pieces(encode(connect_packet(version), version) + data, cuts):
        events += session.receive(piece, 1.0)
    assert [type(event) for event in events] == [ConnectReceived]
    assert session.accept(1.0) == expected


@patient
@given(_plain_messages(), st.lists(st.integers(0, 400), max_size=2))
def test_hot_path_and_general_path_agree(case: tuple[ProtocolVersion, bytes], cuts: list[int]) -> None:
    version, data = case
    KNOWN_TOPIC_NAMES[b"a/b"] = "a/b"
    hot = _run(opened(version, limits=SMALL), _pieces(data, cuts))
    with mock.patch.object(plain_messages, "KNOWN_TOPIC_NAMES", {}):  # no name is known: nothing is plain
        assert _run(opened(version, limits=SMALL), _pieces(data, cuts)) == hot


@patient
@given(_messages())
def test_messages_of_all_kinds_arrive_the_same_by_both_paths(
    case: tuple[ProtocolVersion, list[Publish]],
) -> None:
    version, messages = case
    data = b"".join(encode(message, version) for message in messages)
    for message in messages:
        KNOWN_TOPIC_NAMES[message.topic.encode()] = message.topic
    hot = _run(opened(version, limits=SMALL), [data])
    with mock.patch.object(plain_messages, "KNOWN_TOPIC_NAMES", {}):
        assert _run(opened(version, limits=SMALL), [data]) == hot


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 129, 16_383, 16_384, 40_000])
def test_message_of_any_size_arrives_by_both_paths(version: ProtocolVersion, size: int) -> None:
    data = encode(Publish(False, 1, False, "v1/devices/me/telemetry", 7, None, b"x" * size), version)
    expected = [MessagePublished("v1/devices/me/telemetry", b"x" * size, 1, False, False, 7, None)]
    opened(version).receive(data, 1.0)
    assert opened(version).receive(data, 1.0) == expected
    KNOWN_TOPIC_NAMES.clear()
    assert opened(version).receive(data, 1.0) == expected
    assert feed_byte_by_byte(opened(version), data, 1.0) == expected


def test_buffer_holds_no_more_than_one_packet() -> None:
    session = opened(V4, limits=Limits(maximum_packet_size=1000))
    data = encode(Publish(False, 1, False, "t", 7, None, b"x" * 900), V4)
    for index in range(len(data) - 1):
        assert session.receive(data[index : index + 1], 1.0) == []
        assert len(session._waiting) == index + 1
    assert len(session.receive(data[-1:] + data[:10], 1.0)) == 1
    assert len(session._waiting) == 10


def test_bytes_one_by_one_are_copied_once() -> None:
    # An engine that looked at the whole buffer for every byte would copy 60,000 * 30,000 bytes here.
    session = opened(V4)
    joins = 0
    join = session._framing.join

    class Counting:
        def __init__(self, framing: Any) -> None:
            self.framing = framing

        def __getattr__(self, name: str) -> Any:
            return getattr(self.framing, name)

        def join(self, data: bytes) -> bytes:
            nonlocal joins
            joined = join(data)
            joins += bool(joined)
            return joined

    session._framing = Counting(session._framing)  # type: ignore[assignment]  # counts the joins
    data = encode(Publish(False, 1, False, "t", 7, None, b"x" * 60_000), V4)
    assert len(feed_byte_by_byte(session, data, 1.0)) == 1
    assert joins <= 6, "one look per byte of the fixed header, one when the packet is complete"


def test_failed_session_keeps_no_data_alive() -> None:
    session = opened(V4)
    (failed,) = session.receive(b"\x30\x05\x00\x03a/+", 1.0)
    assert isinstance(failed, SessionFailed)
    assert failed.error.__traceback__ is None
    assert failed.error.__context__ is None


def test_events_and_packets_show_no_secret() -> None:
    connect = connect_packet(V4, user_name="the-token", password=b"the-password")
    message = Publish(False, 0, False, "t", 0, None, b"the-payload")
    session = Session(Limits(), 0.0)
    events = session.receive(encode(connect, V4) + encode(message, V4), 0.0)
    events += session.accept(0.0)
    shown = repr(events) + repr(message) + repr(session.connect)
    assert "the-" not in shown
    assert "<11 bytes>" in shown
    assert msgspec.structs.replace(connect, user_name=None).user_name is None
