"""The machine that a run's numbers belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from benchmarks.tls_client import openssl_version


class Machine(msgspec.Struct, frozen=True):
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    load_openssl: str
    data_filesystem: str
    """Where the servers store: what `fsync` costs, and whether it means anything (tmpfs: nothing)."""
    load_average: float
    """Of the last minute, before the run: what else the machine was doing."""


def describe_machine(data_directory: Path) -> Machine:
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load_openssl=openssl_version(),
        data_filesystem=_filesystem(data_directory),
        load_average=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    text = named.get("model name", platform.machine())
    # Virtual machines hide the name but not the numbers.
    numbers = [named.get(key, "?") for key in ("cpu family", "model", "stepping")]
    return f"{text} (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]})"


def _filesystem(directory: Path) -> str:
    """The type of the file system that holds `directory`: the longest mount point above it."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, kind, *_ = line.split()
        if directory.resolve().is_relative_to(mount_point) and len(mount_point) >= len(best[0]):
            best = (mount_point, kind)
    return best[1]
