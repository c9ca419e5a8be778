"""A message whose payload the caller sends by itself: the beginning that the session gives for it."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import VERSIONS, opened
from thingpass.mqtt.data_types import MAXIMUM_VARIABLE_BYTE_INTEGER
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits

V31, V4, V5 = VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_head_and_payload_are_what_publish_sends(version: ProtocolVersion, qos: int, size: int) -> None:
    payload = bytes(size)
    whole, by_piece = opened(version), opened(version)
    assert whole.publish("a/b", payload, qos) is not None
    head = by_piece.begin_publish("a/b", size, qos)
    assert head is not None
    assert head + payload == whole.data_to_send()
    assert by_piece.data_to_send() == b""  # nothing of it is queued
    assert by_piece.send_quota == whole.send_quota


def test_message_larger_than_any_packet_is_not_begun() -> None:
    session = opened(V5)
    quota = session.send_quota
    assert session.begin_publish("t", MAXIMUM_VARIABLE_BYTE_INTEGER, 1) is None
    assert session.send_quota == quota


def test_message_larger_than_the_client_takes_is_not_begun() -> None:
    session = opened(V5, properties=Properties(maximum_packet_size=100))
    assert session.begin_publish("t", 100, 0) is None
    assert session.begin_publish("t", 50, 0) is not None


def test_message_beyond_the_quota_is_not_begun() -> None:
    session = opened(V5, limits=Limits(send_maximum=1))
    assert session.begin_publish("t", 5, 1) is not None
    assert session.begin_publish("t", 5, 1) is None
    assert session.begin_publish("t", 5, 0) is not None


def test_session_that_is_over_begins_nothing() -> None:
    session = opened(V5)
    session.disconnect(0)
    assert session.begin_publish("t", 5, 0) is None
