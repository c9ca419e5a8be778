"""Events of a device over REST: pages, payloads, whose they are."""

from __future__ import annotations

import pytest

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import Api
from thingpass.devices.event_kinds import CONNECTED, WILL


async def record(api: Api, device_id: str, count: int) -> None:
    for number in range(count):
        api.services.device_events.record(device_id, CONNECTED, str(number), {"peerPort": number})
    await api.services.device_events.flush()


def path(device_id: str) -> str:
    return f"/api/v2/devices/{device_id}/events"


async def test_pages_go_back_in_time(api: Api):
    device_id = str((await api.add_device())["id"]["id"])
    await record(api, device_id, 5)
    sentences, before, more = [], None, True
    while more:
        parameters = {"limit": 2} if before is None else {"limit": 2, "before": before}
        page = (await api.admin.get(path(device_id), params=parameters)).json()
        sentences += [event["sentence"] for event in page["data"]]
        before, more = page["data"][-1]["id"], page["hasNext"]
    assert sentences == ["4", "3", "2", "1", "0"]


async def test_event_has_all_its_members(api: Api):
    device_id = str((await api.add_device())["id"]["id"])
    await record(api, device_id, 1)
    (event,) = (await api.admin.get(path(device_id))).json()["data"]
    assert event == {
        "id": event["id"],
        "atMs": api.clock.now_ms(),
        "kind": "connected",
        "sentence": "0",
        "details": {"peerPort": 0},
        "payload": None,
        "payloadBase64": None,
    }


@pytest.mark.parametrize(
    ("payload", "text", "encoded"),
    [("süß".encode(), "süß", None), (b"\xff\x00", None, "/wA="), (b"", "", None)],
)
async def test_payload_is_text_where_it_is_text(api: Api, payload, text, encoded):
    device_id = str((await api.add_device())["id"]["id"])
    api.services.device_events.record(device_id, WILL, "Gone.", payload=payload)
    await api.services.device_events.flush()
    (event,) = (await api.admin.get(path(device_id), params={"kind": "will"})).json()["data"]
    assert (event["payload"], event["payloadBase64"]) == (text, encoded)
    assert (await api.admin.get(path(device_id), params={"kind": "connected"})).json()["data"] == []


async def test_events_of_another_tenants_device_are_those_of_an_unknown_one(api: Api):
    foreign = await api.add_foreign_device()
    await record(api, foreign.id, 1)
    assert_error(await api.admin.get(path(foreign.id)), 404, 32)
    assert_error(await api.admin.get(path("00000000-0000-4000-8000-000000000000")), 404, 32)


@pytest.mark.parametrize(
    "query",
    ["kind=nonsense", "limit=0", "limit=1001", "before=0", "before=9223372036854775808", "startTs=-1"],
)
async def test_questions_that_make_no_sense_are_refused(api: Api, query: str):
    device_id = str((await api.add_device())["id"]["id"])
    assert_error(await api.admin.get(f"{path(device_id)}?{query}"), 400, 31)
