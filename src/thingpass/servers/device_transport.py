"""What a device profile means for a connection, compiled once and shared by all devices of the profile.

A message costs one dictionary look-up: every topic without a number in it stands in `routes`, with who
handles it and the codec of its payload. Custom topics with wildcards are matched when a name is seen first;
what was found is remembered in the same dictionary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from thingpass.mqtt import topics
from thingpass.mqtt.events import MessagePublished
from thingpass.servers.device_topics import (
    ATTRIBUTES,
    TELEMETRY,
    Format,
    Purpose,
    Topic,
    TopicRequest,
    find_subscribable,
    fixed_topics,
)
from thingpass.servers.payload_codecs import JSON, Codec

if TYPE_CHECKING:
    from thingpass.servers.device_messages import DeviceConnection

MOST_NAMES_REMEMBERED: Final = 1_000
"""Names that matched a wildcard, for all devices of a profile; then it starts afresh."""

LONGEST_NAME_REMEMBERED: Final = 256

Handler: TypeAlias = "Callable[[DeviceConnection, MessagePublished, Codec], None]"
RequestHandler: TypeAlias = "Callable[[DeviceConnection, MessagePublished, Codec, TopicRequest], None]"
Route: TypeAlias = tuple[Handler, Codec]


class DeviceTransport(msgspec.Struct, frozen=True, kw_only=True):
    """The topics and formats of one profile."""

    routes: dict[str, Route]
    request_handlers: dict[Purpose, RequestHandler]
    fixed_routes: int  # how many of the routes stand there from the beginning
    wildcards: tuple[tuple[str, Route], ...] = ()  # custom filters, in the order in which they are tried
    attribute_filter: str | None = None  # what devices may subscribe to besides the table's filters
    up: Codec = JSON  # what topics without a format of their own bring
    down: Codec = JSON  # and what is sent on those of v2
    down_v1: Codec = JSON
    protobuf: Codec | None = None  # of topics that force protobuf
    acknowledges_bad_payloads: bool = False  # to MQTT 3, which cannot be told what was wrong

    def find_wildcard(self, name: str) -> Route | None:
        """The route of a name that matches a custom topic with wildcards."""
        for topic_filter, route in self.wildcards:
            if topics.matches(topic_filter, name):
                if len(name) <= LONGEST_NAME_REMEMBERED:
                    if len(self.routes) >= MOST_NAMES_REMEMBERED:
                        self._forget_names()
                    self.routes[name] = route
                return route
        return None

    def codec_up(self, topic: Topic) -> Codec:
        """For what the device sends on a topic of the table."""
        if topic.format is Format.OF_PROFILE:
            return self.up
        return JSON if topic.format is Format.JSON else self._forced_protobuf()

    def codec_down(self, topic: Topic) -> Codec:
        """For what is sent to the device on a topic of the table."""
        if topic.format is Format.OF_PROFILE:
            return self.down_v1 if topic.family == "v1" else self.down
        return JSON if topic.format is Format.JSON else self._forced_protobuf()

    def find_subscribable(self, topic_filter: str) -> Topic | None:
        """The row that a SUBSCRIBE is about, or None where there is nothing to subscribe to."""
        row = find_subscribable(topic_filter)
        if row is None and self.attribute_filter is not None:
            custom = self.attribute_filter
            if topic_filter == custom or (
                "#" not in topic_filter and "+" not in topic_filter and topics.matches(custom, topic_filter)
            ):
                return ATTRIBUTES
        return row

    def _forced_protobuf(self) -> Codec:
        assert self.protobuf is not None
        return self.protobuf

    def _forget_names(self) -> None:
        for name in list(self.routes)[self.fixed_routes :]:
            del self.routes[name]


def make_transport(
    handlers: dict[Purpose, Handler],
    request_handlers: dict[Purpose, RequestHandler],
    *,
    telemetry: str = TELEMETRY.topic,
    attributes: str = ATTRIBUTES.topic,
    attribute_filter: str | None = None,
    up: Codec = JSON,
    down: Codec = JSON,
    down_v1: Codec = JSON,
    protobuf: Codec,
    acknowledges_bad_payloads: bool = False,
) -> DeviceTransport:
    """Custom topics take the place of the v1 ones; attributes are tried first (reference 2.1, 5)."""

    def route(purpose: Purpose, codec: Codec) -> Route:
        return handlers[purpose], codec

    codecs = {Format.OF_PROFILE: up, Format.JSON: JSON, Format.PROTOBUF: protobuf}
    routes = {
        name: route(row.purpose, codecs[row.format])
        for name, row in fixed_topics().items()
        if row.purpose in handlers and row not in (TELEMETRY, ATTRIBUTES)
    }
    custom = (
        (attributes, route(Purpose.ATTRIBUTES, up)),
        (telemetry, route(Purpose.TELEMETRY, up)),
    )
    # A name is looked up before filters are matched: what a filter takes from a fixed topic is settled here.
    for name in (*routes, TELEMETRY.topic, ATTRIBUTES.topic):
        taken = next((found for wanted, found in custom if topics.matches(wanted, name)), None)
        if taken is not None:
            routes[name] = taken
    for wanted, found in reversed(custom):
        if not has_wildcard(wanted):
            routes[wanted] = found
    wildcards = tuple((wanted, found) for wanted, found in custom if has_wildcard(wanted))
    return DeviceTransport(
        routes=routes,
        fixed_routes=len(routes),
        request_handlers=request_handlers,
        wildcards=wildcards,
        attribute_filter=attribute_filter,
        up=up,
        down=down,
        down_v1=down_v1,
        protobuf=protobuf,
        acknowledges_bad_payloads=acknowledges_bad_payloads,
    )


def has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter
