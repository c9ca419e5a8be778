"""mosquitto_pub, mosquitto_sub and mosquitto_rr: what people try first at a terminal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.device import Device

MakeDevice = Callable[..., Device]
TELEMETRY = "v1/devices/me/telemetry"


def run(
    program: str, device: Device, *arguments: str, version: str = "mqttv311"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(program, "-h", "127.0.0.1", "-p", str(device.port), "-V", version),
            *("--cafile", str(device.ca_file)),
            *("--cert", str(device.combined_file), "--key", str(device.combined_file)),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.needs("mosquitto_pub")
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquitto_pub_stores_telemetry(device_with_certificate: MakeDevice, version: str, qos: str) -> None:
    device = device_with_certificate()
    done = run("mosquitto_pub", device, "-q", qos, "-t", TELEMETRY, "-m", '{"n": 1}', version=version)
    assert done.returncode == 0, done.stderr
    device.wait_for("n", 1)


@pytest.mark.needs("mosquitto_pub")
@pytest.mark.parametrize("tls", ["tlsv1.2", "tlsv1.3"])
def test_mosquitto_pub_speaks_both_tls_versions(device_with_certificate: MakeDevice, tls: str) -> None:
    device = device_with_certificate()
    done = run("mosquitto_pub", device, "--tls-version", tls, "-q", "1", "-t", TELEMETRY, "-m", '{"n": 2}')
    assert done.returncode == 0, done.stderr
    assert device.latest() == {"n": 2}


@pytest.mark.needs("mosquitto_pub")
def test_mosquitto_pub_sends_many_lines_over_one_connection(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    lines = "".join(json.dumps({"ts": 1000 + n, "values": {"n": n}}) + "\n" for n in range(500))
    done = subprocess.run(
        [
            *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(device.port), "--cafile", str(device.ca_file)),
            *("--cert", str(device.combined_file), "--key", str(device.combined_file)),
            *("-q", "1", "-t", TELEMETRY, "-l"),
        ],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert device.history("n") == [(1000 + n, n) for n in range(500)]


@pytest.mark.needs("mosquitto_pub")
def test_mosquitto_pub_is_told_not_authorised(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate(registered=False)
    done = run("mosquitto_pub", device, "-q", "1", "-t", TELEMETRY, "-m", "{}")
    assert done.returncode != 0
    assert "not authorised" in done.stderr.lower()


@pytest.mark.needs("mosquitto_sub")
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquitto_sub_is_granted_its_topics(device_with_certificate: MakeDevice, version: str) -> None:
    device = device_with_certificate()
    done = run(
        "mosquitto_sub",
        device,
        *("-d", "-E", "-q", "1", "-t", "v1/devices/me/attributes", "-t", "v1/devices/me/rpc/request/+"),
        version=version,
    )
    assert done.returncode == 0, done.stderr
    assert "Subscribed (mid: 1): 1, 1" in done.stdout


@pytest.mark.needs("mosquitto_rr")
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_rr_calls_the_server(device_with_certificate: MakeDevice, version: str) -> None:
    device = device_with_certificate()
    done = run(
        "mosquitto_rr",
        device,
        *("-W", "10", "-q", "1", "-m", '{"method": "getDeviceInfo"}'),
        *("-t", "v1/devices/me/rpc/request/1", "-e", "v1/devices/me/rpc/response/1"),
        version=version,
    )
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert (info["id"], info["name"], info["profile"]) == (device.id, device.name, "default")


@pytest.mark.needs("mosquitto_sub")
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquitto_sub_hears_calls_and_attributes(device_with_certificate: MakeDevice, version: str) -> None:
    device = device_with_certificate()
    rest = device.server.rest
    body = {"method": "reboot", "params": {"in": 5}, "persistent": True, "timeout": 60_000}
    rest.post(f"/api/rpc/oneway/{device.id}", json=body).raise_for_status()
    done = run(
        "mosquitto_sub",
        device,
        *("-C", "1", "-W", "10", "-q", "1", "-t", "v1/devices/me/rpc/request/+"),
        version=version,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"method": "reboot", "params": {"in": 5}}


@pytest.mark.needs("mosquitto_rr", "mosquitto_pub")
def test_mosquitto_rr_gets_its_attributes(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    run("mosquitto_pub", device, "-q", "1", "-t", "v1/devices/me/attributes", "-m", '{"model": "T-1000"}')
    done = run(
        "mosquitto_rr",
        device,
        *("-W", "10", "-q", "1", "-m", '{"clientKeys": "model"}'),
        *("-t", "v1/devices/me/attributes/request/1", "-e", "v1/devices/me/attributes/response/1"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"client": {"model": "T-1000"}}
