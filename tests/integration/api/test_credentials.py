"""Credentials: what people paste and what is stored of it (rest-api reference 3.4, 3.5)."""

from __future__ import annotations

import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import Api
from thingpass.bus.messages import CredentialsChanged

# The device API reference, 1.3: certificate and id of its worked example.
WORKED_EXAMPLE = """-----BEGIN CERTIFICATE-----
MIIBKDCBzqADAgECAgIQAjAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFFeGFtcGxl
IERldmljZSBDQTAeFw0yNjExMjMwMDAwMDBaFw0yNzExMjMwMDAwMDBaMB4xHDAa
BgNVBAMME3NlbnNvci0wMDAxQHBsYW50LWEwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAASI2hklOkTx2jq7XBsZ90rnxZ0/2kjqxew/TWRDeGZIGVeCxXIlJsi6GDnJ
hF4rmL6wrrN4HJ1UKiErniYYDkEaMAoGCCqGSM49BAMCA0kAMEYCIQDUeU527dIS
s3m+9D6NMhYiC/F9FpwyKKjYXUL72MwYygIhAPu2amI6J/j0KESxM9hAxSnc0oyL
1WVZEA3oo01+o3Ba
-----END CERTIFICATE-----
"""
WORKED_ID = "40be79b703ed95ab5af0008bcc640015f69407e8c2b802d01d76d9bb941aec0c"
BASE64 = "".join(WORKED_EXAMPLE.splitlines()[1:-1])


async def read(api: Api, device: dict) -> dict:
    return (await api.admin.get(f"/api/device/{device['id']['id']}/credentials")).json()


async def save(api: Api, device: dict, **members: object):
    return await api.admin.post("/api/device/credentials", json={**await read(api, device), **members})


async def save_certificate(api: Api, device: dict, text: str):
    return await save(api, device, credentialsType="X509_CERTIFICATE", credentialsValue=text)


async def test_new_device_has_a_token_of_twenty_characters(api: Api):
    device = await api.add_device()
    credentials = await read(api, device)
    assert credentials == {
        "id": {"id": credentials["id"]["id"]},
        "createdTime": api.clock.now_ms(),
        "deviceId": device["id"],
        "credentialsType": "ACCESS_TOKEN",
        "credentialsId": credentials["credentialsId"],
        "credentialsValue": None,
        "version": 1,
    }
    assert len(credentials["credentialsId"]) == 20
    assert credentials["credentialsId"].isalnum()


@pytest.mark.parametrize(
    "text",
    [
        WORKED_EXAMPLE,
        WORKED_EXAMPLE.replace("\n", "\r\n"),
        BASE64,
        "subject=CN = sensor-0001@plant-a\nissuer=CN = Example Device CA\n" + WORKED_EXAMPLE,
        WORKED_EXAMPLE.replace("-----END", "  -----END"),
        WORKED_EXAMPLE.replace("\n", "\n    "),
    ],
    ids=["pem", "crlf", "base64", "preamble", "spaces", "indented"],
)
async def test_certificate_gets_the_id_of_its_der_however_it_was_pasted(api: Api, text):
    device = await api.add_device()
    answer = await save_certificate(api, device, text)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["credentialsId"] == WORKED_ID
    assert body["credentialsValue"] == BASE64
    assert body["version"] == 2
    assert await read(api, device) == body


def a_private_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


def a_signing_request() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor")])
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (a_private_key, "key"),
        (a_signing_request, "request"),
        (lambda: "hello", None),
        (lambda: "", None),
        (lambda: WORKED_EXAMPLE[:200], None),
    ],
    ids=["private key", "csr", "prose", "nothing", "cut off"],
)
async def test_what_is_no_certificate_is_refused_by_what_it_is(api: Api, make, found):
    device = await api.add_device()
    text = make()
    answer = await save_certificate(api, device, text)
    error = assert_error(answer, 400, 31)
    assert error["code"] == "not-a-certificate"
    assert error["mend"]
    if found is not None:
        assert found in str(error["message"]).lower()
    body = "".join(line for line in text.splitlines() if not line.startswith("-"))
    assert not body or body[:40] not in answer.text  # a key pasted by mistake is not repeated
    assert (await read(api, device))["credentialsType"] == "ACCESS_TOKEN"


async def test_certificate_of_another_device_is_refused_by_its_name(api: Api):
    first, second = await api.add_device("Pump 1"), await api.add_device("Pump 2")
    await save_certificate(api, first, WORKED_EXAMPLE)
    error = assert_error(await save_certificate(api, second, WORKED_EXAMPLE), 400, 31)
    assert "Device credentials are already assigned to another device!" in str(error["message"])
    assert "'Pump 1'" in str(error["message"])
    assert (await save_certificate(api, first, WORKED_EXAMPLE)).status_code == 200  # its own: no conflict


async def test_certificate_of_a_foreign_device_is_refused_without_its_name(api: Api):
    foreign = await api.add_foreign_device("Secret machine")
    theirs = await api.services.devices.credentials(api.other_tenant.id, foreign.id)
    device = await api.add_device()
    answer = await save(api, device, credentialsId=theirs.credentials_id)
    assert_error(answer, 400, 31, "Device credentials are already assigned to another device!")
    assert "Secret machine" not in answer.text


async def test_old_and_new_id_are_told_on_the_bus(api: Api):
    heard = []
    device = await api.add_device()
    api.services.bus.subscribe(CredentialsChanged, heard.append)
    old = (await read(api, device))["credentialsId"]
    await save_certificate(api, device, WORKED_EXAMPLE)
    assert [message.credentials_ids for message in heard] == [(old, WORKED_ID)]


async def test_mqtt_basic(api: Api):
    device = await api.add_device()
    value = json.dumps({"userName": "pump", "password": "secret"})
    answer = await save(api, device, credentialsType="MQTT_BASIC", credentialsId="x", credentialsValue=value)
    assert answer.json()["credentialsId"] == "pump"
    assert json.loads(answer.json()["credentialsValue"])["password"] == "secret"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "Credentials for this device are already specified!"),
        (
            {"id": {"id": "784f394c-42b6-435a-983c-b7beff2784f9"}},
            "Unable to update non-existent device credentials!",
        ),
        ({"deviceId": None}, "Device id should be specified!"),
        ({"credentialsType": None}, "Device credentials type should be specified"),
        ({"credentialsType": "LWM2M_CREDENTIALS"}, None),
        ({"credentialsId": ""}, "Device credentials id should be specified!"),
        ({"credentialsId": "a\nb"}, "credentialsId must not contain control characters!"),
        (
            {"credentialsType": "MQTT_BASIC", "credentialsValue": "{}"},
            "Both mqtt client id and user name are empty!",
        ),
        (
            {"credentialsType": "MQTT_BASIC", "credentialsValue": "{"},
            "Invalid credentials body for simple mqtt credentials!",
        ),
    ],
)
async def test_credentials_that_cannot_be_saved(api: Api, change, message):
    device = await api.add_device()
    before = await read(api, device)
    assert_error(await save(api, device, **change), 400, 31, message)
    assert await read(api, device) == before


async def test_credentials_of_an_unknown_or_foreign_device(api: Api):
    foreign = await api.add_foreign_device()
    device = await api.add_device()
    answer = await save(api, device, deviceId={"id": foreign.id})
    assert_error(answer, 404, 32, f"Device with id [{foreign.id}] is not found")


async def test_older_version_of_credentials_is_refused(api: Api):
    device = await api.add_device()
    assert_error(await save(api, device, version=7), 409, 35)


async def test_device_and_certificate_in_one_call(api: Api):
    body = {
        "device": {"name": "Pump 1", "type": "pump"},
        "credentials": {
            "credentialsType": "X509_CERTIFICATE",
            "credentialsId": "dummy",
            "credentialsValue": WORKED_EXAMPLE,
        },
    }
    answer = await api.admin.post("/api/device-with-credentials", json=body)
    assert answer.status_code == 200
    assert answer.json()["type"] == "pump"
    assert (await read(api, answer.json()))["credentialsId"] == WORKED_ID
    again = {**body, "device": {**answer.json(), "label": "south"}}
    assert (await api.admin.post("/api/device-with-credentials", json=again)).json()["label"] == "south"


async def test_no_device_is_left_when_its_credentials_are_refused(api: Api):
    body = {
        "device": {"name": "Pump 1"},
        "credentials": {"credentialsType": "X509_CERTIFICATE", "credentialsValue": "nonsense"},
    }
    assert_error(await api.admin.post("/api/device-with-credentials", json=body), 400, 31)
    assert_error(await api.admin.get("/api/tenant/device?deviceName=Pump+1"), 404, 32)


@pytest.mark.parametrize("body", [{}, {"device": {"name": "x"}}, {"credentials": {}}])
async def test_both_parts_are_needed(api: Api, body):
    error = assert_error(await api.admin.post("/api/device-with-credentials", json=body), 400, 31)
    assert str(error["message"]).startswith("Validation error: ")


async def test_certificate_made_just_now(api: Api):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    device = await api.add_device()
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert (await save_certificate(api, device, text)).status_code == 200
    found = await api.services.store.find_credentials((await read(api, device))["credentialsId"])
    assert found is not None
    assert found.device.id == device["id"]["id"]
