"""Numbers that stand for topic names, from the client, for one connection (MQTT5 3.3.2.3.4)."""

from __future__ import annotations

from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.reason_codes import ReasonCode


class TopicAliases:
    """Alias -> topic name, at most `maximum` of them."""

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
