"""Calls to devices by REST, as far as no device is needed (rest-api reference 6)."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.api.assertions import assert_error, assert_plain
from tests.integration.api.conftest import Api
from thingpass.messaging.kept_calls import NewKeptCall
from thingpass.messaging.listeners import Delivery, ReportDelivery, RpcRequest

SOME_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
PATHS = ("/api/rpc/oneway", "/api/rpc/twoway", "/api/plugins/rpc/oneway", "/api/plugins/rpc/twoway")


class Device:
    """Takes every call, and answers `reply`."""

    def __init__(self, api: Api, device_id: str, reply: bytes = b'"done"') -> None:
        self.api, self.device_id, self.reply = api, device_id, reply
        self.requests: list[RpcRequest] = []
        api.services.rpc.listen(device_id, self)

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        self.requests.append(request)
        report(Delivery.SENT)
        report(Delivery.DELIVERED)
        if not request.oneway:
            self.api.services.rpc.answered_at_once(self.device_id, request.id, self.reply)
        return True


@pytest.fixture
async def device_id(api: Api) -> str:
    return str((await api.add_device())["id"]["id"])


@pytest.mark.parametrize("path", PATHS)
async def test_call_reaches_the_device_as_it_was_written(api: Api, device_id: str, path: str) -> None:
    device = Device(api, device_id)
    answer = await api.admin.post(f"{path}/{device_id}", content=b'{"method":"m","params":{"a": 1.50}}')
    assert answer.status_code == 200
    assert answer.content == (b"" if "oneway" in path else b'"done"')
    (request,) = device.requests
    assert (request.method, request.params_json) == ("m", '{"a": 1.50}')
    assert request.oneway == ("oneway" in path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"{}",
        b'{"method":5}',
        b'{"method":null}',
        b'{"method":" "}',
        b'{"method":"m","timeout":"soon"}',
        b'{"method":"m","requestUUID":"x"}',
        b'{"method":"' + b"x" * 256 + b'"}',
        b"\xff",
    ],
)
async def test_what_is_no_call_gets_the_error_object(api: Api, device_id: str, content: bytes) -> None:
    for path in PATHS:
        error = assert_error(await api.admin.post(f"{path}/{device_id}", content=content), 400, 31)
        assert str(error["message"]).startswith("Invalid request body")


@pytest.mark.parametrize(
    ("members", "start"),
    [
        ({"timeout": 3_600_001}, "Nobody waits longer than 3600000 ms"),
        ({"params": "x" * 65_536}, "The call's params have 65538 bytes"),
        ({"persistent": True, "retries": -1}, "retries is -1"),
        ({"persistent": True, "expirationTime": -1}, "expirationTime is no time"),
        ({"persistent": True, "timeout": 1e300}, "timeout is out of range"),
    ],
)
async def test_what_cannot_be_called_is_said(api: Api, device_id: str, members: object, start: str) -> None:
    answer = await api.admin.post(f"{PATHS[1]}/{device_id}", json={"method": "m", **members})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert answer.text.startswith(start)


async def test_a_text_that_holds_the_call_is_read(api: Api, device_id: str) -> None:
    """ThingsBoard's client encodes a `str` body a second time."""
    Device(api, device_id)
    answer = await api.admin.post(f"{PATHS[1]}/{device_id}", json=json.dumps({"method": "m"}))
    assert answer.json() == "done"


async def test_unknown_and_foreign_devices_answer_the_same(api: Api) -> None:
    foreign = await api.add_foreign_device()
    Device(api, foreign.id)
    for path in PATHS:
        for device_id in (SOME_ID, foreign.id):
            answer = await api.admin.post(f"{path}/{device_id}", json={"method": "m"})
            assert_plain(answer, 404, "Device with requested id wasn't found!")


@pytest.mark.parametrize(("reply", "status"), [(b"", 200), (b"NaN", 406), (b"\xff", 406), (b" [1] ", 200)])
async def test_reply_must_be_json(api: Api, device_id: str, reply: bytes, status: int) -> None:
    Device(api, device_id, reply)
    answer = await api.admin.post(f"{PATHS[1]}/{device_id}", json={"method": "m"})
    assert answer.status_code == status
    assert status != 200 or answer.content == reply


async def test_no_more_than_the_bound_wait_for_a_device(api: Api, device_id: str) -> None:
    tasks = [
        asyncio.create_task(api.admin.post(f"{PATHS[1]}/{device_id}", json={"method": "m"}))
        for _ in range(101)
    ]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in done] == [503]
    api.services.rpc.stop_waiting()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {503}


async def keep(api: Api, device_id: str, path: str = PATHS[1], **members: object) -> str:
    body = {"method": "m", "params": {"a": 1}, "persistent": True, "timeout": 60_000, **members}
    answer = await api.admin.post(f"{path}/{device_id}", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["rpcId"])


async def test_kept_call_has_thingsboards_shape(api: Api, device_id: str) -> None:
    rpc_id = await keep(api, device_id, requestUUID=SOME_ID, additionalInfo={"b": 2}, retries=3)
    assert rpc_id == SOME_ID
    now = api.clock.now_ms()
    tenant = {"entityType": "TENANT", "id": api.tenant.id}
    device = {"entityType": "DEVICE", "id": device_id}
    answer = await api.admin.get(f"/api/rpc/persistent/{rpc_id}")
    assert answer.json() == {
        "id": {"entityType": "RPC", "id": rpc_id},
        "createdTime": now,
        "tenantId": tenant,
        "deviceId": device,
        "expirationTime": now + 60_000,
        "request": {
            "id": rpc_id,
            "tenantId": tenant,
            "deviceId": device,
            "oneway": False,
            "expirationTime": now + 60_000,
            "body": {"method": "m", "params": '{"a":1}'},
            "persisted": True,
            "retries": 3,
            "additionalInfo": '{"b":2}',
        },
        "response": None,
        "status": "QUEUED",
        "additionalInfo": {"b": 2},
    }
    again = await api.admin.post(
        f"{PATHS[1]}/{device_id}", json={"method": "m", "persistent": True, "requestUUID": rpc_id}
    )
    assert_plain(again, 400, "A call with this id exists already.")


async def test_kept_calls_come_in_pages(api: Api, device_id: str) -> None:
    ids = []
    for _ in range(3):
        ids.append(await keep(api, device_id))
        api.clock.advance(1)
    path = f"/api/rpc/persistent/device/{device_id}"

    async def page(**query: object) -> tuple[list[str], int, bool]:
        answer = await api.admin.get(path, params={"pageSize": 2, "page": 0, **query})  # type: ignore[dict-item]
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return [row["id"]["id"] for row in body["data"]], body["totalElements"], body["hasNext"]

    assert await page() == (ids[:0:-1], 3, True)
    assert await page(page=1) == ([ids[0]], 3, False)
    assert await page(sortProperty="createdTime", sortOrder="ASC") == (ids[:2], 3, True)
    assert await page(rpcStatus="QUEUED") == (ids[:0:-1], 3, True)
    assert await page(rpcStatus="FAILED") == ([], 0, False)
    api.clock.advance(57.5)
    assert await page(rpcStatus="EXPIRED") == ([ids[0]], 1, False)
    assert_error(
        await api.admin.get(path, params={"pageSize": 2, "page": 0, "rpcStatus": "DELETED"}), 400, 31
    )
    assert_error(await api.admin.get(path, params={"pageSize": 2, "page": 0, "rpcStatus": "LOST"}), 400, 31)
    assert_error(await api.admin.get(path), 400, 31)


async def test_other_tenants_calls_answer_as_unknown_ones(api: Api) -> None:
    foreign = await api.add_foreign_device()
    row = await api.services.rpc.call_and_keep(
        NewKeptCall(
            id=SOME_ID,
            tenant_id=api.other_tenant.id,
            device_id=foreign.id,
            method="m",
            params_json="null",
            oneway=True,
            expires_at_ms=api.clock.now_ms() + 60_000,
            retries=1,
        )
    )
    unknown = "784f394c-42b6-435a-983c-b7beff278400"
    for rpc_id in (row.id, unknown):
        path = f"/api/rpc/persistent/{rpc_id}"
        assert_error(await api.admin.get(path), 404, 32, "Requested item wasn't found!")
        assert_error(await api.admin.delete(path), 404, 32, "Requested item wasn't found!")
    lists = f"/api/rpc/persistent/device/{foreign.id}?pageSize=1&page=0"
    assert_error(await api.admin.get(lists), 404, 32)
    assert await api.services.store.find_rpc_call(row.id) == row
