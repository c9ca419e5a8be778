"""Numbers that stand for topic names, of each side its own, for one connection (MQTT5 3.3.2.3.4)."""

from __future__ import annotations

from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.reason_codes import ReasonCode

_WORTH_CHARACTERS = 3  # the property itself is that long


class TopicAliases:
    """The client's: alias -> topic name, at most `maximum` of them."""

    __slots__ = ("_maximum", "_topics")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._topics: dict[int, str] = {}

    def resolve(self, alias: int, topic: str) -> str:
        """The topic name that is meant; a name that comes with an alias replaces what it stood for.

        Raises ProtocolViolation for an alias out of bounds or without a name.
        """
        if not 0 < alias <= self._maximum:  # [MQTT-3.3.2-8], [MQTT-3.3.2-9]
            raise ProtocolViolation(
                f"topic alias {alias}, 1 to {self._maximum} are allowed",
                statement="MQTT-3.3.2-9",
                reason_code=ReasonCode.TOPIC_ALIAS_INVALID,
            )
        if topic:
            self._topics[alias] = topic
            return topic
        known = self._topics.get(alias)
        if known is None:
            raise ProtocolViolation(f"topic alias {alias} has no topic name yet")
        return known


class GivenTopicAliases:
    """This side's: topic name -> alias, for at most as many as the client allows.

    A name gets its number when it is sent twice in a row, so that names that are sent once, such as those
    with the number of a request, use none up.
    """

    __slots__ = ("_given", "_last", "_maximum")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._given: dict[str, int] = {}
        self._last = ""

    def given(self, topic: str) -> int | None:
        """The number that the client knows for this name."""
        return self._given.get(topic)

    def due(self, topic: str) -> int | None:
        """The number to send along with this name; None: it is sent as it is."""
        if topic == self._last and len(self._given) < self._maximum and len(topic) > _WORTH_CHARACTERS:
            return len(self._given) + 1
        self._last = topic
        return None

    def give(self, topic: str, alias: int) -> None:
        """The client has been told."""
        self._given[topic] = alias
