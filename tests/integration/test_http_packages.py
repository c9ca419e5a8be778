"""Firmware and software over HTTP: by piece and whole, and what a device is not given."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.device import Device
from tests.integration.test_device_api import HttpDevice
from tests.integration.test_https import https, port_of
from tests.ota import Package, add_package, assign
from tests.raw_mqtt import PATIENCE_S
from tests.running_server import RunningServer

IMAGE = random.Random(5).randbytes(700_001)  # several blocks of the store


@pytest.fixture
def device(server: RunningServer) -> Iterator[HttpDevice]:
    made = HttpDevice(server)
    yield made
    made.client.close()


@pytest.fixture
def firmware(device: HttpDevice) -> Package:
    package = add_package(device.server, IMAGE)
    assign(device, package)
    return package


def fetch(
    device: HttpDevice, package: Package, path: str = "firmware", **parameters: object
) -> httpx.Response:
    return device.get(path, title=package.title, version=package.version, **parameters)


def test_the_whole_image_comes_with_its_name(device: HttpDevice, firmware: Package) -> None:
    answer = fetch(device, firmware)
    assert (answer.status_code, answer.content) == (200, IMAGE)
    assert answer.headers["Content-Length"] == str(len(IMAGE))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment;filename=fw.bin"
    assert answer.headers["x-filename"] == "fw.bin"
    assert fetch(device, firmware, size=0, chunk=0).content == IMAGE


@pytest.mark.parametrize("size", [65_536, 250_000, 700_001, 10**9])
def test_pieces_make_the_image_and_one_more_is_empty(
    device: HttpDevice, firmware: Package, size: int
) -> None:
    count = -(-len(IMAGE) // size)
    answers = [fetch(device, firmware, size=size, chunk=number) for number in range(count + 1)]
    assert {answer.status_code for answer in answers} == {200}
    assert b"".join(answer.content for answer in answers) == IMAGE
    assert answers[-1].content == b""


def test_beyond_the_end_is_empty_however_far(device: HttpDevice, firmware: Package) -> None:
    answer = fetch(device, firmware, size=9_999_999_999, chunk=9_999_999_999)
    assert (answer.status_code, answer.content) == (200, b"")


def test_software_is_another_path(device: HttpDevice, firmware: Package) -> None:
    assert fetch(device, firmware, "software").status_code == 404
    software = add_package(device.server, b"an application", kind="SOFTWARE")
    assign(device, software, kind="SOFTWARE")
    assert fetch(device, software, "software", size=5, chunk=1).content == b"plica"
    assert fetch(device, software, "firmware").status_code == 400


def test_a_device_gets_its_own_package_and_no_other(device: HttpDevice, firmware: Package) -> None:
    other = HttpDevice(device.server)
    with other.client:
        answer = fetch(other, firmware)
        assert (answer.status_code, answer.json()["errorCode"]) == (404, 32)
        assign(other, add_package(device.server, b"another one"))
        answer = fetch(other, firmware)
        assert (answer.status_code, answer.json()["errorCode"]) == (400, 31)


def test_a_package_at_a_url_is_not_served(device: HttpDevice) -> None:
    package = add_package(device.server, b"", url="https://example.org/fw.bin")
    assign(device, package)
    assert fetch(device, package).status_code == 404


def test_a_certificate_is_as_good_as_a_token(device_with_certificate: Callable[..., Device]) -> None:
    device = device_with_certificate()
    package = add_package(device.server, IMAGE)
    assign(device, package)
    with https(device) as client:
        query = {"title": package.title, "version": package.version}
        assert client.get("/api/v1/me/firmware", params=query).content == IMAGE
        answer = client.get("/api/v1/me/firmware", params={**query, "size": 65_536, "chunk": 10})
        assert answer.content == IMAGE[655_360:]


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        ({}, "'title'"),
        ({"title": "pump"}, "'version'"),
        ({"title": "pump", "version": ""}, "'version'"),
        ({"title": "pump", "version": "2", "size": "x"}, "'size'"),
        ({"title": "pump", "version": "2", "chunk": "-1"}, "'chunk'"),
        ({"title": "pump", "version": "2", "chunk": "99999999999"}, "'chunk'"),
        ({"title": "pump", "version": "2"}, "not what was asked for"),
    ],
)
def test_what_cannot_be_is_400(
    device: HttpDevice, firmware: Package, parameters: dict[str, str], seen: str
) -> None:
    answer = device.get("firmware", **parameters)
    assert answer.status_code == 400
    assert seen in answer.json()["message"]


def test_a_stranger_gets_nothing(device: HttpDevice, firmware: Package) -> None:
    for token, status in (("no-such-token", 401), ("me", 401)):
        assert device.client.get(f"/api/v1/{token}/firmware").status_code == status
    assert device.post("firmware").status_code == 405


def test_a_name_that_no_header_can_hold_is_written_as_in_a_url(device: HttpDevice) -> None:
    body = {"title": device.name, "version": "1", "type": "FIRMWARE"}
    package_id = device.server.rest.post("/api/otaPackage", json=body).json()["id"]["id"]
    answer = device.server.rest.post(
        f"/api/otaPackage/{package_id}",
        files={"file": ("泵 2.bin", b"abc", "text/x-firmware")},
        data={"checksumAlgorithm": "SHA256"},
    )
    answer.raise_for_status()
    package = Package(package_id, device.name, "1", b"abc", "")
    assign(device, package)
    answer = fetch(device, package)
    assert answer.headers["x-filename"] == "%E6%B3%B5 2.bin"
    assert answer.headers["Content-Type"] == "text/x-firmware"


@pytest.fixture
def lone_device(start: Callable[..., RunningServer]) -> Iterator[HttpDevice]:
    """On a server whose log nobody else writes to."""
    made = HttpDevice(start())
    yield made
    made.client.close()


def begin_download(device: HttpDevice, package: Package) -> socket.socket:
    """A client that has read the beginning of its answer, and reads no more for now."""
    sock = socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S)
    query = f"title={package.title}&version={package.version}"
    sock.sendall(f"GET /api/v1/{device.token}/firmware?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert sock.recv(17).startswith(b"HTTP/1.1 200 OK")
    return sock


def test_a_package_that_goes_during_the_download_cuts_it(lone_device: HttpDevice) -> None:
    """What was announced did not come: no client takes it for the image."""
    package = add_package(lone_device.server, IMAGE * 60)
    assign(lone_device, package)
    with begin_download(lone_device, package) as sock:
        assign(lone_device, None)
        lone_device.server.rest.delete(f"/api/otaPackage/{package.id}").raise_for_status()
        size = 0
        while part := sock.recv(1_000_000):
            size += len(part)
    assert 0 < size < len(package.data)
    assert lone_device.post("telemetry", b'{"a": 1}').status_code == 200
    assert "Traceback" not in lone_device.server.log()


def test_a_client_that_goes_is_nobodys_failure(lone_device: HttpDevice) -> None:
    package = add_package(lone_device.server, IMAGE * 60)
    assign(lone_device, package)
    begin_download(lone_device, package).close()
    assert fetch(lone_device, package, size=10).content == IMAGE[:10]
    assert "Traceback" not in lone_device.server.log()
