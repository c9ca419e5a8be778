"""Devices: saving, reading, listing (rest-api reference 3.1 to 3.3, 3.8)."""

from __future__ import annotations

import pytest

from tests.integration.api.assertions import assert_error, assert_page
from tests.integration.api.conftest import Api
from thingpass.bus.messages import DeviceRemoved
from thingpass.messaging.presence import Connection

UNKNOWN = "784f394c-42b6-435a-983c-b7beff2784f9"


def connection_of(api: Api, device: dict, **members: object) -> Connection:
    return Connection(
        **{
            "id": 1,
            "device_id": device["id"]["id"],
            "device_name": device["name"],
            "tenant_id": api.tenant.id,
            "credentials_kind": "ACCESS_TOKEN",
            "credentials_id": "A-TOKEN",
            "fingerprint_sha256": None,
            "listener": "mqtts",
            "peer_address": "192.0.2.7",
            "peer_port": 40_312,
            "protocol": "MQTT 5.0",
            "tls_version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "key_exchange_group": "X25519MLKEM768",
            "resumed": False,
            "client_id": "c",
            "connected_at_ms": api.clock.now_ms(),
            **members,
        }
    )


async def test_new_device_has_the_members_that_clients_insist_on(api: Api):
    device = await api.add_device("Pump 1", label="north", additionalInfo={"gateway": False, "n": [1, None]})
    assert device == {
        "id": {"entityType": "DEVICE", "id": device["id"]["id"]},
        "createdTime": api.clock.now_ms(),
        "additionalInfo": {"gateway": False, "n": [1, None]},
        "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
        "customerId": {"entityType": "CUSTOMER", "id": "13814000-1dd2-11b2-8080-808080808080"},
        "name": "Pump 1",
        "type": "default",
        "label": "north",
        "deviceProfileId": {"entityType": "DEVICE_PROFILE", "id": device["deviceProfileId"]["id"]},
        "deviceData": {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}},
        "firmwareId": None,
        "softwareId": None,
        "externalId": None,
        "version": 1,
    }
    read = await api.admin.get(f"/api/device/{device['id']['id'].upper()}")
    assert read.json() == device


async def test_access_token_may_be_given(api: Api):
    answer = await api.admin.post("/api/device?accessToken=A1_TEST_TOKEN", json={"name": "Pump 1"})
    device_id = answer.json()["id"]["id"]
    credentials = (await api.admin.get(f"/api/device/{device_id}/credentials")).json()
    assert credentials["credentialsId"] == "A1_TEST_TOKEN"
    again = await api.admin.post("/api/device?accessToken=A1_TEST_TOKEN", json={"name": "Pump 2"})
    error = assert_error(again, 400, 31)
    assert "Device credentials are already assigned to another device!" in str(error["message"])
    assert "Pump 1" in str(error["message"])


async def test_body_is_read_whatever_its_content_type(api: Api):
    for number, content_type in enumerate(("text/plain", "application/x-www-form-urlencoded; charset=utf-8")):
        answer = await api.admin.post(
            "/api/device", content=f'{{"name":"Pump {number}"}}', headers={"Content-Type": content_type}
        )
        assert answer.status_code == 200


async def test_type_chooses_or_makes_the_profile(api: Api):
    first = await api.add_device("Pump 1", type="pump")
    second = await api.add_device("Pump 2", deviceProfileId=first["deviceProfileId"], type="ignored")
    assert second["type"] == "pump"
    types = (await api.admin.get("/api/device/types")).json()
    assert sorted(row["type"] for row in types) == ["default", "pump"]
    assert types[0]["tenantId"]["id"] == api.tenant.id


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Device name should be specified!"),
        ({"name": None}, "Device name should be specified!"),
        ({"name": "  "}, "Device name should be specified!"),
        ({"name": "a\0b"}, "Device name should not contain 0x00 symbol!"),
        ({"name": "x" * 256}, "Validation error: name length must be equal or less than 255"),
        ({"name": "x", "label": "y" * 256}, "Validation error: label length must be equal or less than 255"),
        ({"name": "<b>x</b>"}, "Validation error: name is malformed"),
        ({"name": "x", "customerId": {"id": UNKNOWN}}, "Can't assign device to non-existent customer!"),
        (
            {"name": "x", "deviceProfileId": {"id": UNKNOWN}},
            "Device is referencing non existing device profile!",
        ),
        ({"name": "x", "deviceProfileId": {"id": "xyz"}}, "Invalid UUID string: xyz"),
        ({"name": "x", "id": {}}, "Validation error: id.id must not be null"),
    ],
)
async def test_device_that_cannot_be_saved(api: Api, body, message):
    assert_error(await api.admin.post("/api/device", json=body), 400, 31, message)


async def test_name_is_unique_in_the_tenant_only(api: Api):
    await api.add_foreign_device("Pump 1")
    await api.add_device("Pump 1")
    answer = await api.admin.post("/api/device", json={"name": "Pump 1"})
    error = assert_error(answer, 400, 31, "Device with such name already exists!")
    assert error["code"] == "already-exists"


async def test_malformed_json_names_the_place_and_never_the_text(api: Api):
    answer = await api.admin.post(
        "/api/device", content=b'{"name": "secret', headers={"Content-Type": "application/json"}
    )
    error = assert_error(answer, 400, 31)
    assert str(error["message"]).startswith("Malformed JSON request: ")
    assert "secret" not in answer.text


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"x"'])
async def test_body_that_is_no_object(api: Api, content):
    assert_error(await api.admin.post("/api/device", content=content), 400, 31)


async def test_update_replaces_what_is_sent_and_counts_the_version(api: Api):
    device = await api.add_device("Pump 1", label="north", additionalInfo={"a": 1})
    answer = await api.admin.post("/api/device", json={"id": device["id"], "name": "Pump 2"})
    updated = answer.json()
    assert (updated["name"], updated["label"], updated["additionalInfo"]) == ("Pump 2", None, None)
    assert updated["version"] == 2
    assert updated["createdTime"] == device["createdTime"]


async def test_read_modify_write_is_protected_by_the_version(api: Api):
    device = await api.add_device("Pump 1")
    first = await api.admin.post("/api/device", json={**device, "label": "one"})
    assert first.status_code == 200
    second = await api.admin.post("/api/device", json={**device, "label": "two"})
    assert_error(second, 409, 35, "Device was already changed by someone else")


async def test_profile_changes_by_id(api: Api):
    pump = await api.add_device("Pump 1", type="pump")
    device = await api.add_device("Pump 2")
    changed = await api.admin.post("/api/device", json={**device, "deviceProfileId": pump["deviceProfileId"]})
    assert changed.json()["type"] == "pump"


async def test_update_of_an_unknown_or_foreign_device(api: Api):
    foreign = await api.add_foreign_device()
    for device_id in (UNKNOWN, foreign.id):
        answer = await api.admin.post("/api/device", json={"id": {"id": device_id}, "name": "x"})
        assert_error(answer, 404, 32, f"Device with id [{device_id}] is not found")


@pytest.mark.parametrize("path", ["/api/device/xyz", "/api/device/info/xyz", "/api/device/xyz/credentials"])
async def test_id_that_is_no_uuid(api: Api, path):
    assert_error(await api.admin.get(path), 400, 31, "Invalid UUID string: xyz")


async def test_removed_device_is_gone_and_everybody_hears_it(api: Api):
    heard = []
    api.services.bus.subscribe(DeviceRemoved, heard.append)
    device = await api.add_device()
    path = f"/api/device/{device['id']['id']}"
    answer = await api.admin.request("DELETE", path, json={})
    assert (answer.status_code, answer.content) == (200, b"")
    assert_error(await api.admin.get(path), 404, 32)
    assert_error(await api.admin.delete(path), 404, 32)
    assert [message.device_id for message in heard] == [device["id"]["id"]]


async def test_info_says_whether_the_device_is_active(api: Api):
    device = await api.add_device()
    path = f"/api/device/info/{device['id']['id']}"
    info = (await api.admin.get(path)).json()
    assert info == {
        **device,
        "customerTitle": None,
        "customerIsPublic": False,
        "deviceProfileName": "default",
        "active": False,
    }
    api.services.presence.opened(connection_of(api, device), lambda reason: None)
    assert (await api.admin.get(path)).json()["active"] is False  # nothing was heard of it yet
    api.services.device_states.note_activity(device["id"]["id"], api.clock.now_ms())
    assert (await api.admin.get(path)).json()["active"] is True


async def test_device_by_name_on_both_paths(api: Api):
    device = await api.add_device("a b")
    for path in ("/api/tenant/devices", "/api/tenant/device"):
        assert (await api.admin.get(f"{path}?deviceName=a+b")).json() == device
        answer = await api.admin.get(f"{path}?deviceName=A+B")
        assert_error(answer, 404, 32, "Requested item wasn't found!")
    assert_error(await api.admin.get("/api/tenant/device"), 400, 31)


async def test_pages(api: Api):
    names = [f"Pump {number:02}" for number in range(25)]
    for name in names:
        await api.add_device(name)
    query = "/api/tenant/devices?pageSize=10&sortProperty=name"
    assert_page(await api.admin.get(f"{query}&page=0"), names[:10], total=25, pages=3, has_next=True)
    assert_page(await api.admin.get(f"{query}&page=1"), names[10:20], total=25, pages=3, has_next=True)
    assert_page(await api.admin.get(f"{query}&page=2"), names[20:], total=25, pages=3, has_next=False)
    assert_page(await api.admin.get(f"{query}&page=3"), [], total=25, pages=3, has_next=False)
    down = await api.admin.get(f"{query}&page=0&sortOrder=desc")
    assert_page(down, names[:14:-1], total=25, pages=3, has_next=True)
    found = await api.admin.get(f"{query}&page=0&textSearch=PUMP+1")
    assert_page(found, names[10:20], total=10, pages=1, has_next=False)


async def test_empty_page(api: Api):
    answer = await api.admin.get("/api/tenant/devices?pageSize=10&page=0")
    assert answer.json() == {"data": [], "totalPages": 0, "totalElements": 0, "hasNext": False}


async def test_devices_of_other_tenants_are_in_no_list(api: Api):
    await api.add_foreign_device()
    for path in ("/api/tenant/devices", "/api/tenant/deviceInfos"):
        assert_page(await api.admin.get(f"{path}?pageSize=10&page=0"), [], total=0, pages=0, has_next=False)
    assert_error(await api.admin.get("/api/tenant/device?deviceName=Foreign"), 404, 32)


async def test_filters_of_lists(api: Api):
    for number in range(3):
        await api.add_device(f"Pump {number}", type="pump")
    fan = await api.add_device("Fan", type="fan")
    infos = "/api/tenant/deviceInfos?pageSize=2&page=0&sortProperty=name"
    assert_page(
        await api.admin.get(f"{infos}&type=pump"), ["Pump 0", "Pump 1"], total=3, pages=2, has_next=True
    )
    profile_id = fan["deviceProfileId"]["id"]
    answer = await api.admin.get(f"{infos}&deviceProfileId={profile_id}")
    assert_page(answer, ["Fan"], total=1, pages=1, has_next=False)
    api.services.device_states.note_activity(fan["id"]["id"], api.clock.now_ms())
    active = await api.admin.get(f"{infos}&active=True")
    assert_page(active, ["Fan"], total=1, pages=1, has_next=False)
    assert active.json()["data"][0]["active"] is True
    assert (await api.admin.get(f"{infos}&active=false")).json()["totalElements"] == 3
    devices = await api.admin.get("/api/tenant/devices?pageSize=10&page=0&type=none")
    assert_page(devices, [], total=0, pages=0, has_next=False)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("page=0", "Required request parameter 'pageSize' for method parameter type int is not present"),
        ("pageSize=1", "Required request parameter 'page' for method parameter type int is not present"),
        (
            "pageSize=0&page=0",
            "Incorrect page link page size '0'. Page size must be greater than zero.",
        ),
        ("pageSize=1&page=-1", "Incorrect page link page '-1'. Page must be positive integer."),
        (
            "pageSize=1&page=0&sortProperty=name&sortOrder=up",
            "Unsupported sort order 'UP'! Only 'ASC' or 'DESC' types are allowed.",
        ),
        ("pageSize=1&page=0&sortProperty=na me", "Invalid sort property"),
        ("pageSize=1&page=0&sortProperty=unknown", "Invalid sort property"),
        ("pageSize=1000000&page=0", None),
        ("pageSize=x&page=0", None),
    ],
)
async def test_page_that_cannot_be(api: Api, query, message):
    for path in ("/api/tenant/devices", "/api/tenant/deviceInfos"):
        assert_error(await api.admin.get(f"{path}?{query}"), 400, 31, message)


async def test_sort_order_without_a_property_is_ignored(api: Api):
    assert (await api.admin.get("/api/tenant/devices?pageSize=1&page=0&sortOrder=up")).status_code == 200
