"""The bytes of packages, read in blocks that all downloads share.

A fleet that updates asks for the same bytes at the same time: a block is read once, whoever waits for it, and
stays in memory while there is room. Nothing ever holds a whole image.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from thingpass.errors import NotFound
from thingpass.store.rows import OtaPackage
from thingpass.store.store import OtaPackageStore

BLOCK_BYTES: Final = 196_608  # 192 KiB; a multiple of three, so that base64 can be made block by block


class OtaBlocks:
    """`cache_bytes` bounds what is kept; on top comes what is being read, by a few threads at most."""

    def __init__(self, store: OtaPackageStore, *, cache_bytes: int) -> None:
        self._store = store
        self._most = max(1, cache_bytes // BLOCK_BYTES)
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._reading: dict[tuple[str, int], asyncio.Task[bytes]] = {}

    async def read(self, package: OtaPackage, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, less at the end. Raises NotFound when the package is gone."""
        parts = [part async for part in self.stream(package, offset, size)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self, package: OtaPackage, offset: int, size: int) -> AsyncIterator[bytes]:
        """The same in pieces of at most `BLOCK_BYTES`."""
        assert package.data is not None
        end = min(offset + size, package.data.size)
        while offset < end:
            number, begin = divmod(offset, BLOCK_BYTES)
            block = await self._block(package, number)
            piece = block[begin : begin + end - offset]
            yield piece
            offset += len(piece)

    async def close(self) -> None:
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    async def _block(self, package: OtaPackage, number: int) -> bytes:
        key = (package.id, number)
        block = self._kept.get(key)
        if block is not None:
            self._kept.move_to_end(key)
            return block
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read(package, number), name="ota-block")
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        # One device that goes away does not end what others wait for.
        return await asyncio.shield(task)

    async def _read(self, package: OtaPackage, number: int) -> bytes:
        assert package.data is not None
        offset = number * BLOCK_BYTES
        size = min(BLOCK_BYTES, package.data.size - offset)
        block = await self._store.read_ota_data(package.id, offset, size)
        if len(block) != size:  # somebody cut the file short
            raise NotFound("The package's data is not whole.", mend="Add it again as a new version.")
        self._kept[(package.id, number)] = block
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return block
