"""tb-mqtt-client, ThingsBoard's own device library, unmodified, with a certificate."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.device import Device

MakeDevice = Callable[..., Device]
PATIENCE_S = 10.0

# The library and the one it brings warn about themselves; those warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def device(device_with_certificate: MakeDevice) -> Device:
    return device_with_certificate()


@pytest.fixture
def client(device: Device) -> Iterator[Any]:
    from tb_device_mqtt import TBDeviceMqttClient

    client = TBDeviceMqttClient("127.0.0.1", port=device.port)
    client.connect(tls=True, ca_certs=str(device.ca_file), cert_file=str(device.combined_file))
    deadline = time.monotonic() + PATIENCE_S
    while not client.is_connected() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.is_connected()
    yield client
    client.disconnect()
    client.stop()


def test_telemetry_is_stored_when_the_library_says_success(client: Any, device: Device) -> None:
    from tb_device_mqtt import TBPublishInfo

    result = client.send_telemetry({"temperature": 41.9, "enabled": False, "version": "v1.2.2"})
    assert result.get() == TBPublishInfo.TB_ERR_SUCCESS
    assert device.latest() == {"temperature": 41.9, "enabled": False, "version": "v1.2.2"}


def test_telemetry_with_its_own_time_is_stored_at_that_time(client: Any, device: Device) -> None:
    from tb_device_mqtt import TBPublishInfo

    result = client.send_telemetry([{"ts": 1000 + n, "values": {"n": n}} for n in range(100)])
    assert result.get() == TBPublishInfo.TB_ERR_SUCCESS
    deadline = time.monotonic() + PATIENCE_S
    while len(device.history("n")) < 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert device.history("n") == [(1000 + n, n) for n in range(100)]


def test_attributes_come_back_when_asked_for(client: Any, device: Device) -> None:
    from tb_device_mqtt import TBPublishInfo

    assert client.send_attributes({"model": "T-1000"}).get() == TBPublishInfo.TB_ERR_SUCCESS
    answers: queue.Queue[Any] = queue.Queue()
    client.request_attributes(
        client_keys=["model"], callback=lambda answer, error: answers.put((answer, error))
    )
    answer, error = answers.get(timeout=PATIENCE_S)
    assert error is None
    assert answer == {"client": {"model": "T-1000"}}
