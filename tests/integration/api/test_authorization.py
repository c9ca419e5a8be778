"""Every route asked as nobody, as a system administrator, and with a body that nobody may make us read."""

from __future__ import annotations

import re

import msgspec
import pytest
from fastapi.routing import APIRoute

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import ADMINISTRATOR, Api
from thingpass.api.application import ROUTERS
from thingpass.api.authorization import RULES, Role, plain_path, role_of

SOME_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
VALUES = {
    "entityType": "DEVICE",
    "entityId": SOME_ID,
    "deviceId": SOME_ID,
    "deviceProfileId": SOME_ID,
    "customerId": SOME_ID,
    "ownerId": SOME_ID,
    "ownerType": "CUSTOMER",
    "userId": SOME_ID,
    "protocol": "mqtts",
}


def concrete(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: VALUES.get(found[1], "SERVER_SCOPE"), path)


def test_every_route_has_one_row_and_every_row_a_route():
    routes = {
        (method, plain_path(route.path))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert {(rule.method, rule.path) for rule in RULES} == routes
    assert len(RULES) == len(routes)


def test_route_without_a_row_cannot_be_made():
    with pytest.raises(KeyError):
        role_of("GET", "/api/new")


def test_only_these_routes_are_for_anybody():
    assert {rule.path for rule in RULES if rule.role is Role.ANYBODY} == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/api/auth/login",
        "/api/auth/token",
        "/api/noauth/activate",
        "/api/device-connectivity/{protocol}/certificate/download",
    }


async def test_nobody(api: Api):
    for rule in RULES:
        answer = await api.nobody.request(rule.method, concrete(rule.path))
        if rule.path.startswith("/api/auth/") and rule.role is Role.ANYBODY:
            assert answer.status_code == 401, rule  # reached, and found nothing to log in with
        elif rule.path == "/api/noauth/activate" and rule.method == "POST":
            assert answer.status_code == 400, rule  # reached, and found no token
        elif rule.role is Role.ANYBODY:
            assert answer.status_code == 200, rule
        else:
            assert_error(answer, 401, 10, "Authentication failed")


async def test_caller_is_known_before_the_body_is_read(api: Api):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    for rule in RULES:
        if rule.role is not Role.ANYBODY:
            headers = {"Content-Type": "application/json"}
            path = concrete(rule.path)
            answer = await api.nobody.request(rule.method, path, content=body(), headers=headers)
            assert answer.status_code == 401, rule


@pytest.mark.parametrize("authority", ["SYS_ADMIN", "CUSTOMER_USER"])
async def test_other_authorities(api: Api, authority: str):
    user = await api.services.store.find_user_by_email(ADMINISTRATOR)
    assert user is not None
    pair = await api.application.state.authentication.begin_session(user)
    # What counts is the authority now, not the one in the token.
    await api.services.store.remove_user(user.id, never_the_last="NOBODY")
    await api.services.store.add_user(msgspec.structs.replace(user, authority=authority))
    headers = {"X-Authorization": f"Bearer {pair.access}"}
    for rule in RULES:
        if not rule.role.is_for(authority):
            answer = await api.nobody.request(rule.method, concrete(rule.path), headers=headers)
            assert_error(answer, 403, 20, "You don't have permission to perform this operation!")


async def test_device_of_another_tenant_is_not_found(api: Api):
    foreign = await api.add_foreign_device()
    for rule in RULES:
        if "{deviceId}" not in rule.path and "{entityId}" not in rule.path:
            continue
        query = {"startTs": "0", "endTs": "1"} if rule.path.endswith("history") else {}
        texts = []
        for device_id in (foreign.id, SOME_ID):
            path = concrete(rule.path).replace(SOME_ID, device_id)
            answer = await api.admin.request(rule.method, path, params=query, content=b'{"a":1}')
            assert answer.status_code == 404, rule
            texts.append(answer.text.replace(device_id, "ID"))
        assert texts[0] == texts[1], rule
    assert await api.services.store.find_device(foreign.id) is not None
