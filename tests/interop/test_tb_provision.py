"""ThingsBoard's own provisioning helpers, unmodified: MQTT 3.1.1 with TLS 1.2 on port 8883, and HTTP."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import make_certificate
from tests.integration.test_provisioning import CREATING, FETCHING, add_profiles, device_named
from tests.running_server import RunningServer, clean_environ
from tests.tools import TB_CLIENT
from thingpass.store.rows import PROVISION_CHECK

PROGRAM = Path(__file__).with_name("tb_provision.py")
HTTP_PROGRAM = Path(__file__).with_name("tb_http_provision.py")
PORT = 8883
"""The helper speaks TLS on this port alone; the loopback network has addresses enough to have it free."""


@pytest.mark.needs(str(TB_CLIENT))
def test_every_kind_of_credentials(start: Callable[..., RunningServer]) -> None:
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
    server = add_profiles(start("--bind", host, "--mqtts-port", str(PORT)))
    made = server.rest.post(
        "/api/device?accessToken=stored", json={"name": "registered", "type": PROVISION_CHECK}
    )
    made.raise_for_status()
    certificate = make_certificate("by certificate")[0].decode()
    creating = {"provision_device_key": CREATING[0], "provision_device_secret": CREATING[1]}
    fetching = {"provision_device_key": FETCHING[0], "provision_device_secret": FETCHING[1]}
    requests = [
        {**creating, "device_name": "by token", "access_token": "my token"},
        {**creating, "device_name": "by nothing", "gateway": True},
        {**creating, "device_name": "by basic", "username": "u", "password": "p"},
        {**creating, "device_name": "by certificate", "hash": certificate},
        {**fetching, "device_name": "registered"},
        {**fetching, "device_name": "registered"},
        {**fetching, "provision_device_secret": "wrong"},
        {
            "provisionDeviceKey": CREATING[0],
            "provisionDeviceSecret": CREATING[1],
            "deviceName": "in its own form",
            "token": "another token",
        },
    ]
    done = subprocess.run(
        [sys.executable, PROGRAM, host, str(PORT), json.dumps(requests)],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    token, nothing, basic, x509, registered, again, unknown, own = json.loads(done.stdout.splitlines()[-1])
    success = {"status": "SUCCESS"}
    assert token == {"credentialsValue": "my token", "credentialsType": "ACCESS_TOKEN", **success}
    assert len(nothing["credentialsValue"]) == 20
    assert device_named(server, "by nothing")["additionalInfo"] == {"gateway": True}
    value = {"clientId": None, "userName": "u", "password": "p"}
    assert basic == {"credentialsValue": value, "credentialsType": "MQTT_BASIC", **success}
    assert x509["credentialsType"] == "X509_CERTIFICATE"
    assert x509["credentialsValue"] in certificate.replace("\n", "")
    assert registered == {"credentialsValue": "stored", "credentialsType": "ACCESS_TOKEN", **success}
    assert (again, unknown) == (None, None)
    assert own == {"credentialsValue": "another token", "credentialsType": "ACCESS_TOKEN", **success}


@pytest.mark.needs(str(TB_CLIENT))
def test_an_identity_over_http(start: Callable[..., RunningServer]) -> None:
    server = add_profiles(start())
    done = subprocess.run(
        [sys.executable, HTTP_PROGRAM, server.url, "by HTTP", *CREATING],
        env=clean_environ({"PYTHONPATH": str(TB_CLIENT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "true\n", done.stderr
    assert device_named(server, "by HTTP")
