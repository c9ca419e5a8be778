"""Every place of an id, in paths, queries and bodies that are valid otherwise, asked with another tenant's.

The answer must be that to an id that nobody has, to the letter; and lists and counts know nothing of it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from tests.integration.api.conftest import Api, administrator
from tests.integration.api.test_authorization import SOME_ID
from thingpass.api.authorization import RULES, Role
from thingpass.store.rows import RpcCall

PAGE = {"pageSize": "10", "page": "0"}
BODY_OF_PATH = {"a": 1, "method": "m", "params": {}, "name": "x"}
JSON = {"Content-Type": "application/json"}
KINDS = {
    "deviceId": "device",
    "entityId": "device",
    "customerId": "customer",
    "userId": "user",
    "deviceProfileId": "profile",
    "otaPackageId": "package",
    "rpcId": "rpc",
}
OTHERS = {
    "entityType": "DEVICE",
    "scope": "SERVER_SCOPE",
    "ttl": "1",
    "type": "FIRMWARE",
    "ownerType": "CUSTOMER",
    "deviceName": "Foreign device",
    "protocol": "mqtts",
}


def reference(kind: str, entity_id: str) -> dict[str, str]:
    return {"entityType": kind, "id": entity_id}


@pytest.fixture
async def foreign(api: Api) -> AsyncIterator[dict[str, str]]:
    """The ids of one thing of each kind, made by the other tenant's administrator."""
    user = administrator(api.other_tenant.id, api.clock.now_ms())
    user = msgspec.structs.replace(user, email="admin@other.example")
    await api.services.store.add_user(user)
    pair = await api.application.state.authentication.begin_session(user)
    async with api.client(X_Authorization=f"Bearer {pair.access}") as client:

        async def make(path: str, body: dict[str, object]) -> str:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"]["id"])

        profile = (await client.get("/api/deviceProfileInfo/default")).json()["id"]
        made = {
            "user": user.id,
            "profile": profile["id"],
            "customer": await make("/api/customer", {"title": "Foreign customer"}),
            "device": await make("/api/device", {"name": "Foreign device"}),
            "package": await make(
                "/api/otaPackage",
                {
                    "title": "Foreign package",
                    "version": "1",
                    "type": "FIRMWARE",
                    "deviceProfileId": profile,
                    "usesUrl": True,
                    "url": "http://example.org/x",
                },
            ),
            "rpc": str(uuid.uuid4()),
        }
        call = RpcCall(
            id=made["rpc"],
            tenant_id=api.other_tenant.id,
            device_id=made["device"],
            created_at_ms=1,
            expires_at_ms=2**50,
            request_id=1,
            oneway=True,
            method="m",
            params_json="1",
            retries=0,
        )
        await api.services.store.add_rpc_call(call, most_live=9)
        before = await everything_of(client)
        yield made
        assert await everything_of(client) == before, "something of the other tenant was changed"


async def everything_of(client: httpx.AsyncClient) -> list[object]:
    paths = ("tenant/devices", "customers", "users", "deviceProfiles", "otaPackages")
    return [(await client.get(f"/api/{path}", params=PAGE)).json() for path in paths]


def same_answer(answers: list[httpx.Response], foreign_id: str) -> bool:
    texts = [answer.text.replace(foreign_id, SOME_ID) for answer in answers]
    return answers[0].status_code == answers[1].status_code and texts[0] == texts[1]


async def test_in_paths(api: Api, foreign: dict[str, str]) -> None:
    asked = 0
    for rule in RULES:
        places = [name for name in re.findall(r"\{(\w+)\}", rule.path) if name in KINDS or name == "ownerId"]
        if not places or rule.role in (Role.ANYBODY, Role.CUSTOMER):
            continue
        for place in places:
            foreign_id = foreign[KINDS.get(place, "customer")]
            own = {"deviceId": str((await api.add_device(f"Own {asked}"))["id"]["id"])}  # type: ignore[index]
            answers = []
            for entity_id in (foreign_id, SOME_ID):
                values = {**dict.fromkeys([*KINDS, "ownerId"], SOME_ID), **OTHERS, **own, place: entity_id}
                path = re.sub(r"\{(\w+)\}", lambda found, values=values: values[found[1]], rule.path)
                query = {**PAGE, "startTs": "0", "endTs": "1", "keys": "a"}
                content = None if rule.method == "GET" else json.dumps(BODY_OF_PATH)
                answers.append(
                    await api.admin.request(rule.method, path, params=query, content=content, headers=JSON)
                )
            assert same_answer(answers, foreign_id), (rule, place, [answer.text for answer in answers])
            assert answers[0].status_code != 500
            asked += 1
    assert asked > 50


async def test_in_bodies_and_queries(api: Api, foreign: dict[str, str]) -> None:
    device = await api.add_device("Own")
    credentials = (await api.admin.get(f"/api/device/{device['id']['id']}/credentials")).json()  # type: ignore[index]
    profile = {"name": "p", "type": "DEFAULT", "transportType": "DEFAULT", "profileData": {}}
    own_profile = device["deviceProfileId"]["id"]  # type: ignore[index]
    clerk = {"email": "clerk@x.example", "authority": "CUSTOMER_USER"}
    package = {"title": "t", "version": "1", "type": "FIRMWARE", "usesUrl": True, "url": "http://x.example"}
    assignment = "/api/v2/ota/assignment"
    mail = "/api/user?sendActivationMail=false"
    device_id, customer, user = (
        reference("DEVICE", "ID"),
        reference("CUSTOMER", "ID"),
        reference("USER", "ID"),
    )
    profile_id, package_id = reference("DEVICE_PROFILE", "ID"), reference("OTA_PACKAGE", "ID")
    for kind, path, body in (
        ("device", "/api/device", {"name": "n", "id": device_id}),
        ("profile", "/api/device", {"name": "n", "deviceProfileId": profile_id}),
        ("customer", "/api/device", {"name": "n", "customerId": customer}),
        ("package", "/api/device", {"name": "n", "firmwareId": package_id}),
        ("package", "/api/device", {**device, "softwareId": package_id}),
        ("profile", "/api/device", {**device, "deviceProfileId": profile_id}),
        ("customer", "/api/device", {**device, "customerId": customer}),
        ("device", "/api/device/credentials", {**credentials, "deviceId": device_id}),
        ("profile", "/api/deviceProfile", {**profile, "id": profile_id}),
        ("package", "/api/deviceProfile", {**profile, "firmwareId": package_id}),
        ("customer", "/api/customer", {"title": "t", "id": customer}),
        ("user", mail, {**clerk, "id": user}),
        ("customer", mail, {**clerk, "customerId": customer}),
        ("package", "/api/otaPackage", {**package, "id": package_id}),
        ("profile", "/api/otaPackage", {**package, "deviceProfileId": profile_id}),
        ("device", assignment, {"type": "FIRMWARE", "deviceId": "ID"}),
        ("profile", assignment, {"type": "FIRMWARE", "deviceProfileId": "ID"}),
        ("package", assignment, {"type": "FIRMWARE", "deviceProfileId": own_profile, "packageId": "ID"}),
    ):
        text = json.dumps(body)
        answers = [
            await api.admin.post(path, content=text.replace('"ID"', f'"{entity_id}"'), headers=JSON)
            for entity_id in (foreign[kind], SOME_ID)
        ]
        assert same_answer(answers, foreign[kind]), (kind, path, [answer.text for answer in answers])
        assert 400 <= answers[0].status_code < 500, (kind, path, answers[0].text)
    for kind, path, name in (
        ("device", "/api/v2/refusals", "deviceId"),
        ("device", "/api/v2/connections", "deviceId"),
        ("device", "/api/v2/ota/states", "deviceId"),
        ("profile", "/api/v2/ota/states", "deviceProfileId"),
        ("package", "/api/v2/ota/states", "packageId"),
        ("profile", "/api/tenant/deviceInfos", "deviceProfileId"),
        ("profile", "/api/deviceProfile/devices/keys/timeseries", "deviceProfileId"),
        ("profile", "/api/deviceProfile/devices/keys/attributes", "deviceProfileId"),
        ("profile", "/api/deviceProfileInfos/list", "deviceProfileIds"),
        ("customer", "/api/customers/list", "customerIds"),
    ):
        answers = [await api.admin.get(path, params={**PAGE, name: id_}) for id_ in (foreign[kind], SOME_ID)]
        assert same_answer(answers, foreign[kind]), (kind, path, [answer.text for answer in answers])


async def test_lists_know_nothing_of_it(api: Api, foreign: dict[str, str]) -> None:
    for rule in RULES:
        if rule.method != "GET" or "{" in rule.path or rule.role is Role.ANYBODY:
            continue
        answer = await api.admin.get(rule.path, params={**PAGE, "deviceName": "Foreign device"})
        assert "Foreign" not in answer.text, rule
        assert not [entity_id for entity_id in foreign.values() if entity_id in answer.text], rule
