"""Credentials as they are given and stored: device API reference 1.2 and 1.3, REST reference 3.4."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.unit.identity.examples import make_leaf
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged, Message
from thingpass.clock import ManualClock
from thingpass.devices.credential_forms import NotACertificateText, stored_form
from thingpass.devices.devices import DeviceService
from thingpass.errors import AlreadyExists, Invalid
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    Credentials,
    Device,
    Tenant,
)
from thingpass.store.sqlite.store import SqliteStore
from thingpass.x509.certificate import Certificate

WORKED_EXAMPLE = """\
-----BEGIN CERTIFICATE-----
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
WORKED_BASE64 = "".join(WORKED_EXAMPLE.splitlines()[1:-1])
ALREADY = "Device credentials are already assigned to another device!"


def given(kind: str, id_: str = "", value: str | None = None) -> Credentials:
    return Credentials(
        id="c", created_at_ms=0, device_id="d", kind=kind, credentials_id=id_, credentials_value=value
    )


class TestStoredForm:
    @pytest.mark.parametrize(
        "text",
        [
            WORKED_EXAMPLE,
            WORKED_EXAMPLE.replace("\n", "\r\n"),
            WORKED_BASE64,
            WORKED_EXAMPLE.replace("-----END", "  -----END"),
            "subject=CN = x\n" + WORKED_EXAMPLE,
        ],
        ids=["pem", "crlf", "base64", "spaces", "subject line"],
    )
    def test_a_certificate_has_thingsboards_id_however_it_is_pasted(self, text: str) -> None:
        stored = stored_form(given(CREDENTIALS_X509, "whatever was sent", text))
        assert (stored.credentials_id, stored.credentials_value) == (WORKED_ID, WORKED_BASE64)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "private key"),
            (None, ""),
            ("", ""),
            ("my certificate", ""),
        ],
    )
    def test_what_is_no_certificate_is_refused_by_what_it_is(self, text: str | None, words: str) -> None:
        with pytest.raises(NotACertificateText) as caught:
            stored_form(given(CREDENTIALS_X509, "", text))
        assert words in caught.value.sentence
        assert caught.value.mend
        assert caught.value.code == "not-a-certificate"

    @pytest.mark.parametrize(
        ("value", "id_", "stored"),
        [
            (
                {"clientId": "dev-1"},
                "39f860618baa074012bd5caadb00a406d5dba006171d387e389c3ef461650c18",
                {"clientId": "dev-1", "userName": None, "password": None},
            ),
            (
                {"clientId": "dev-1", "userName": "alice", "password": "p"},
                "98a30013a595130fbf29cdb35fef92d6fe1d5587c3a5764bebd3f51fd7cb4ec7",
                {"clientId": "dev-1", "userName": "alice", "password": "p"},
            ),
            (
                {"clientId": "", "userName": "alice", "password": "", "more": 1},
                "alice",
                {"clientId": None, "userName": "alice", "password": None},
            ),
        ],
    )
    def test_mqtt_basic_has_one_of_three_ids(
        self, value: dict[str, object], id_: str, stored: dict[str, object]
    ) -> None:
        form = stored_form(given(CREDENTIALS_MQTT_BASIC, "dummy", json.dumps(value)))
        assert form.credentials_id == id_
        assert json.loads(form.credentials_value or "") == stored

    def test_a_token_is_its_id_and_has_no_value(self) -> None:
        form = stored_form(given(CREDENTIALS_ACCESS_TOKEN, "A1_TEST_TOKEN", "ignored"))
        assert (form.credentials_id, form.credentials_value) == ("A1_TEST_TOKEN", None)

    @pytest.mark.parametrize(
        ("credentials", "message"),
        [
            (given(""), "Device credentials type should be specified"),
            (given(CREDENTIALS_ACCESS_TOKEN), "Device credentials id should be specified!"),
            (
                given(CREDENTIALS_ACCESS_TOKEN, "a\tb"),
                "credentialsId must not contain control characters!",
            ),
            (given(CREDENTIALS_ACCESS_TOKEN, "a\x85b"), "credentialsId must not contain control characters!"),
            (
                given(CREDENTIALS_MQTT_BASIC, "", None),
                "Invalid credentials body for simple mqtt credentials!",
            ),
            (
                given(CREDENTIALS_MQTT_BASIC, "", "[]"),
                "Invalid credentials body for simple mqtt credentials!",
            ),
            (given(CREDENTIALS_MQTT_BASIC, "", "{}"), "Both mqtt client id and user name are empty!"),
            (
                given(CREDENTIALS_MQTT_BASIC, "", '{"clientId":"c","password":"p"}'),
                "Password cannot be specified along with client id",
            ),
            (
                given(CREDENTIALS_MQTT_BASIC, "", '{"clientId":"c\\n"}'),
                "clientId must not contain control characters!",
            ),
            (
                given(CREDENTIALS_MQTT_BASIC, "", '{"userName":"u\\u0000"}'),
                "userName must not contain control characters!",
            ),
            (
                given(CREDENTIALS_MQTT_BASIC, "", '{"userName":"u","password":"\\u001b"}'),
                "password must not contain control characters!",
            ),
            (
                given("LWM2M_CREDENTIALS", "x"),
                "Device credentials of the type 'LWM2M_CREDENTIALS' are not supported!",
            ),
        ],
    )
    def test_messages_are_thingsboards(self, credentials: Credentials, message: str) -> None:
        with pytest.raises(Invalid) as caught:
            stored_form(credentials)
        assert caught.value.sentence == message


class TestSave:
    @pytest.fixture
    def devices(self, store: SqliteStore, bus: LocalBus, clock: ManualClock) -> DeviceService:
        return DeviceService(store, bus, clock)

    @pytest.fixture
    async def pump(self, devices: DeviceService, tenant: Tenant) -> Device:
        return await devices.add(tenant.id, "Pump 1", access_token="token 1")

    @pytest.fixture
    def heard(self, bus: LocalBus) -> list[Message]:
        messages: list[Message] = []
        bus.subscribe(CredentialsChanged, messages.append)
        return messages

    async def with_certificate(
        self, devices: DeviceService, tenant: Tenant, device: Device, pem: str
    ) -> Credentials:
        current = await devices.credentials(tenant.id, device.id)
        return await devices.save_credentials(
            tenant.id,
            msgspec.structs.replace(current, kind=CREDENTIALS_X509, credentials_value=pem),
        )

    async def test_a_token_is_replaced_by_a_certificate(
        self, devices: DeviceService, tenant: Tenant, pump: Device, heard: list[Message], store: SqliteStore
    ) -> None:
        saved = await self.with_certificate(devices, tenant, pump, WORKED_EXAMPLE)
        assert (saved.kind, saved.credentials_id) == (CREDENTIALS_X509, WORKED_ID)
        assert saved.version == 2
        assert await devices.credentials(tenant.id, pump.id) == saved
        assert heard == [CredentialsChanged(device_id=pump.id, credentials_ids=("token 1", WORKED_ID))]
        assert await store.find_credentials("token 1") is None

    async def test_saving_the_same_again_ends_no_connection(
        self, devices: DeviceService, tenant: Tenant, pump: Device, heard: list[Message]
    ) -> None:
        await self.with_certificate(devices, tenant, pump, WORKED_EXAMPLE)
        heard.clear()
        await self.with_certificate(devices, tenant, pump, WORKED_BASE64)
        assert heard == []

    async def test_a_certificate_of_another_device_is_refused_by_its_name(
        self, devices: DeviceService, tenant: Tenant, pump: Device, heard: list[Message]
    ) -> None:
        await self.with_certificate(devices, tenant, pump, WORKED_EXAMPLE)
        other = await devices.add(tenant.id, "Pump 2", access_token="token 2")
        heard.clear()
        with pytest.raises(AlreadyExists) as caught:
            await self.with_certificate(devices, tenant, other, WORKED_EXAMPLE)
        assert caught.value.sentence == f"{ALREADY} They are those of device 'Pump 1'."
        assert (await devices.credentials(tenant.id, other.id)).credentials_id == "token 2"
        assert heard == []

    async def test_the_leaf_of_a_bundle_is_taken(
        self, devices: DeviceService, tenant: Tenant, pump: Device
    ) -> None:
        leaf = Certificate.from_der(make_leaf())
        saved = await self.with_certificate(devices, tenant, pump, f"Bag Attributes\n{leaf.pem}")
        assert saved.credentials_id == leaf.credentials_id

    @pytest.mark.parametrize(
        ("id_", "message"),
        [
            ("", "Credentials for this device are already specified!"),
            ("another", "Unable to update non-existent device credentials!"),
        ],
    )
    async def test_the_id_must_be_the_stored_one(
        self, devices: DeviceService, tenant: Tenant, pump: Device, id_: str, message: str
    ) -> None:
        current = await devices.credentials(tenant.id, pump.id)
        with pytest.raises(Invalid) as caught:
            await devices.save_credentials(tenant.id, msgspec.structs.replace(current, id=id_))
        assert caught.value.sentence == message
