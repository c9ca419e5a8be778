"""Firmware and software in pieces over MQTT (device API reference, 2.10).

A device asks for piece n of request id, and says in the payload how large a piece is; the answer is the
piece. The first request of an id chooses the package, which stays the same for that id while the connection
lives: what a device puts together is one image, whatever it is given meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from thingpass.devices.ota_blocks import BLOCK_BYTES
from thingpass.devices.ota_downloads import OtaPart, part_of
from thingpass.errors import NotFound
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_topics import (
    FIRMWARE_ERROR,
    SOFTWARE_ERROR,
    Purpose,
    Topic,
    TopicRequest,
)
from thingpass.servers.payload_codecs import Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.sparing_logs import SparingLog
from thingpass.store.rows import OTA_FIRMWARE, OTA_SOFTWARE, OtaPackage

if TYPE_CHECKING:
    from thingpass.servers.device_messages import DeviceConnection

log = structlog.get_logger(__name__)
sparing_log = SparingLog(log)

LARGEST_CHUNK: Final = 65_536
"""ThingsBoard's. The whole image, which is a chunk size of 0, may be larger."""

MOST_DOWNLOADS: Final = 8
"""Request ids of which package and chunk size are remembered; the one used last stays longest."""

# What is said on the error topics, in ThingsBoard's words.
NO_PACKAGE: Final = "NOT_FOUND"
NO_DATA: Final = "FAILURE"  # the package is a URL
TOO_LARGE: Final = "PAYLOAD_TOO_LARGE"

_KINDS: Final = {Purpose.FIRMWARE: OTA_FIRMWARE, Purpose.SOFTWARE: OTA_SOFTWARE}
_ERROR_TOPICS: Final[dict[Purpose, tuple[Topic, ...]]] = {
    Purpose.FIRMWARE: (FIRMWARE_ERROR,),
    # ThingsBoard sends both on the first, and lets devices subscribe to the second.
    Purpose.SOFTWARE: (SOFTWARE_ERROR, FIRMWARE_ERROR),
}


class Download(msgspec.Struct):
    """What is remembered of one request id."""

    package: OtaPackage | None = None
    chunk_size: int = 0


class Downloads:
    """Those of one connection; there is none on a connection that downloads nothing."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[tuple[Purpose, str], Download] = {}

    def find(self, purpose: Purpose, request_id: str) -> Download:
        key = (purpose, request_id)
        download = self._by_id.pop(key, None) or Download()
        self._by_id[key] = download  # now the newest
        if len(self._by_id) > MOST_DOWNLOADS:
            del self._by_id[next(iter(self._by_id))]
        return download


def receive_ota_request(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    """The payload is text in every format."""
    chunk_size = parse_chunk_size(message.payload)
    connection.run_in_order(_answer(connection, message.packet_id, request, chunk_size))


def parse_chunk_size(payload: bytes) -> int | None:
    """None: as it was said before. Raises PayloadInvalid."""
    text = payload.strip()
    if not text:
        return None
    if not text.isdigit() or len(text) > 10:
        raise PayloadInvalid(
            "The chunk size is not a decimal number of at most 10 digits.",
            mend="Send it as text, such as 4096, or nothing for the whole image.",
        )
    return int(text)


async def _answer(
    connection: DeviceConnection, packet_id: int, request: TopicRequest, chunk_size: int | None
) -> None:
    if chunk_size is not None and chunk_size > LARGEST_CHUNK:
        _refuse(connection, packet_id, request, TOO_LARGE)
        return
    if connection.downloads is None:
        connection.downloads = Downloads()
    download = connection.downloads.find(request.topic.purpose, request.id)
    if chunk_size is not None:
        download.chunk_size = chunk_size
    if download.package is None:
        kind = _KINDS[request.topic.purpose]
        package = await connection.messages.ota.find(connection.device.id, kind)
        if package is None or package.data is None:
            _refuse(connection, packet_id, request, NO_PACKAGE if package is None else NO_DATA)
            return
        download.package = package
    assert request.piece is not None, "both topics have a place for it"
    part = part_of(download.package, download.chunk_size, int(request.piece))
    connection.acknowledge(packet_id)
    try:
        sent = await _send(connection, request.answer_topic, part)
    except NotFound:
        download.package = None
        _say(connection, request, NO_PACKAGE)
        return
    if not sent:
        _say(connection, request, TOO_LARGE)


async def _send(connection: DeviceConnection, topic: str, part: OtaPart) -> bool:
    """False: it is larger than the device's Maximum Packet Size, or than any packet."""
    downloads = connection.messages.ota
    if part.size <= BLOCK_BYTES:
        return await connection.deliver(topic, await downloads.read(part))
    return await connection.deliver_in_pieces(topic, part.size, downloads.stream(part))


def _refuse(connection: DeviceConnection, packet_id: int, request: TopicRequest, problem: str) -> None:
    """Deviates from ThingsBoard, which closes the connection: a device may try again later."""
    connection.acknowledge(packet_id, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
    _say(connection, request, problem)


def _say(connection: DeviceConnection, request: TopicRequest, problem: str) -> None:
    sparing_log.info("ota.refused", device=connection.device.name, problem=problem)
    for row in _ERROR_TOPICS[request.topic.purpose]:
        connection.send_to_device(row.topic_to_send(), problem.encode())
