"""Topic names and filters, MQTT 5 section 4.7 and 4.8.2: validity, matching, shared subscriptions. Pure."""

from __future__ import annotations

from thingpass.mqtt.data_types import decode_utf8
from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.reason_codes import ReasonCode

SHARE_PREFIX = "$share/"

# Topic names as they lay on the wire, already found valid, with their text. Devices use a handful of names,
# so a look-up replaces slicing, decoding and checking. When full it starts afresh: whoever fills it with junk
# cannot lock the common names out, and 1,024 names of 256 bytes bound it to less than 1 MB per process.
KNOWN_TOPIC_NAMES: dict[bytes, str] = {}
_KNOWN_TOPIC_NAMES_MAXIMUM = 1024
_KNOWN_TOPIC_NAME_LENGTH_MAXIMUM = 256


def read_topic_name(raw: bytes) -> str:
    """The text of a topic name from the wire. Raises MalformedPacket or ProtocolViolation."""
    known = KNOWN_TOPIC_NAMES.get(raw)
    if known is not None:
        return known
    topic = decode_utf8(raw)
    validate_topic_name(topic)
    if len(raw) <= _KNOWN_TOPIC_NAME_LENGTH_MAXIMUM:
        if len(KNOWN_TOPIC_NAMES) >= _KNOWN_TOPIC_NAMES_MAXIMUM:
            KNOWN_TOPIC_NAMES.clear()
        KNOWN_TOPIC_NAMES[raw] = topic
    return topic


def validate_topic_name(topic: str) -> None:
    """Raises ProtocolViolation (0x90) for a name that no message may carry. MQTT5 4.7."""
    if not topic:
        raise ProtocolViolation(
            "a topic name is empty", statement="MQTT-4.7.3-1", reason_code=ReasonCode.TOPIC_NAME_INVALID
        )
    if "#" in topic or "+" in topic:
        raise ProtocolViolation(
            "a topic name contains a wildcard",
            statement="MQTT-3.3.2-2",
            reason_code=ReasonCode.TOPIC_NAME_INVALID,
        )


def validate_topic_filter(topic_filter: str) -> None:
    """Raises ProtocolViolation (0x8F) for a filter that is not formed as MQTT5 4.7.1 says."""
    if not topic_filter:
        raise _filter_fault("a topic filter is empty", "MQTT-4.7.3-1")
    if "#" not in topic_filter and "+" not in topic_filter:
        return
    levels = topic_filter.split("/")
    for level in levels[:-1]:
        if "#" in level:
            raise _filter_fault("a '#' is not the last level of its filter", "MQTT-4.7.1-1")
    if "#" in levels[-1] and levels[-1] != "#":
        raise _filter_fault("a '#' shares its level with other characters", "MQTT-4.7.1-1")
    for level in levels:
        if "+" in level and level != "+":
            raise _filter_fault("a '+' shares its level with other characters", "MQTT-4.7.1-2")


def _filter_fault(seen: str, statement: str) -> ProtocolViolation:
    return ProtocolViolation(seen, statement=statement, reason_code=ReasonCode.TOPIC_FILTER_INVALID)


def is_shared(topic_filter: str) -> bool:
    """Whether the filter asks for a shared subscription (MQTT5 4.8.2; plain text to MQTT 3)."""
    return topic_filter.startswith(SHARE_PREFIX)


def split_shared(topic_filter: str) -> tuple[str, str]:
    """`$share/NAME/FILTER` -> (NAME, FILTER); raises ProtocolViolation (0x8F). MQTT5 4.8.2."""
    share_name, slash, shared_filter = topic_filter.removeprefix(SHARE_PREFIX).partition("/")
    if not share_name or "+" in share_name or "#" in share_name:
        raise _filter_fault("a share name is empty or contains a wildcard", "MQTT-4.8.2-1")
    if not slash or not shared_filter:
        raise _filter_fault("a share name is not followed by a topic filter", "MQTT-4.8.2-2")
    validate_topic_filter(shared_filter)
    return share_name, shared_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter matches a valid topic name. MQTT5 4.7."""
    if topic_filter == topic:
        return True
    if topic.startswith("$") and topic_filter[:1] in ("#", "+"):
        return False  # MQTT5 4.7.2 [MQTT-4.7.2-1]
    filter_levels = topic_filter.split("/")
    topic_levels = topic.split("/")
    for index, level in enumerate(filter_levels):
        if level == "#":
            return True  # MQTT5 4.7.1.2: it stands for the parent level too, so no level need be left
        if index == len(topic_levels) or level not in ("+", topic_levels[index]):
            return False
    return len(filter_levels) == len(topic_levels)
