"""Device profiles (rest-api reference 4.1 to 4.4)."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.api.assertions import assert_error, assert_page
from tests.integration.api.conftest import Api
from thingpass.bus.messages import ProfileChanged
from thingpass.x509.fingerprints import credentials_id, credentials_value
from thingpass.x509.pasted import read_certificates

PATH = "/api/deviceProfile"

# The object that ThingsBoard's client sends in its published example.
MINIMAL = {
    "name": "pump",
    "type": "DEFAULT",
    "transportType": "DEFAULT",
    "profileData": {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}},
}
MQTT = {
    "type": "MQTT",
    "deviceTelemetryTopic": "pumps/+/data",
    "deviceAttributesTopic": "pumps/facts",
    "deviceAttributesSubscribeTopic": "pumps/set",
    "transportPayloadTypeConfiguration": {"transportPayloadType": "JSON"},
    "sparkplug": False,
    "sparkplugAttributesMetricNames": None,
    "sendAckOnValidationException": True,
}
ALARMS = [{"id": "a", "alarmType": "hot", "createRules": {"MAJOR": {"x": 1.50}}, "propagate": False}]


def profile(transport: dict[str, object] | None = None, **members: object) -> dict[str, object]:
    body = {**MINIMAL, **members}
    if transport is not None:
        body["transportType"] = "MQTT"
        body["profileData"] = {
            "configuration": {"type": "DEFAULT"},
            "transportConfiguration": {"type": "MQTT", **transport},
        }
    return body


async def add(api: Api, **members: object) -> dict[str, object]:
    answer = await api.admin.post(PATH, json=profile(**members))  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return answer.json()


def key(saved: dict[str, object]) -> str:
    return saved["id"]["id"]  # type: ignore[index, return-value]


class TestSaving:
    async def test_thingsboards_example_is_saved(self, api: Api):
        saved = await add(api)
        assert saved == {
            "id": {"entityType": "DEVICE_PROFILE", "id": key(saved)},
            "createdTime": api.clock.now_ms(),
            "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
            "name": "pump",
            "description": None,
            "image": None,
            "type": "DEFAULT",
            "transportType": "DEFAULT",
            "provisionType": "DISABLED",
            "provisionDeviceKey": None,
            "firmwareId": None,
            "softwareId": None,
            "defaultRuleChainId": None,
            "defaultDashboardId": None,
            "defaultQueueName": None,
            "defaultEdgeRuleChainId": None,
            "externalId": None,
            "default": False,
            "version": 1,
            "profileData": {
                "configuration": {"type": "DEFAULT"},
                "transportConfiguration": {"type": "DEFAULT"},
                "provisionConfiguration": {"type": "DISABLED", "provisionDeviceSecret": None},
                "alarms": None,
            },
        }
        assert (await api.admin.get(f"{PATH}/{key(saved)}")).json() == saved

    async def test_what_is_sent_comes_back(self, api: Api):
        sent = profile(MQTT, description="Pumps", image="data:image/png;base64,AA==")
        sent["profileData"]["alarms"] = ALARMS  # type: ignore[index]
        saved = (await api.admin.post(PATH, json=sent)).json()
        assert saved["profileData"]["transportConfiguration"] == MQTT
        assert saved["profileData"]["alarms"] == ALARMS
        assert (saved["description"], saved["image"]) == ("Pumps", "data:image/png;base64,AA==")
        again = (await api.admin.post(PATH, json=saved)).json()  # a client that reads, and writes it back
        assert again == {**saved, "version": 2}

    async def test_blank_topics_become_the_defaults(self, api: Api):
        saved = await add(api, transport={"deviceTelemetryTopic": "", "deviceAttributesTopic": None})
        transport = saved["profileData"]["transportConfiguration"]  # type: ignore[index]
        assert transport["deviceTelemetryTopic"] == "v1/devices/me/telemetry"
        assert transport["deviceAttributesTopic"] == "v1/devices/me/attributes"
        assert transport["transportPayloadTypeConfiguration"] == {"transportPayloadType": "JSON"}

    async def test_update_renames_the_type_of_its_devices_and_says_so(self, api: Api):
        heard: list[ProfileChanged] = []
        api.services.bus.subscribe(ProfileChanged, heard.append)
        device = await api.add_device(type="pump")
        saved = (await api.admin.get(f"{PATH}/{device['deviceProfileId']['id']}")).json()  # type: ignore[index]
        await api.admin.post(PATH, json={**saved, "name": "motor"})
        read = (await api.admin.get(f"/api/device/{device['id']['id']}")).json()  # type: ignore[index]
        assert read["type"] == "motor"
        assert [message.profile_id for message in heard] == [key(saved)]

    async def test_old_version_is_a_conflict_and_none_is_not(self, api: Api):
        saved = await add(api)
        await api.admin.post(PATH, json={**saved, "description": "first"})
        stale = await api.admin.post(PATH, json={**saved, "description": "second"})
        assert_error(stale, 409, 35)
        without = {name: value for name, value in saved.items() if name != "version"}
        answer = await api.admin.post(PATH, json={**without, "description": "third"})
        assert (answer.json()["description"], answer.json()["version"]) == ("third", 3)

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"name": None}, "Device profile name should be specified!"),
            ({"name": "  "}, "Device profile name should be specified!"),
            ({"name": "default"}, "Device profile with such name already exists!"),
            ({"name": "x" * 256}, "Validation error: name length must be equal or less than 255"),
            ({"name": "<b>"}, "Validation error: name is malformed"),
            ({"type": None}, "Device profile type should be specified!"),
            ({"type": "OTHER"}, "Device profile type 'OTHER' is not known."),
            ({"transportType": None}, "Device profile transport type should be specified!"),
            ({"default": True}, "Another default device profile is present in scope of current tenant!"),
            ({"defaultRuleChainId": {"id": str(uuid.uuid4())}}, "Can't assign non-existent rule chain!"),
            ({"defaultDashboardId": {"id": str(uuid.uuid4())}}, "Can't assign non-existent dashboard!"),
            ({"defaultQueueName": "Main"}, "Device profile is referencing to non-existent queue!"),
            ({"firmwareId": {"id": str(uuid.uuid4())}}, "Can't assign non-existent firmware!"),
            ({"softwareId": {"id": str(uuid.uuid4())}}, "Can't assign non-existent software!"),
            (
                {"profileData": {"configuration": 1}},
                "Validation error: profileData.configuration must be an object",
            ),
        ],
    )
    async def test_what_cannot_be_saved(self, api: Api, members: dict[str, object], message: str):
        assert_error(await api.admin.post(PATH, json=profile(**members)), 400, 31, message)  # type: ignore[arg-type]

    async def test_other_transports_are_refused_by_name(self, api: Api):
        answer = await api.admin.post(PATH, json={"name": "x", "type": "DEFAULT", "transportType": "COAP"})
        body = assert_error(answer, 400, 31, "Device profile transport type 'COAP' is not supported.")
        assert body["mend"] == "Use DEFAULT or MQTT."
        differing = profile()
        differing["transportType"] = "MQTT"
        message = assert_error(await api.admin.post(PATH, json=differing), 400, 31)["message"]
        assert "transportConfiguration.type is 'DEFAULT', and the profile says 'MQTT'" in str(message)

    @pytest.mark.parametrize(
        ("transport", "words"),
        [
            ({"deviceTelemetryTopic": "a/#/b"}, "'#' is not the last level"),
            ({"deviceTelemetryTopic": "a+"}, "'+' shares its level"),
            ({"deviceAttributesTopic": "$SYS/a"}, "no topic that devices publish to"),
            ({"deviceAttributesTopic": "x" * 300}, "300 characters"),
            ({"deviceTelemetryTopic": "a", "deviceAttributesTopic": "a"}, "no telemetry would arrive"),
            ({"deviceTelemetryTopic": 5}, "Expected `str | null`, got `int`"),
            ({"sparkplug": True}, "Sparkplug is not supported"),
            ({"transportPayloadTypeConfiguration": {"transportPayloadType": "XML"}}, "'XML'"),
            (
                {
                    "transportPayloadTypeConfiguration": {
                        "transportPayloadType": "PROTOBUF",
                        "deviceTelemetryProtoSchema": 'syntax = "proto3";\nmessage A {\n  int33 a = 1;\n}',
                    }
                },
                "invalid telemetry proto schema: line 3: there is no type 'int33'",
            ),
            (
                {
                    "transportPayloadTypeConfiguration": {
                        "transportPayloadType": "PROTOBUF",
                        "deviceTelemetryProtoSchema": 'syntax = "proto3"; message A { int64 ts = 1; }',
                    }
                },
                "Field 'ts' should have optional keyword!",
            ),
            (
                {
                    "transportPayloadTypeConfiguration": {
                        "transportPayloadType": "PROTOBUF",
                        "deviceRpcRequestProtoSchema": 'syntax = "proto3"; message A { string method = 1; }',
                    }
                },
                "it has no field 'params'",
            ),
        ],
    )
    async def test_transport_that_cannot_be_used(self, api: Api, transport: dict[str, object], words: str):
        answer = await api.admin.post(PATH, json=profile(transport))
        message = str(assert_error(answer, 400, 31)["message"])
        assert message.startswith("[Transport Configuration]")
        assert words in message

    async def test_profile_of_another_tenant_is_neither_read_nor_changed(self, api: Api):
        theirs = await api.services.store.get_default_profile(api.other_tenant.id)
        sentence = f"Device profile with id [{theirs.id}] is not found"
        for answer in (
            await api.admin.get(f"{PATH}/{theirs.id}"),
            await api.admin.delete(f"{PATH}/{theirs.id}"),
            await api.admin.post(f"{PATH}/{theirs.id}/default"),
            await api.admin.post(PATH, json=profile(id={"id": theirs.id})),
            await api.admin.get(f"/api/deviceProfileInfo/{theirs.id}"),
        ):
            assert_error(answer, 404, 32, sentence)
        assert await api.services.store.find_profile(theirs.id) == theirs


class TestProvisioning:
    async def test_key_and_secret_are_kept(self, api: Api):
        body = profile(provisionType="ALLOW_CREATE_NEW_DEVICES", provisionDeviceKey="k")
        body["profileData"] = {
            **MINIMAL["profileData"],  # type: ignore[dict-item]
            "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": "s"},
        }
        saved = (await api.admin.post(PATH, json=body)).json()
        assert (saved["provisionType"], saved["provisionDeviceKey"]) == ("ALLOW_CREATE_NEW_DEVICES", "k")
        assert saved["profileData"]["provisionConfiguration"]["provisionDeviceSecret"] == "s"
        stored = await api.services.store.find_profile_by_provision_key("k")
        assert stored is not None
        assert stored.id == key(saved)
        assert "'s'" not in repr(stored)
        twin = await api.admin.post(PATH, json={**body, "name": "other"})
        assert_error(twin, 400, 31, "Device profile with such provision device key already exists!")

    async def test_key_and_secret_are_made_when_they_are_needed(self, api: Api):
        saved = await add(api, provisionType="CHECK_PRE_PROVISIONED_DEVICES")
        assert len(str(saved["provisionDeviceKey"])) == 20
        assert len(saved["profileData"]["provisionConfiguration"]["provisionDeviceSecret"]) == 20  # type: ignore[index]

    async def test_unknown_type_is_refused(self, api: Api):
        answer = await api.admin.post(PATH, json=profile(provisionType="SOMEHOW"))
        assert_error(answer, 400, 31, "Device provision type 'SOMEHOW' is not known.")

    async def test_authority_is_known_by_its_certificate(self, api: Api, authority_pem: str):
        def body(name: str, secret: str, pattern: str | None = r"(.*)\.example\.org") -> dict[str, object]:
            configuration = {
                "type": "X509_CERTIFICATE_CHAIN",
                "provisionDeviceSecret": secret,
                "certificateRegExPattern": pattern,
                "allowCreateNewDevicesByX509Certificate": True,
            }
            made = profile(name=name, provisionType="X509_CERTIFICATE_CHAIN", provisionDeviceKey="whatever")
            made["profileData"] = {"provisionConfiguration": configuration}
            return made

        saved = (await api.admin.post(PATH, json=body("a", authority_pem))).json()
        der = read_certificates(authority_pem)[0].der
        assert saved["provisionDeviceKey"] == credentials_id(der)
        assert saved["profileData"]["provisionConfiguration"] == {
            "type": "X509_CERTIFICATE_CHAIN",
            "provisionDeviceSecret": credentials_value(der),
            "certificateRegExPattern": r"(.*)\.example\.org",
            "allowCreateNewDevicesByX509Certificate": True,
        }
        again = await api.admin.post(PATH, json=saved)
        assert again.json()["provisionDeviceKey"] == credentials_id(der)
        twin = await api.admin.post(PATH, json=body("b", authority_pem))
        assert_error(twin, 400, 31, "Device profile with such certificate already exists!")
        for secret, pattern in (
            ("no certificate", "(.*)"),
            ("", "(.*)"),
            (authority_pem, "("),
            (authority_pem, "x"),
            (authority_pem, "(" * 250),
            (authority_pem, "(a{99999999999999999999})"),
            (authority_pem, f"({'a' * 255})"),
        ):
            assert_error(await api.admin.post(PATH, json=body("c", secret, pattern)), 400, 31)


class TestRemoving:
    async def test_profile_that_no_device_has_is_removed(self, api: Api):
        saved = await add(api)
        answer = await api.admin.delete(f"{PATH}/{key(saved)}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert_error(await api.admin.get(f"{PATH}/{key(saved)}"), 404, 32)

    async def test_profile_in_use_and_the_default_one_stay(self, api: Api):
        device = await api.add_device(type="pump")
        used = device["deviceProfileId"]["id"]  # type: ignore[index]
        sentence = "The device profile referenced by the devices cannot be deleted!"
        assert_error(await api.admin.delete(f"{PATH}/{used}"), 400, 31, sentence)
        default = (await api.admin.get("/api/deviceProfileInfo/default")).json()["id"]["id"]
        sentence = "Deletion of Default Device Profile is prohibited!"
        assert_error(await api.admin.delete(f"{PATH}/{default}"), 400, 31, sentence)

    async def test_default_moves(self, api: Api):
        saved = await add(api)
        before = (await api.admin.get("/api/deviceProfileInfo/default")).json()["id"]["id"]
        made = await api.admin.post(f"{PATH}/{key(saved)}/default")
        assert made.json() == {**saved, "default": True, "version": 2}
        assert (await api.add_device())["type"] == "pump"
        assert (await api.admin.get(f"{PATH}/{before}")).json()["default"] is False
        assert (await api.admin.delete(f"{PATH}/{before}")).status_code == 200
        # Saving the default one as it is read does not make a second one, and cannot take the mark away.
        for flag in (True, False):
            answer = await api.admin.post(PATH, json={**made.json(), "version": None, "default": flag})
            assert answer.json()["default"] is True


class TestReading:
    async def test_default_profile_is_the_one_that_new_devices_get(self, api: Api):
        device = await api.add_device()
        info = (await api.admin.get("/api/deviceProfileInfo/default")).json()
        assert info == {
            "id": device["deviceProfileId"],
            "name": "default",
            "image": None,
            "defaultDashboardId": None,
            "type": "DEFAULT",
            "transportType": "DEFAULT",
            "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
        }
        by_id = await api.admin.get(f"/api/deviceProfileInfo/{info['id']['id']}")
        assert by_id.json() == info

    async def test_no_id_is_told(self, api: Api):
        for path in ("/api/deviceProfileInfo/xyz", f"{PATH}/xyz"):
            assert_error(await api.admin.get(path), 400, 31, "Invalid UUID string: xyz")

    @pytest.mark.parametrize("path", ["/api/deviceProfileInfos", "/api/deviceProfiles"])
    async def test_pages(self, api: Api, path: str):
        for name in ("b", "c", "a"):
            await api.add_device(f"Device {name}", type=name)
        page = path + "?pageSize=3&page={}&sortProperty=name&sortOrder=ASC"
        assert_page(await api.admin.get(page.format(0)), ["a", "b", "c"], total=4, pages=2, has_next=True)
        assert_page(await api.admin.get(page.format(1)), ["default"], total=4, pages=2, has_next=False)
        found = await api.admin.get(page.format(0) + "&textSearch=DEF")
        assert_page(found, ["default"], total=1, pages=1, has_next=False)
        assert_error(await api.admin.get(f"{path}?pageSize=3"), 400, 31)
        for name in ("createdTime", "type", "transportType", "description", "isDefault"):
            sorted_by = await api.admin.get(f"{path}?pageSize=9&page=0&sortProperty={name}&sortOrder=DESC")
            assert sorted_by.json()["totalElements"] == 4

    async def test_infos_of_one_transport(self, api: Api):
        await add(api, transport={})
        answer = await api.admin.get("/api/deviceProfileInfos?pageSize=3&page=0&transportType=MQTT")
        assert_page(answer, ["pump"], total=1, pages=1, has_next=False)
        assert answer.json()["data"][0]["transportType"] == "MQTT"

    async def test_names(self, api: Api):
        await add(api)
        await api.add_device()
        names = (await api.admin.get(f"{PATH}/names")).json()
        assert [row["name"] for row in names] == ["default", "pump"]
        assert names[0]["id"]["entityType"] == "DEVICE_PROFILE"
        active = (await api.admin.get(f"{PATH}/names?activeOnly=true")).json()
        assert [row["name"] for row in active] == ["default"]

    async def test_infos_by_ids(self, api: Api):
        saved = await add(api)
        default = await api.services.store.get_default_profile(api.tenant.id)
        theirs = await api.services.store.get_default_profile(api.other_tenant.id)
        ids = f"{default.id},{uuid.uuid4()},{theirs.id},{key(saved)},{default.id}"
        for path in ("/api/deviceProfileInfos", "/api/deviceProfileInfos/list"):
            found = (await api.admin.get(f"{path}?deviceProfileIds={ids}")).json()
            assert [row["name"] for row in found] == ["default", "pump"]
            for wrong in ("xyz", ",".join(str(uuid.uuid4()) for _ in range(1001))):
                assert_error(await api.admin.get(f"{path}?deviceProfileIds={wrong}"), 400, 31)

    async def test_keys_of_devices(self, api: Api):
        saved = await add(api)
        pump = await api.add_device("pump", deviceProfileId=saved["id"])
        other = await api.add_device("other")
        for device, name in ((pump, "a"), (other, "b")):
            path = f"/api/plugins/telemetry/DEVICE/{key(device)}"
            await api.admin.post(f"{path}/timeseries/ANY", json={name: 1})
            await api.admin.post(f"{path}/attributes/SERVER_SCOPE", json={name.upper(): 1})
        for kind, all_keys in (("timeseries", ["a", "b"]), ("attributes", ["A", "B"])):
            path = f"{PATH}/devices/keys/{kind}"
            assert (await api.admin.get(path)).json() == all_keys
            one = await api.admin.get(f"{path}?deviceProfileId={key(saved)}")
            assert one.json() == all_keys[:1]
            assert_error(await api.admin.get(f"{path}?deviceProfileId={uuid.uuid4()}"), 404, 32)

    async def test_devices_of_one_profile(self, api: Api):
        saved = await add(api)
        for name in ("a", "b"):
            await api.add_device(name, deviceProfileId={"id": key(saved)})
        await api.add_device("c")
        path = "/api/tenant/deviceInfos?pageSize=1&page=0&sortProperty=name&sortOrder=ASC"
        for query in (
            f"&deviceProfileId={key(saved)}",
            "&type=pump",
            f"&type=pump&deviceProfileId={key(saved)}",
        ):
            assert_page(await api.admin.get(path + query), ["a"], total=2, pages=2, has_next=True)
        for query in ("&type=nothing", f"&type=default&deviceProfileId={key(saved)}"):
            assert_page(await api.admin.get(path + query), [], total=0, pages=0, has_next=False)
        inactive = await api.admin.get(path + "&type=pump&active=false")
        assert_page(inactive, ["a"], total=2, pages=2, has_next=True)


@pytest.fixture(scope="module")
def authority_pem() -> str:
    import trustme

    return trustme.CA().cert_pem.bytes().decode()
