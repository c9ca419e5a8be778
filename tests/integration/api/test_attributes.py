"""Attributes: scopes, the three paths for saving, reading (rest-api reference 5)."""

from __future__ import annotations

import pytest

from tests.integration.api.assertions import assert_error, assert_plain
from tests.integration.api.conftest import Api
from thingpass.bus.messages import SharedAttributesChanged

ROOT = "/api/plugins/telemetry"


@pytest.fixture
async def device_id(api: Api) -> str:
    return str((await api.add_device())["id"]["id"])


def paths(device_id: str, scope: str) -> list[str]:
    entity = f"{ROOT}/DEVICE/{device_id}"
    return [f"{entity}/attributes/{scope}", f"{entity}/{scope}", f"{ROOT}/{device_id}/{scope}"]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("scope", ["SERVER_SCOPE", "SHARED_SCOPE"])
async def test_saved_by_each_path(api: Api, device_id, which, scope):
    heard = []
    api.services.bus.subscribe(SharedAttributesChanged, heard.append)
    body = {"serial": "S1", "on": True, "limit": 5, "ratio": 1.5, "cfg": {"a": 1}}
    answer = await api.admin.post(paths(device_id, scope)[which], json=body)
    assert (answer.status_code, answer.content) == (200, b"")
    read = await api.admin.get(f"{ROOT}/DEVICE/{device_id}/values/attributes/{scope}")
    now = api.clock.now_ms()
    assert sorted(read.json(), key=lambda row: row["key"]) == [
        {"lastUpdateTs": now, "key": key, "value": body[key]} for key in sorted(body)
    ]
    assert [set(message.keys) for message in heard] == ([set(body)] if scope == "SHARED_SCOPE" else [])


async def test_scopes_are_apart_and_read_together(api: Api, device_id):
    entity = f"{ROOT}/DEVICE/{device_id}"
    for scope, value in (("SERVER_SCOPE", 1), ("SHARED_SCOPE", 2)):
        await api.admin.post(f"{entity}/{scope}", json={"a": value, scope: True})
    await api.services.attributes.save(device_id, "CLIENT_SCOPE", {"a": 3})
    all_values = (await api.admin.get(f"{entity}/values/attributes?keys=a")).json()
    assert sorted(row["value"] for row in all_values) == [1, 2, 3]
    one = (await api.admin.get(f"{entity}/values/attributes/SHARED_SCOPE?keys=a,none")).json()
    assert [row["value"] for row in one] == [2]
    keys = (await api.admin.get(f"{entity}/keys/attributes")).json()
    assert sorted(keys) == ["SERVER_SCOPE", "SHARED_SCOPE", "a", "a", "a"]
    assert (await api.admin.get(f"{entity}/keys/attributes/CLIENT_SCOPE")).json() == ["a"]


async def test_only_the_device_writes_its_client_scope(api: Api, device_id):
    for path in paths(device_id, "CLIENT_SCOPE"):
        answer = await api.admin.post(path, json={"a": 1})
        assert_plain(answer, 400, "Invalid scope: CLIENT_SCOPE Only the device writes there.")


async def test_unknown_scope_gets_the_error_object(api: Api, device_id):
    for path in paths(device_id, "MY_SCOPE"):
        assert_error(await api.admin.post(path, json={"a": 1}), 400, 31)
    assert_error(await api.admin.get(f"{ROOT}/DEVICE/{device_id}/values/attributes/MY_SCOPE"), 400, 31)


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"", "No attributes data found in request body!"),
        (b"{}", "No attributes data found in request body!"),
        (b"{", "Invalid JSON: "),
        (b"[]", "Invalid JSON: "),
        (b"5", "Invalid JSON: "),
        (b'{" ":1}', "Key cannot be blank"),
    ],
)
async def test_body_that_cannot_be_saved(api: Api, device_id, content, start):
    answer = await api.admin.post(paths(device_id, "SERVER_SCOPE")[0], content=content)
    assert answer.status_code == 400
    assert answer.text.startswith(start)
    assert (await api.admin.get(f"{ROOT}/DEVICE/{device_id}/values/attributes")).json() == []


@pytest.mark.parametrize("scope", ["CLIENT_SCOPE", "SERVER_SCOPE", "SHARED_SCOPE"])
async def test_removed_from_any_scope(api: Api, device_id, scope):
    await api.services.attributes.save(device_id, scope, {"a": 1, "b,c": 2, "d": 3, "e": 4})
    heard = []
    api.services.bus.subscribe(SharedAttributesChanged, heard.append)
    answer = await api.admin.delete(f"{ROOT}/DEVICE/{device_id}/{scope}?keys=a,absent")
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await api.admin.delete(f"{ROOT}/{device_id}/{scope}?key=b,c&key=d")
    assert (answer.status_code, answer.content) == (200, b"")
    left = await api.admin.get(f"{ROOT}/DEVICE/{device_id}/keys/attributes/{scope}")
    assert left.json() == ["e"]
    told = [("a", "absent"), ("b,c", "d")] if scope == "SHARED_SCOPE" else []
    assert [message.keys for message in heard] == told


async def test_removing_needs_keys_a_scope_and_an_own_device(api: Api, device_id):
    path = f"{ROOT}/DEVICE/{device_id}/SHARED_SCOPE"
    for query in ("", "?keys=", "?keys=,"):
        answer = await api.admin.delete(path + query)
        assert_plain(answer, 400, "Empty keys: [] Name them in ?keys=, separated by commas.")
    assert_error(await api.admin.delete(f"{ROOT}/DEVICE/{device_id}/MY_SCOPE?keys=a"), 400, 31)
    foreign = await api.add_foreign_device()
    for other in (f"{ROOT}/DEVICE/{foreign.id}", f"{ROOT}/{foreign.id}"):
        answer = await api.admin.delete(f"{other}/SHARED_SCOPE?keys=a")
        assert_plain(answer, 404, "Device with requested id wasn't found!")
