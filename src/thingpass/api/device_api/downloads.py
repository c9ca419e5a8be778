"""What the paths for firmware and software need of updates over the air."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class PackageData(Protocol):
    @property
    def file_name(self) -> str: ...
    @property
    def content_type(self) -> str: ...


class Package(Protocol):
    @property
    def data(self) -> PackageData | None: ...


class Part(Protocol):
    """`size` bytes of a package; 0 of them beyond its end."""

    @property
    def package(self) -> Package: ...
    @property
    def size(self) -> int: ...


class Downloads(Protocol):
    async def find_part(
        self, device_id: str, kind: str, *, title: str, version: str, chunk_size: int, number: int
    ) -> Part:
        """Raises NotFound without a package of that kind, Invalid when the device was given another one."""

    def stream(self, part: Part) -> AsyncIterator[bytes]:
        """The part's bytes, a piece at a time."""
