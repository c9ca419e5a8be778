"""Checksums of firmware and software, written as ThingsBoard writes them (device API reference, 2.10).

That is Guava's form: bytes in lower-case hexadecimal, those of CRC32 and Murmur3 in little-endian order.

`python -m thingpass.store.checksums ALGORITHM < FILE` prints one: Murmur3 is not in the standard library, and
tens of megabytes of it are seconds of Python, which belong into a process of their own.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

_READ: Final = 1 << 18  # a multiple of Murmur3's blocks, so that only the last read has a rest
_MASK_32: Final = 0xFFFF_FFFF
_MASK_64: Final = 0xFFFF_FFFF_FFFF_FFFF


def _hashlib(name: str) -> Callable[[BufferedReader], bytes]:
    return lambda file: hashlib.file_digest(file, name).digest()


def crc32(file: BufferedReader) -> bytes:
    value = 0
    for data in _blocks(file):
        value = zlib.crc32(data, value)
    return value.to_bytes(4, "little")


def murmur3_32(file: BufferedReader) -> bytes:
    """MurmurHash3_x86_32 with seed 0."""
    state = size = 0
    rest = b""
    for data in _blocks(file):
        size += len(data)
        whole = len(data) & ~3
        for k in struct.unpack(f"<{whole >> 2}I", data[:whole]):
            k = k * 0xCC9E2D51 & _MASK_32
            k = (k << 15 | k >> 17) * 0x1B873593 & _MASK_32
            state ^= k
            state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & _MASK_32
        rest = data[whole:]
    if rest:
        k = int.from_bytes(rest, "little") * 0xCC9E2D51 & _MASK_32
        state ^= (k << 15 | k >> 17) * 0x1B873593 & _MASK_32
    state ^= size & _MASK_32
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK_32
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK_32
    return (state ^ state >> 16).to_bytes(4, "little")


def murmur3_128(file: BufferedReader) -> bytes:
    """MurmurHash3_x64_128 with seed 0."""
    one = two = size = 0
    rest = b""
    for data in _blocks(file):
        size += len(data)
        whole = len(data) & ~15
        for k1, k2 in struct.iter_unpack("<QQ", data[:whole]):
            one ^= _mix_1(k1)
            one = (one << 27 | one >> 37) & _MASK_64
            one = ((one + two) * 5 + 0x52DCE729) & _MASK_64
            two ^= _mix_2(k2)
            two = (two << 31 | two >> 33) & _MASK_64
            two = ((two + one) * 5 + 0x38495AB5) & _MASK_64
        rest = data[whole:]
    if rest:
        one ^= _mix_1(int.from_bytes(rest[:8], "little"))
        two ^= _mix_2(int.from_bytes(rest[8:], "little"))
    one, two = one ^ size, two ^ size
    one = (one + two) & _MASK_64
    two = (two + one) & _MASK_64
    one, two = _finish_64(one), _finish_64(two)
    one = (one + two) & _MASK_64
    two = (two + one) & _MASK_64
    return struct.pack("<QQ", one, two)


def _mix_1(k: int) -> int:
    k = k * 0x87C37B91114253D5 & _MASK_64
    return (k << 31 | k >> 33) * 0x4CF5AD432745937F & _MASK_64


def _mix_2(k: int) -> int:
    k = k * 0x4CF5AD432745937F & _MASK_64
    return (k << 33 | k >> 31) * 0x87C37B91114253D5 & _MASK_64


def _finish_64(h: int) -> int:
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & _MASK_64
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & _MASK_64
    return h ^ h >> 33


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    """Whole blocks, but for the last: a pipe may give less than was asked for."""
    while data := file.read(_READ):
        while len(data) < _READ and (more := file.read(_READ - len(data))):
            data += more
        yield data


ALGORITHMS: Final[dict[str, Callable[[BufferedReader], bytes]]] = {
    "MD5": _hashlib("md5"),
    "SHA256": _hashlib("sha256"),
    "SHA384": _hashlib("sha384"),
    "SHA512": _hashlib("sha512"),
    "CRC32": crc32,
    "MURMUR3_32": murmur3_32,
    "MURMUR3_128": murmur3_128,
}
SLOW: Final = frozenset({"MURMUR3_32", "MURMUR3_128"})
"""Those that hold the interpreter all the time that they take."""


def checksum(file: BufferedReader, algorithm: str) -> str:
    """Of what can be read from here to the end. Raises KeyError for an unknown algorithm."""
    return ALGORITHMS[algorithm](file).hex()


if __name__ == "__main__":
    with Path("/dev/stdin").open("rb") as given:
        sys.stdout.write(checksum(given, sys.argv[1]))
