"""A file as the body of a request: a form (RFC 7578), sent piece by piece, never whole in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

PIECE = 65_536


class FileForm:
    """Fields and one file as the part `file`. May be sent again: each iteration begins anew."""

    def __init__(self, path: Path, fields: Mapping[str, str], sent: Callable[[int], object]) -> None:
        """`sent` is told the number of bytes of each piece. Raises OSError."""
        self._path = path
        self._sent = sent
        boundary = f"thingpass-{secrets.token_hex(16)}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        name = path.name.replace("\\", "_").replace('"', "_")
        extended = "" if name.isascii() and name.isprintable() else f"; filename*=UTF-8''{quote(path.name)}"
        plain = f'; filename="{name}"' if not extended else ""
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"{plain}{extended}\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.length = len(self._head) + path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
                self._sent(len(piece))
        yield self._tail
