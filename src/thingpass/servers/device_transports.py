"""The transports of device profiles: compiled when the first device of one connects, and when one changes.

Devices whose profile says nothing about topics and formats share `DEFAULT`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from thingpass.bus.bus import Bus
from thingpass.bus.messages import DeviceUpdated, ProfileChanged
from thingpass.devices.transport_configuration import MqttTransport, read_transport
from thingpass.errors import ThingpassError
from thingpass.servers.device_messages import HANDLERS, REQUEST_HANDLERS
from thingpass.servers.device_topics import ATTRIBUTES, TELEMETRY
from thingpass.servers.device_transport import DeviceTransport, make_transport
from thingpass.servers.payload_codecs import JSON
from thingpass.servers.protobuf_payloads import WITHOUT_SCHEMAS, either, with_schemas
from thingpass.store.rows import Device, DeviceProfile
from thingpass.store.store import DeviceStore

log = structlog.get_logger(__name__)

MOST_PROFILES: Final = 10_000
CONNECTIONS_PER_TURN: Final = 1_000

DEFAULT: Final = make_transport(HANDLERS, REQUEST_HANDLERS, protobuf=WITHOUT_SCHEMAS)


class LiveConnection(Protocol):
    """A connection, as far as a changed profile concerns it."""

    @property
    def device_or_none(self) -> Device | None:
        """None while it is not known whose connection it is."""

    def follow(self, device: Device, transport: DeviceTransport) -> None:
        """The device's row and its profile are these from now on."""


class DeviceTransports:
    """Use it on one event loop. `close` ends its subscriptions, and what it is telling connections."""

    def __init__(
        self, store: DeviceStore, bus: Bus, connections: Callable[[], Sequence[LiveConnection]]
    ) -> None:
        self._store = store
        self._connections = connections
        self._by_profile: OrderedDict[str, DeviceTransport] = OrderedDict()
        self._readings: dict[str, asyncio.Task[DeviceTransport]] = {}
        # What changed and was not told to the connections yet: a bulk of changes is one walk over them.
        self._changed_profiles: set[str] = set()
        self._moved_devices: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self._subscriptions = (
            bus.subscribe(ProfileChanged, self._profile_changed, on_missed=self._clear),
            bus.subscribe(DeviceUpdated, self._device_updated),
        )

    def find(self, profile_id: str) -> DeviceTransport | None:
        """What is known without asking the store."""
        return self._by_profile.get(profile_id)

    async def load(self, profile_id: str) -> DeviceTransport:
        """Reads the profile once, however many ask; `find` has it then. Raises Unavailable."""
        known = self._by_profile.get(profile_id)
        if known is not None:
            return known
        reading = self._readings.get(profile_id)
        if reading is None:
            reading = asyncio.get_running_loop().create_task(self._read(profile_id), name="profile")
            self._readings[profile_id] = reading
            reading.add_done_callback(functools.partial(self._was_read, profile_id))
        elif reading.done():  # it is not told yet, and awaiting it would let nobody else run
            self._was_read(profile_id, reading)
        return await asyncio.shield(reading)

    async def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        tasks = [*self._readings.values(), *([] if self._telling is None else [self._telling])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, profile_id: str) -> DeviceTransport:
        profile = await self._store.find_profile(profile_id)
        return DEFAULT if profile is None else await compile_transport(profile)

    def _was_read(self, profile_id: str, reading: asyncio.Task[DeviceTransport]) -> None:
        """What was read while the profile changed may be older than the change: it is not kept."""
        failed = reading.cancelled() or reading.exception() is not None
        if self._readings.get(profile_id) is not reading:
            return
        del self._readings[profile_id]
        if not failed:
            self._by_profile[profile_id] = reading.result()
            if len(self._by_profile) > MOST_PROFILES:
                self._by_profile.popitem(last=False)

    def _profile_changed(self, message: ProfileChanged) -> None:
        self._by_profile.pop(message.profile_id, None)
        self._readings.pop(message.profile_id, None)
        self._changed_profiles.add(message.profile_id)
        self._tell()

    def _device_updated(self, message: DeviceUpdated) -> None:
        if message.profile_changed:
            self._moved_devices.add(message.device_id)
            self._tell()

    def _clear(self) -> None:
        """Changes were missed: every profile is read again."""
        self._changed_profiles.update(self._by_profile)
        self._by_profile.clear()
        self._readings.clear()
        self._tell()

    def _tell(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell_all(), name="changed-profiles")

    async def _tell_all(self) -> None:
        """Device API reference, 4: a changed profile holds for devices that are connected."""
        try:
            while self._changed_profiles or self._moved_devices:
                profiles, self._changed_profiles = self._changed_profiles, set()
                devices, self._moved_devices = self._moved_devices, set()
                for index, connection in enumerate(list(self._connections())):
                    device = connection.device_or_none
                    if device is not None and (device.profile_id in profiles or device.id in devices):
                        await self._tell_one(connection, device, read_again=device.id in devices)
                    if index % CONNECTIONS_PER_TURN == CONNECTIONS_PER_TURN - 1:
                        await asyncio.sleep(0)
        except Exception:  # the edge of this task: what was not told holds from the next connection on
            log.exception("profile.not_followed")
        finally:
            self._telling = None

    async def _tell_one(self, connection: LiveConnection, device: Device, *, read_again: bool) -> None:
        try:
            found = await self._store.find_device(device.id) if read_again else device
            if found is not None:
                connection.follow(found, await self.load(found.profile_id))
        except ThingpassError as error:
            log.warning("profile.not_followed", device=device.name, problem=error.sentence)


async def compile_transport(profile: DeviceProfile) -> DeviceTransport:
    """What the profile says. One that cannot be read, although it was checked when saved, is as `DEFAULT`."""
    try:
        configuration = read_transport(profile)
        if configuration is None:
            return DEFAULT
        if configuration.payload is None:
            return _transport(configuration)
        # Reading the schemas takes milliseconds, and the first time loading the library does, too.
        return await asyncio.to_thread(_transport, configuration)
    except ThingpassError as error:
        log.error("profile.unreadable", profile=profile.name, problem=error.sentence)
        return DEFAULT


def _transport(configuration: MqttTransport) -> DeviceTransport:
    up = down = down_v1 = JSON
    protobuf = WITHOUT_SCHEMAS
    if configuration.payload is not None:
        up = down = down_v1 = protobuf = with_schemas(configuration.payload)
        if configuration.payload.also_json:
            up = either(protobuf, JSON)
            if configuration.payload.json_on_v1_down:
                down_v1 = JSON
    return make_transport(
        HANDLERS,
        REQUEST_HANDLERS,
        telemetry=configuration.telemetry_topic or TELEMETRY.topic,
        attributes=configuration.attributes_topic or ATTRIBUTES.topic,
        attribute_filter=configuration.attributes_subscribe_topic,
        up=up,
        down=down,
        down_v1=down_v1,
        protobuf=protobuf,
        acknowledges_bad_payloads=configuration.acknowledge_bad_payloads,
    )
