"""Checksums in ThingsBoard's form, against published values and against the library that its devices use."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_server import clean_environ
from tests.tools import TB_CLIENT
from thingpass.store.checksums import ALGORITHMS, checksum

LENGTHS = (*range(40), 255, 4096, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 19) + 13)


def of(data: bytes, algorithm: str, directory: Path) -> str:
    path = directory / "data"
    path.write_bytes(data)
    with path.open("rb") as file:
        return checksum(file, algorithm)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "900150983cd24fb0d6963f7d28e17f72"),
        ("SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("CRC32", "c2412435"),  # 0x352441c2, its bytes from the least on (REST reference, 8.2)
        ("MURMUR3_32", "fa93ddb3"),  # 0xb3dd93fa
    ],
)
def test_published_values_of_abc(algorithm: str, expected: str, tmp_path: Path) -> None:
    assert of(b"abc", algorithm, tmp_path) == expected


@pytest.mark.parametrize("algorithm", ["SHA384", "SHA512"])
def test_long_hashes_are_the_standard_librarys(algorithm: str, tmp_path: Path) -> None:
    assert of(b"abc", algorithm, tmp_path) == hashlib.new(algorithm.lower(), b"abc").hexdigest()


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_nothing_has_a_checksum_too(algorithm: str, tmp_path: Path) -> None:
    assert of(b"", algorithm, tmp_path)


@pytest.mark.needs(str(TB_CLIENT))
@pytest.mark.parametrize(
    ("algorithm", "function"), [("MURMUR3_32", "mmh3_32"), ("MURMUR3_128", "mmh3_x64_128")]
)
def test_murmur3_is_that_of_the_library_that_devices_use(
    algorithm: str, function: str, tmp_path: Path
) -> None:
    data = random.Random(7).randbytes(max(LENGTHS))
    program = (
        "import sys, mmh3; data = sys.stdin.buffer.read()\n"
        f"for n in sys.argv[1:]: print(mmh3.{function}(data[:int(n)]).digest().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, LENGTHS)],
        input=data,
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert [of(data[:length], algorithm, tmp_path) for length in LENGTHS] == done.stdout.decode().split()
