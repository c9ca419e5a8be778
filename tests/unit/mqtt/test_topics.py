"""MQTT5 4.7 and 4.8.2: names, filters and what matches what."""

from __future__ import annotations

import pytest

from thingpass.mqtt import topics
from thingpass.mqtt.errors import MqttError


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/B", False),
        ("a/b", "a/b/", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/b/#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("v1/devices/me/rpc/request/+", "v1/devices/me/rpc/request/12", True),
    ],
)
def test_filter_matches_as_the_specification_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert topics.matches(topic_filter, topic) is expected


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "+/b/+", "/", "a//b", "a b", "$share/x"])
def test_well_formed_filter_passes(topic_filter: str) -> None:
    topics.validate_topic_filter(topic_filter)


@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+", "##"])
def test_ill_formed_filter_is_refused(topic_filter: str) -> None:
    with pytest.raises(MqttError) as caught:
        topics.validate_topic_filter(topic_filter)
    assert caught.value.reason_code == 0x8F
    assert caught.value.statement.startswith("MQTT-4.7")


def test_shared_subscription_is_split() -> None:
    assert topics.is_shared("$share/group/a/+")
    assert topics.split_shared("$share/group/a/+") == ("group", "a/+")


@pytest.mark.parametrize(
    "topic_filter", ["$share/", "$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/g/a#"]
)
def test_ill_formed_shared_subscription_is_refused(topic_filter: str) -> None:
    with pytest.raises(MqttError):
        topics.split_shared(topic_filter)


class TestKnownTopicNames:
    """The cache that the hot path reads."""

    def test_bad_name_never_enters(self) -> None:
        for raw in (b"", b"a/+", b"#", b"a\x00", b"\xff"):
            with pytest.raises(MqttError):
                topics.read_topic_name(raw)
            assert raw not in topics.KNOWN_TOPIC_NAMES

    def test_cache_is_bounded_and_takes_common_names_in_again(self) -> None:
        for number in range(3000):
            topics.read_topic_name(f"junk/{number}".encode())
            assert len(topics.KNOWN_TOPIC_NAMES) <= 1024
        assert topics.read_topic_name(b"v1/devices/me/telemetry") == "v1/devices/me/telemetry"
        assert b"v1/devices/me/telemetry" in topics.KNOWN_TOPIC_NAMES

    def test_long_name_is_valid_but_not_kept(self) -> None:
        raw = b"x" * 300
        assert topics.read_topic_name(raw) == "x" * 300
        assert raw not in topics.KNOWN_TOPIC_NAMES
