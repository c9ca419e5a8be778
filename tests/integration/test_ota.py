"""Firmware over MQTT, by hand: what every request gets, in which order, and what a flood of them costs."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.device import Device, make_device
from tests.integration.test_durability import on
from tests.ota import Package, add_package, assign, shared_attributes, wait_for_attribute
from tests.raw_mqtt import (
    PINGREQ,
    PINGRESP,
    RawClient,
    open_session,
    open_tls,
    packet,
    publish,
    subscribe,
    text,
)
from tests.running_server import RunningServer, clean_environ

IMAGE = random.Random(11).randbytes(700_000)  # several blocks of the store
NOT_THERE = 0x83

MakeDevice = Callable[..., Device]


def request(
    n: int, payload: bytes = b"", *, request_id: str = "1", kind: str = "fw", **options: int
) -> bytes:
    return publish(payload, topic=f"v2/{kind}/request/{request_id}/chunk/{n}", **options)


def read_message(client: RawClient, *, version: int = 5) -> tuple[str, bytes, int]:
    """Topic, payload and QoS of the next PUBLISH, acknowledged; other packets are passed over."""
    while True:
        received = client.read_packet()
        assert received, "the server closed"
        if received[0] & 0xF0 == 0x30:
            break
    start = 1
    while received[start] & 0x80:
        start += 1
    rest, qos = received[start + 1 :], received[0] >> 1 & 3
    size = struct.unpack("!H", rest[:2])[0]
    topic, rest = rest[2 : 2 + size].decode(), rest[2 + size :]
    if qos:
        client.send(packet(0x40, rest[:2]))
        rest = rest[2:]
    return topic, rest[1:] if version == 5 else rest, qos


def puback_code(received: bytes) -> int:
    assert received[0] == 0x40, received
    return received[4] if received[1] > 2 else 0


@pytest.fixture
def device(device_with_certificate: MakeDevice) -> Device:
    return device_with_certificate()


@pytest.fixture
def firmware(device: Device) -> Package:
    package = add_package(device.server, IMAGE)
    assign(device, package)
    return package


def test_assignment_is_told_by_attributes_and_telemetry(device: Device, firmware: Package) -> None:
    assert shared_attributes(device) == {
        "fw_title": firmware.title,
        "fw_version": "1.2.0",
        "fw_size": len(IMAGE),
        "fw_checksum": firmware.checksum,
        "fw_checksum_algorithm": "SHA256",
    }
    latest = device.latest()
    assert (latest["fw_state"], latest["target_fw_title"]) == ("INITIATED", firmware.title)


@pytest.mark.parametrize("version", [4, 5])
def test_pieces_make_the_image(device: Device, firmware: Package, version: int) -> None:
    with open_session(device, version) as client:
        client.send(request(0, b"65536", version=version))
        assert puback_code(client.read_packet()) == 0  # the acknowledgement comes before the piece
        image, n = b"", 0
        while True:
            topic, data, qos = read_message(client, version=version)
            assert (topic, qos) == (f"v2/fw/response/1/chunk/{n}", 1)
            image += data
            n += 1
            if not data:
                break
            client.send(request(n, version=version, packet_id=1 + n))  # the size is remembered
        assert image == IMAGE
        assert n == 12  # one beyond the end, which is empty


@pytest.mark.parametrize("version", [4, 5])
def test_whole_image_in_one_message(device: Device, firmware: Package, version: int) -> None:
    with open_session(device, version) as client:
        client.send(request(0, version=version))
        assert read_message(client, version=version) == ("v2/fw/response/1/chunk/0", IMAGE, 1)
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP
        client.send(request(1, b"0", version=version, packet_id=2))
        assert read_message(client, version=version) == ("v2/fw/response/1/chunk/1", b"", 1)


def test_requests_sent_at_once_are_answered_in_order(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        client.send(*(request(n, b"1000", qos=0) for n in range(300)))
        for n in range(300):
            assert read_message(client)[:2] == (
                f"v2/fw/response/1/chunk/{n}",
                IMAGE[n * 1000 : n * 1000 + 1000],
            )


def test_client_that_acknowledges_nothing_gets_all_it_asked_for(device: Device, firmware: Package) -> None:
    """Receive Maximum 2: what comes beyond it comes at QoS 0."""
    with open_tls(device) as client:
        body = text("MQTT") + bytes([5, 2]) + struct.pack("!H", 60) + b"\x03\x21" + struct.pack("!H", 2)
        client.send(packet(0x10, body + text("")))
        client.read_packet()
        client.send(*(request(n, b"1000", packet_id=1 + n) for n in range(50)))
        levels = []
        for n in range(50):
            while (received := client.read_packet())[0] & 0xF0 != 0x30:
                pass
            levels.append(received[0] >> 1 & 3)
            assert received.endswith(IMAGE[n * 1000 : n * 1000 + 1000])
        assert levels == [1, 1] + [0] * 48


def test_image_larger_than_the_client_takes_is_told_as_an_error(device: Device, firmware: Package) -> None:
    with open_tls(device) as client:
        body = text("MQTT") + bytes([5, 2]) + struct.pack("!H", 60) + b"\x05\x27" + struct.pack("!I", 4096)
        client.send(packet(0x10, body + text("")))
        client.read_packet()
        for n, size in enumerate((b"0", b"5000")):
            client.send(request(0, size, packet_id=1 + n))
            assert read_message(client)[:2] == ("v2/fw/error", b"PAYLOAD_TOO_LARGE")
        client.send(request(0, b"4000", packet_id=9))
        assert read_message(client)[:2] == ("v2/fw/response/1/chunk/0", IMAGE[:4000])


def test_quality_of_service_is_that_of_the_subscription(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        filter_ = struct.pack("!H", 7) + b"\x00" + text("v2/fw/response/+/chunk/+") + b"\x00"
        client.send(packet(0x82, filter_))
        assert client.read_packet()[-1] == 0
        client.send(request(0, b"10", qos=0))
        assert read_message(client) == ("v2/fw/response/1/chunk/0", IMAGE[:10], 0)


def test_package_stays_the_same_for_an_id(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        client.send(request(0, b"10", qos=0))
        assert read_message(client)[1] == IMAGE[:10]
        assign(device, add_package(device.server, b"the next one"))
        client.send(request(1, qos=0), request(0, b"10", request_id="2", qos=0))
        assert read_message(client)[1] == IMAGE[10:20]
        assert read_message(client)[:2] == ("v2/fw/response/2/chunk/0", b"the next o")


def test_many_ids_are_no_burden(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        for n in range(50):
            client.send(request(0, b"10", request_id=str(n), qos=0))
            assert read_message(client)[:2] == (f"v2/fw/response/{n}/chunk/0", IMAGE[:10])
        client.send(request(0, request_id="0", qos=0))  # forgotten: no size means the whole image
        assert read_message(client)[1] == IMAGE


@pytest.mark.parametrize(
    ("kind", "topics"), [("fw", ["v2/fw/error"]), ("sw", ["v2/sw/error", "v2/fw/error"])]
)
def test_device_without_a_package_is_told_so(device: Device, kind: str, topics: list[str]) -> None:
    with open_session(device) as client:
        client.send(request(0, kind=kind))
        assert puback_code(client.read_packet()) == NOT_THERE
        assert [read_message(client)[:2] for _ in topics] == [(topic, b"NOT_FOUND") for topic in topics]
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP


def test_package_at_a_url_is_not_served(device: Device) -> None:
    assign(device, add_package(device.server, b"", url="https://example.org/fw.bin"))
    with open_session(device) as client:
        client.send(request(0))
        assert puback_code(client.read_packet()) == NOT_THERE
        assert read_message(client)[:2] == ("v2/fw/error", b"FAILURE")


def test_package_that_goes_during_the_download_is_told(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        client.send(request(0, b"10", qos=0))
        assert read_message(client)[1] == IMAGE[:10]
        assign(device, None)
        device.server.rest.delete(f"/api/otaPackage/{firmware.id}").raise_for_status()
        client.send(request(60_000, qos=0))  # of a block that was not read yet
        assert read_message(client)[:2] == ("v2/fw/error", b"NOT_FOUND")


def test_software_is_served_beside_firmware(device: Device, firmware: Package) -> None:
    software = add_package(device.server, b"an application", kind="SOFTWARE")
    assign(device, software, kind="SOFTWARE")
    with open_session(device) as client:
        client.send(request(0, b"5", qos=0), request(1, b"5", kind="sw", qos=0))
        assert read_message(client)[:2] == ("v2/fw/response/1/chunk/0", IMAGE[:5])
        assert read_message(client)[:2] == ("v2/sw/response/1/chunk/1", b"plica")


def test_chunk_size_that_cannot_be(device: Device, firmware: Package) -> None:
    with open_session(device) as client:
        for n, payload in enumerate((b"-1", b"4k", b"1" * 11, "٣".encode(), b"\xff")):
            client.send(request(0, payload, packet_id=1 + n))
            assert puback_code(client.read_packet()) == 0x99
        client.send(request(0, b"65537", packet_id=9))
        assert puback_code(client.read_packet()) == NOT_THERE
        assert read_message(client)[:2] == ("v2/fw/error", b"PAYLOAD_TOO_LARGE")
        client.send(request(0, b" 5 ", packet_id=10))
        assert read_message(client)[1] == IMAGE[:5]
    with open_session(device, 4) as client:
        client.send(request(0, b"4k", version=4))
        assert client.is_closed_by_server()


@pytest.mark.parametrize(
    "topic", ["v2/fw/request/x/chunk/0", "v2/fw/request/1/chunk/-1", "v2/fw/request/1/chunk/"]
)
def test_number_that_is_none(device: Device, firmware: Package, topic: str) -> None:
    with open_session(device) as client:
        client.send(publish(b"", topic=topic))
        assert puback_code(client.read_packet()) == 0x99


def test_device_that_asks_and_does_not_read_costs_little(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start()
    device = make_device(server, tmp_path)
    assign(device, add_package(server, IMAGE))
    other = make_device(server, tmp_path)
    with open_session(device) as greedy, open_session(other) as polite:
        before = resident_bytes(server)
        greedy.sock.settimeout(0.5)
        try:
            for _ in range(200):
                greedy.send(*(request(0, b"0", qos=0) for _ in range(100)))
        except TimeoutError:
            pass  # the server reads no more
        polite.send(publish(b'{"a":1}'))
        assert puback_code(polite.read_packet()) == 0
        assert resident_bytes(server) - before < 40_000_000  # 20,000 images would be 14 GB


def resident_bytes(server: RunningServer) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_upload_that_was_answered_survives_a_kill(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start()
    device = make_device(server, tmp_path)
    package = add_package(server, IMAGE)
    body = {"type": "FIRMWARE", "deviceId": device.id, "packageId": package.id}
    server.rest.post("/api/v2/ota/assignment", json=body).raise_for_status()
    left = server.directory / "data" / "ota" / ".upload-left"
    left.write_bytes(b"half of an upload")
    server.kill()
    server = server.start_again()
    try:
        device = on(server, device)
        answer = server.rest.get(f"/api/otaPackage/{package.id}/download")
        assert answer.content == IMAGE
        assert not left.exists()
        # The assignment was answered too: the device is told, whether that had happened or not.
        deadline = time.monotonic() + 10
        while shared_attributes(device).get("fw_title") != package.title:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with open_session(device) as client:
            client.send(request(0, qos=0))
            assert read_message(client)[1] == IMAGE
    finally:
        server.stop()


def test_new_device_of_a_profile_is_told_of_its_package(server: RunningServer) -> None:
    package = add_package(server, b"abc")
    profile = {"name": package.title, "type": "DEFAULT", "transportType": "DEFAULT"}
    profile |= {
        "profileData": {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}},
        "firmwareId": {"entityType": "OTA_PACKAGE", "id": package.id},
    }
    answer = server.rest.post("/api/deviceProfile", json=profile)
    assert answer.status_code == 200, answer.text
    made = server.rest.post("/api/device", json={"name": package.title, "type": package.title}).json()
    url = f"/api/plugins/telemetry/DEVICE/{made['id']['id']}/values/attributes/SHARED_SCOPE"
    deadline = time.monotonic() + 10
    while not (found := json.loads(server.rest.get(url).text)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert {row["key"]: row["value"] for row in found}["fw_title"] == package.title


def test_upload_cut_in_the_middle_leaves_nothing(server: RunningServer) -> None:
    body = {"title": "cut", "version": "1", "type": "FIRMWARE"}
    package_id = server.rest.post("/api/otaPackage", json=body).json()["id"]["id"]

    def cut() -> object:
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        yield bytes(500_000)
        raise ConnectionAbortedError

    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    with pytest.raises((ConnectionAbortedError, httpx.HTTPError)):
        server.rest.post(f"/api/otaPackage/{package_id}", content=cut(), headers=headers)
    deadline = time.monotonic() + 10
    while list((server.directory / "data" / "ota").glob(".upload-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not server.rest.get(f"/api/otaPackage/info/{package_id}").json()["hasData"]


def test_commands_bring_an_update_to_its_device(device: Device, tmp_path: Path) -> None:
    server, title = device.server, f"fw-{device.name}"
    file = tmp_path / "fw.bin"
    file.write_bytes(IMAGE)

    def thingpass(*words: str) -> str:
        environ = {"THINGPASS_URL": server.url, "THINGPASS_DATA_DIR": str(server.directory / "data")}
        done = subprocess.run(
            [sys.executable, "-m", "thingpass", "ota", *words],
            env=clean_environ(environ | {"HOME": str(tmp_path)}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "is added" in thingpass("add", str(file), "--title", title, "--version", "1")
    assert title in thingpass("list", "--search", title)
    thingpass("assign", title, "1", "--device", device.name)
    wait_for_attribute(device, "fw_title", title)
    with open_session(device) as client:
        client.send(request(0, qos=0))
        assert read_message(client)[1] == IMAGE
        client.send(publish(b'{"current_fw_title":"t","current_fw_version":"1","fw_state":"UPDATED"}'))
        assert puback_code(client.read_packet()) == 0
    status = thingpass("status", "--search", device.name)
    assert "UPDATED" in status
    assert "t 1" in status
    thingpass("unassign", "--device", device.name)
    thingpass("remove", title, "1", "--yes")
    assert thingpass("list", "--search", title).startswith("No package")


def test_connected_device_hears_of_its_package_at_once(device: Device) -> None:
    first = add_package(device.server, b"abc", tag="a tag")
    second = add_package(device.server, b"", url="https://example.org/fw.bin")
    with open_session(device) as client:
        client.send(subscribe("v1/devices/me/attributes"))
        assert client.read_packet()[0] == 0x90
        assign(device, first)
        topic, payload, _ = read_message(client)
        assert topic == "v1/devices/me/attributes"
        assert json.loads(payload) == {
            "fw_title": first.title,
            "fw_version": "1.2.0",
            "fw_tag": "a tag",
            "fw_size": 3,
            "fw_checksum": first.checksum,
            "fw_checksum_algorithm": "SHA256",
        }
        assign(device, second)
        gone = json.loads(read_message(client)[1])["deleted"]
        assert sorted(gone) == ["fw_checksum", "fw_checksum_algorithm", "fw_size", "fw_tag"]
        assert json.loads(read_message(client)[1]) == {
            "fw_title": second.title,
            "fw_version": "1.2.0",
            "fw_url": "https://example.org/fw.bin",
        }


def test_device_that_goes_away_in_the_middle_is_nobodys_failure(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start()
    device = make_device(server, tmp_path)
    assign(device, add_package(server, IMAGE * 20))
    for reset in (False, True):
        client = open_session(device)
        client.send(request(0, qos=0))
        client.sock.recv(10_000)
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        deadline = time.monotonic() + 10
        while server.rest.get("/api/v2/connections").json()["data"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with open_session(device) as client:  # and a later connection of it is served
        client.send(request(0, b"10", qos=0))
        assert read_message(client)[1] == IMAGE[:10]
    server.stop()
    assert "failed" not in server.log()
    assert "Traceback" not in server.log()
