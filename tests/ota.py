"""Firmware for the devices of tests: made, uploaded and given by REST."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from tests.running_server import RunningServer

PATIENCE_S = 10.0


class Assignee(Protocol):
    """A device of the tests, whatever it proves itself with."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def server(self) -> RunningServer: ...


@dataclass(frozen=True)
class Package:
    id: str
    title: str
    version: str
    data: bytes
    checksum: str


def add_package(
    server: RunningServer,
    data: bytes,
    *,
    kind: str = "FIRMWARE",
    algorithm: str = "SHA256",
    url: str | None = None,
    **members: object,
) -> Package:
    body: dict[str, Any] = {
        "title": f"fw-{uuid.uuid4().hex[:8]}",
        "version": "1.2.0",
        "type": kind,
        **members,
    }
    if url is not None:
        body |= {"url": url, "usesUrl": True}
    answer = server.rest.post("/api/otaPackage", json=body)
    answer.raise_for_status()
    package = answer.json()
    if url is None:
        answer = server.rest.post(
            f"/api/otaPackage/{package['id']['id']}",
            files={"file": ("fw.bin", data, "application/octet-stream")},
            data={"checksumAlgorithm": algorithm},
        )
        assert answer.status_code == 200, answer.text
        package = answer.json()
        if algorithm == "SHA256":
            assert package["checksum"] == hashlib.sha256(data).hexdigest()
    return Package(package["id"]["id"], package["title"], package["version"], data, package["checksum"] or "")


def assign(device: Assignee, package: Package | None, *, kind: str = "FIRMWARE") -> None:
    """Gives the package to the device, and waits until the device would be told so."""
    body = {"type": kind, "deviceId": device.id, "packageId": None if package is None else package.id}
    answer = device.server.rest.post("/api/v2/ota/assignment", json=body)
    assert answer.status_code == 200, answer.text
    key = "fw_title" if kind == "FIRMWARE" else "sw_title"
    wait_for_attribute(device, key, None if package is None else package.title)


def wait_for_attribute(device: Assignee, key: str, value: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (seen := shared_attributes(device).get(key)) != value:
        if time.monotonic() > deadline:
            raise AssertionError(f"{key} of {device.name} is {seen!r}, not {value!r}")
        time.sleep(0.02)


def shared_attributes(device: Assignee) -> dict[str, object]:
    url = f"/api/plugins/telemetry/DEVICE/{device.id}/values/attributes/SHARED_SCOPE"
    answer = device.server.rest.get(url)
    answer.raise_for_status()
    return {row["key"]: row["value"] for row in answer.json()}
