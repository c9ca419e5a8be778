from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.device import make_certificate
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.provisioning import (
    FAILURES_PER_ADDRESS,
    Asker,
    NotProvisioned,
    Provisioned,
    ProvisioningService,
    ProvisionRequest,
)
from thingpass.devices.tenants import new_profile
from thingpass.identity.refusal_log import RefusalLog
from thingpass.metrics import Counters
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    PROVISION_ALLOW_CREATE,
    PROVISION_CHECK,
    PROVISION_DISABLED,
    PROVISION_X509_CHAIN,
    Credentials,
    Tenant,
)
from thingpass.store.sqlite.store import SqliteStore

KEY, SECRET = "the key", "the secret"
ASKER = Asker("mqtts", "192.0.2.7", 40_000)
NOT_FOUND = NotProvisioned("NOT_FOUND")


class Bench:
    """The service on a store with a profile that provisions."""

    def __init__(self, store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock) -> None:
        self.store, self.tenant, self.clock = store, tenant, clock
        self.devices = DeviceService(store, bus, clock)
        self.refusal_log = RefusalLog()
        self.counters = Counters()
        self.service = ProvisioningService(store, self.devices, self.refusal_log, self.counters, clock)

    async def add_profile(self, strategy: str, name: str = "Meter", key: str = KEY) -> None:
        profile = msgspec.structs.replace(
            new_profile(self.tenant.id, name, self.clock.now_ms()),
            provision_type=strategy,
            provision_key=key,
            provision_secret=SECRET,
        )
        await self.store.add_profile(profile)

    async def ask(self, name: str | None = "meter 1", asker: Asker = ASKER, **fields: object) -> object:
        given = {"key": KEY, "secret": SECRET, "device_name": name, **fields}
        return await self.service.provision(ProvisionRequest(**given), asker)

    async def credentials(self, **fields: object) -> Credentials:
        answer = await self.ask(**fields)
        assert isinstance(answer, Provisioned), answer
        return answer.credentials

    async def failure(self, **fields: object) -> str:
        answer = await self.ask(**fields)
        assert isinstance(answer, NotProvisioned), answer
        assert answer.status == "FAILURE"
        assert answer.reason is not None
        return answer.reason

    def refused(self) -> list[str]:
        return [entry.code for entry in self.refusal_log.list()]


@pytest.fixture
def bench(store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock) -> Bench:
    return Bench(store, tenant, bus, clock)


class TestCreating:
    """ALLOW_CREATE_NEW_DEVICES"""

    @pytest.fixture(autouse=True)
    async def _profile(self, bench: Bench) -> None:
        await bench.add_profile(PROVISION_ALLOW_CREATE)

    async def test_unknown_device_is_made_of_the_profile_and_marked(self, bench: Bench) -> None:
        credentials = await bench.credentials(name="  meter 1 ")
        device = await bench.devices.find_by_name(bench.tenant.id, "meter 1")
        assert device is not None
        assert (device.profile_name, device.additional_info_json) == ("Meter", None)
        assert credentials == await bench.devices.credentials(bench.tenant.id, device.id)
        assert (credentials.kind, len(credentials.credentials_id)) == (CREDENTIALS_ACCESS_TOKEN, 20)
        attributes = await bench.store.find_attributes(device.id, "SERVER_SCOPE", None)
        assert {each.key: each.value for each in attributes} == {"provisionState": "provisioned"}
        assert bench.counters.provisioning == {"SUCCESS": 1}
        assert bench.refused() == []

    async def test_known_device_fails_even_if_it_was_never_provisioned(self, bench: Bench) -> None:
        await bench.devices.add(bench.tenant.id, "meter 1")
        assert await bench.failure() == "Device with such name already exists!"
        assert bench.refused() == ["provisioning-failed"]
        assert bench.counters.provisioning == {"FAILURE": 1}

    async def test_nameless_device_gets_a_random_name(self, bench: Bench) -> None:
        await bench.credentials(name=None)
        (device,) = (await bench.devices.list(bench.tenant.id, limit=9)).rows
        assert len(device.name) == 20
        assert device.name.isalnum()

    @pytest.mark.parametrize("name", ["", "   "])
    async def test_blank_name_fails(self, bench: Bench, name: str) -> None:
        assert await bench.failure(name=name) == "Device name should be specified!"

    async def test_gateway_is_marked(self, bench: Bench) -> None:
        await bench.credentials(is_gateway=True)
        device = await bench.devices.find_by_name(bench.tenant.id, "meter 1")
        assert device is not None
        assert device.additional_info_json == '{"gateway":true}'

    async def test_own_token_is_taken(self, bench: Bench) -> None:
        credentials = await bench.credentials(token="my own")
        assert (credentials.kind, credentials.credentials_id) == (CREDENTIALS_ACCESS_TOKEN, "my own")

    async def test_mqtt_basic_credentials_are_taken(self, bench: Bench) -> None:
        credentials = await bench.credentials(
            kind=CREDENTIALS_MQTT_BASIC, client_id="c", user_name="u", password="p"
        )
        assert credentials.kind == CREDENTIALS_MQTT_BASIC
        assert msgspec.json.decode(credentials.credentials_value or "") == {
            "clientId": "c",
            "userName": "u",
            "password": "p",
        }

    async def test_certificate_is_read_as_people_paste_it(self, bench: Bench) -> None:
        certificate, _ = make_certificate("meter 1")
        text = "subject=CN=meter 1\r\n" + certificate.decode()
        credentials = await bench.credentials(kind=CREDENTIALS_X509, certificate=text)
        assert credentials.kind == CREDENTIALS_X509
        assert (credentials.credentials_value or "").startswith("MII")
        found = await bench.store.find_credentials(credentials.credentials_id)
        assert found is not None
        assert found.device.name == "meter 1"

    @pytest.mark.parametrize("kind", [CREDENTIALS_MQTT_BASIC, CREDENTIALS_X509, "LWM2M_CREDENTIALS"])
    async def test_kind_without_anything_of_it_is_a_random_token(self, bench: Bench, kind: str) -> None:
        assert (await bench.credentials(kind=kind)).kind == CREDENTIALS_ACCESS_TOKEN

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"client_id": "c"}, "Device credentials id should be specified!"),
            ({"token": "a\nb"}, "credentialsId must not contain control characters!"),
            (
                {"kind": CREDENTIALS_MQTT_BASIC, "client_id": "c", "password": "p"},
                "Password cannot be specified along with client id",
            ),
            (
                {"kind": CREDENTIALS_MQTT_BASIC, "token": "t"},
                "Both mqtt client id and user name are empty!",
            ),
            ({"kind": CREDENTIALS_X509, "token": "t"}, "There is no text."),
            ({"kind": CREDENTIALS_X509, "certificate": "no"}, "There is no certificate in this text."),
            (
                {"kind": "LWM2M_CREDENTIALS", "token": "t"},
                "Device credentials of the type 'LWM2M_CREDENTIALS' are not supported!",
            ),
            ({"name": "<b>"}, "Validation error: name is malformed"),
            ({"name": "x" * 256}, "Validation error: name length must be equal or less than 255"),
        ],
    )
    async def test_what_cannot_be_stored_fails_and_leaves_nothing(
        self, bench: Bench, fields: dict[str, str], sentence: str
    ) -> None:
        assert await bench.failure(**fields) == sentence
        assert (await bench.devices.list(bench.tenant.id, limit=9)).total == 0

    async def test_clash_of_credentials_names_no_other_device_and_leaves_nothing(self, bench: Bench) -> None:
        await bench.devices.add(bench.tenant.id, "secret name", access_token="taken")
        assert (
            await bench.failure(token="taken") == "Device credentials are already assigned to another device!"
        )
        assert await bench.devices.find_by_name(bench.tenant.id, "meter 1") is None

    async def test_of_two_at_once_one_succeeds(self, bench: Bench) -> None:
        answers = await asyncio.gather(*(bench.ask() for _ in range(5)))
        assert [type(answer) for answer in answers].count(Provisioned) == 1

    async def test_secrets_are_in_no_repr(self, bench: Bench) -> None:
        request = ProvisionRequest(key=KEY, secret=SECRET, token="t0ken", password="pass")
        answer = await bench.ask(token="t0ken")
        for shown in (repr(request), repr(answer)):
            for secret in (KEY, SECRET, "t0ken", "pass"):
                assert secret not in shown


class TestFetching:
    """CHECK_PRE_PROVISIONED_DEVICES"""

    @pytest.fixture(autouse=True)
    async def _profile(self, bench: Bench) -> None:
        await bench.add_profile(PROVISION_CHECK)

    async def test_registered_device_gets_its_credentials_once(self, bench: Bench) -> None:
        device = await bench.devices.add(
            bench.tenant.id, "meter 1", profile_name="Meter", access_token="stored"
        )
        credentials = await bench.credentials(token="ignored")
        assert credentials.credentials_id == "stored"
        attributes = await bench.store.find_attributes(device.id, "SERVER_SCOPE", None)
        assert {each.key: each.value for each in attributes} == {"provisionState": "provisioned"}
        assert await bench.failure() == "The device was provisioned before."

    async def test_of_two_at_once_one_succeeds(self, bench: Bench) -> None:
        await bench.devices.add(bench.tenant.id, "meter 1", profile_name="Meter")
        answers = await asyncio.gather(*(bench.ask() for _ in range(5)))
        assert [type(answer) for answer in answers].count(Provisioned) == 1

    @pytest.mark.parametrize("name", ["meter 1", "meter 2", None])
    async def test_unknown_device_and_one_of_another_profile_fail_alike(
        self, bench: Bench, name: str | None
    ) -> None:
        await bench.devices.add(bench.tenant.id, "meter 1", profile_name="Pump")
        assert await bench.failure(name=name) == "The profile has no device of this name."

    async def test_device_of_another_tenant_is_unknown(self, bench: Bench) -> None:
        other = Tenant(id="00000000-0000-4000-8000-000000000001", created_at_ms=1, title="Other")
        await bench.store.add_tenant(other, new_profile(other.id, "default", 1, is_default=True))
        await bench.devices.add(other.id, "meter 1", profile_name="Meter")
        assert await bench.failure() == "The profile has no device of this name."


class TestNotFound:
    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"key": "other"}, "provision-key-unknown"),
            ({"key": ""}, "provision-key-unknown"),
            ({"secret": "other"}, "provision-secret-wrong"),
            ({"secret": ""}, "provision-secret-wrong"),
            ({"secret": SECRET.upper()}, "provision-secret-wrong"),
        ],
    )
    async def test_wrong_key_or_secret(self, bench: Bench, fields: dict[str, str], code: str) -> None:
        await bench.add_profile(PROVISION_ALLOW_CREATE)
        assert await bench.ask(**fields) == NOT_FOUND
        assert bench.refused() == [code]
        assert bench.counters.provisioning == {"NOT_FOUND": 1}

    @pytest.mark.parametrize("strategy", [PROVISION_DISABLED, PROVISION_X509_CHAIN])
    async def test_profile_that_provisions_nobody_who_asks(self, bench: Bench, strategy: str) -> None:
        await bench.add_profile(strategy)
        assert await bench.ask() == NOT_FOUND
        assert bench.refused() == ["provision-disabled"]

    async def test_refusal_is_shown_to_the_profiles_tenant_alone(self, bench: Bench) -> None:
        await bench.add_profile(PROVISION_ALLOW_CREATE)
        await bench.ask(secret="other")
        listed = bench.refusal_log.list(tenant_id=bench.tenant.id, include_strangers=False)
        assert [entry.seen for entry in listed] == [{"profile": "Meter"}]
        assert bench.refusal_log.list(tenant_id="another") == ()

    async def test_profile_without_a_secret_is_not_opened_by_an_empty_one(self, bench: Bench) -> None:
        profile = msgspec.structs.replace(
            new_profile(bench.tenant.id, "Open", 1), provision_type=PROVISION_ALLOW_CREATE, provision_key=KEY
        )
        await bench.store.add_profile(profile)
        assert await bench.ask(secret="") == NOT_FOUND


class TestGuessing:
    async def test_address_waits_after_too_many_wrong_keys_and_others_do_not(self, bench: Bench) -> None:
        await bench.add_profile(PROVISION_ALLOW_CREATE)
        for _ in range(FAILURES_PER_ADDRESS):
            assert await bench.ask(secret="other") == NOT_FOUND
        answer = await bench.ask()  # the right one, too late
        assert isinstance(answer, NotProvisioned)
        assert answer.status == "FAILURE"
        assert "Try again in" in (answer.reason or "")
        assert bench.refused()[0] == "provisioning-tried-too-often"
        await bench.credentials(asker=Asker("mqtts", "192.0.2.8", 1))
        bench.clock.advance(301)
        await bench.credentials(name="meter 2")

    async def test_success_and_failure_with_the_right_secret_do_not_count(self, bench: Bench) -> None:
        await bench.add_profile(PROVISION_ALLOW_CREATE)
        await bench.credentials()
        for _ in range(FAILURES_PER_ADDRESS + 5):
            await bench.failure()
        await bench.credentials(name="meter 2")

    def test_an_ipv6_host_is_counted_by_its_network(self) -> None:
        groups = {
            Asker("mqtts", address, 1).address_group
            for address in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:abcd::1")
        }
        assert groups == {"2001:db8::/64"}
        assert Asker("mqtts", "::ffff:192.0.2.7", 1).address_group == "192.0.2.7"
        assert Asker("mqtts", "somewhere", 1).address_group == "somewhere"
