"""Attributes and telemetry by which device and server speak of a package (device API reference, 2.10)."""

from __future__ import annotations

from typing import Final

from thingpass.store.rows import (
    OTA_FIRMWARE,
    OTA_KINDS,
    OTA_SOFTWARE,
    OtaAnnouncement,
    OtaPackage,
    OtaTarget,
    Sample,
    Value,
)

PREFIXES: Final = {OTA_FIRMWARE: "fw", OTA_SOFTWARE: "sw"}
_ATTRIBUTES: Final = ("title", "version", "tag", "url", "size", "checksum", "checksum_algorithm")

ATTRIBUTE_KEYS: Final = {
    kind: tuple(f"{PREFIXES[kind]}_{name}" for name in _ATTRIBUTES) for kind in OTA_KINDS
}
ALL_ATTRIBUTE_KEYS: Final = tuple(key for kind in OTA_KINDS for key in ATTRIBUTE_KEYS[kind])

STATE_QUEUED: Final = "QUEUED"  # it is noted that the device is to be told
STATE_INITIATED: Final = "INITIATED"  # it is told: the attributes are there


def state_key(kind: str) -> str:
    """Telemetry: how far the device is. The server writes the first two states, the device all others."""
    return f"{PREFIXES[kind]}_state"


def error_key(kind: str) -> str:
    return f"{PREFIXES[kind]}_error"


def current_keys(kind: str) -> tuple[str, str]:
    """Telemetry: title and version that the device says it runs."""
    return f"current_{PREFIXES[kind]}_title", f"current_{PREFIXES[kind]}_version"


def shared_attributes(package: OtaPackage) -> dict[str, Value]:
    """What a device must know to fetch and check the package."""
    values: dict[str, Value] = {"title": package.title, "version": package.version}
    if package.tag:
        values["tag"] = package.tag
    if package.data is None:
        values["url"] = package.url or ""
    else:
        values["size"] = package.data.size
        values["checksum"] = package.data.checksum
        values["checksum_algorithm"] = package.data.algorithm
    prefix = PREFIXES[package.kind]
    return {f"{prefix}_{name}": value for name, value in values.items()}


def announcement(target: OtaTarget) -> OtaAnnouncement | None:
    """What has to change so that the device is told of its package; None: it is told already.

    All keys of a package are sent together, also those that stay: the published updater forgets what it knew
    with every message (device API reference, 7.5).
    """
    told = {key: value for key, value in target.told.items() if key in ATTRIBUTE_KEYS[target.kind]}
    wanted = {} if target.package is None else shared_attributes(target.package)
    if told == wanted:
        return None
    removed = tuple(key for key in told if key not in wanted)
    return OtaAnnouncement(target=target, removed=removed, values=wanted)


def target_samples(target: OtaTarget, now_ms: int) -> list[Sample]:
    """The telemetry that says what the device is to run, and that it was told so."""
    package = target.package
    if package is None:
        return []
    prefix = f"target_{PREFIXES[target.kind]}"
    values: dict[str, Value] = {
        f"{prefix}_title": package.title,
        f"{prefix}_version": package.version,
        f"{prefix}_ts": target.since_ms,
        state_key(target.kind): STATE_QUEUED,
    }
    if package.tag:
        values[f"{prefix}_tag"] = package.tag
    initiated: dict[str, Value] = {state_key(target.kind): STATE_INITIATED}
    # Never before it was queued, whatever the clock did in between.
    return [Sample(target.since_ms, values), Sample(max(now_ms, target.since_ms + 1), initiated)]
