"""What a device may download: the package that it was given, by piece or as a whole, over MQTT and HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from thingpass.devices.ota_blocks import OtaBlocks
from thingpass.errors import Invalid, NotFound
from thingpass.metrics import Counters
from thingpass.store.rows import OtaPackage
from thingpass.store.store import OtaPackageStore


class OtaPart(msgspec.Struct, frozen=True):
    """`size` bytes of a package from `offset` on; 0 of them beyond its end."""

    package: OtaPackage
    offset: int
    size: int


def part_of(package: OtaPackage, chunk_size: int, number: int) -> OtaPart:
    """The piece of this number; a chunk size of 0 makes the whole image piece 0."""
    assert package.data is not None
    whole = package.data.size
    wanted = chunk_size or whole
    offset = wanted * number
    return OtaPart(package, offset, max(0, min(wanted, whole - offset)))


class OtaDownloads:
    def __init__(self, store: OtaPackageStore, blocks: OtaBlocks, counters: Counters) -> None:
        self._store = store
        self._blocks = blocks
        self._counters = counters

    async def find(self, device_id: str, kind: str) -> OtaPackage | None:
        """The package that the device is to run: its own, else its profile's; also one that is a URL."""
        return await self._store.find_ota_package_of_device(device_id, kind)

    async def find_part(
        self,
        device_id: str,
        kind: str,
        *,
        title: str,
        version: str,
        chunk_size: int = 0,
        number: int = 0,
    ) -> OtaPart:
        """For the HTTP device API (device API reference, 6).

        Answer `part.size` bytes of `stream(part)` with 200, also when that is 0 (beyond the end), the content
        type `part.package.data.content_type`, and its `file_name` in Content-Disposition and x-filename.
        Raises NotFound (404: no package, or one that is a URL) and Invalid (400: the device was given another
        title or version, or a number is negative).
        """
        if chunk_size < 0 or number < 0:
            raise Invalid("size and chunk must be 0 or more.")
        package = await self.find(device_id, kind)
        if package is None or package.data is None:
            raise NotFound("No package is assigned to this device, or it is one to fetch from its URL.")
        if (package.title, package.version) != (title, version):
            raise Invalid(
                f"The device is to run {package.title!r} {package.version!r}, not what was asked for.",
                mend="Read the shared attributes again.",
            )
        return part_of(package, chunk_size, number)

    async def read(self, part: OtaPart) -> bytes:
        """All of a part that is small. Raises NotFound when the package is gone."""
        self._counters.ota_bytes_read += part.size
        return await self._blocks.read(part.package, part.offset, part.size)

    async def stream(self, part: OtaPart) -> AsyncIterator[bytes]:
        """A part of any size, in pieces. Raises NotFound when the package is gone."""
        async for piece in self._blocks.stream(part.package, part.offset, part.size):
            self._counters.ota_bytes_read += len(piece)
            yield piece
