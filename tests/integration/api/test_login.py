"""Logging in and out, tokens and the local secret (rest-api reference 2)."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import ADMINISTRATOR, PASSWORD, Api
from thingpass.api.login_attempts import FAILURES_PER_ACCOUNT
from thingpass.api.tokens import LEEWAY_S

LOGIN = {"username": ADMINISTRATOR, "password": PASSWORD}


async def test_login_gives_a_pair_that_works_in_both_headers(api: Api, tokens):
    assert set(tokens) == {"token", "refreshToken"}
    for headers in (
        {"X-Authorization": f"Bearer {tokens['token']}"},
        {"Authorization": f"Bearer {tokens['token']}"},
        {"X-Authorization": "", "Authorization": f"Bearer {tokens['token']}"},
        {"X-Authorization": tokens["token"]},
    ):
        answer = await api.nobody.get("/api/auth/user", headers=headers)
        assert answer.status_code == 200, headers
        assert answer.json()["email"] == ADMINISTRATOR


async def test_user_has_what_clients_insist_on(api: Api, user):
    body = (await user.get("/api/auth/user")).json()
    assert body["authority"] == "TENANT_ADMIN"
    assert body["name"] == body["email"] == ADMINISTRATOR
    assert body["tenantId"] == {"entityType": "TENANT", "id": api.tenant.id}
    assert body["customerId"]["id"] == "13814000-1dd2-11b2-8080-808080808080"
    assert "password" not in str(body).lower()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"username":"admin@thingpass.local"}',
        b'{"username":" ","password":"x"}',
        b'{"username":"admin@thingpass.local","password":""}',
        b'{"username":1,"password":2}',
        b"\xff\xfe",
    ],
)
async def test_broken_login_is_401_with_json(api: Api, content):
    answer = await api.nobody.post("/api/auth/login", content=content)
    assert_error(answer, 401, 10, "Authentication failed")


async def test_wrong_password_and_unknown_name_answer_the_same(api: Api):
    for body in ({**LOGIN, "password": "wrong"}, {**LOGIN, "username": "who@example.org"}):
        answer = await api.nobody.post("/api/auth/login", json=body)
        assert_error(answer, 401, 10, "Invalid username or password")
        assert "WWW-Authenticate" in answer.headers
    assert api.services.counters.logins_failed == 2


async def test_login_accepts_what_curl_sends_without_a_content_type(api: Api):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api.nobody.post(
        "/api/auth/login",
        content=f'{{"username":"{ADMINISTRATOR}","password":"{PASSWORD}"}}',
        headers=form,
    )
    assert answer.status_code == 200


async def test_too_many_attempts_are_held_up_with_the_time_to_wait(api: Api, monkeypatch):
    async def refuse(email: str, password: str) -> None:
        from thingpass.errors import Unauthenticated

        raise Unauthenticated("Invalid username or password")

    monkeypatch.setattr(api.services.users, "authenticate", refuse)  # 10 real ones take seconds
    for number in range(FAILURES_PER_ACCOUNT):
        async with api.client(f"192.0.2.{number}") as client:
            assert_error(await client.post("/api/auth/login", json=LOGIN), 401, 10)
    answer = await api.nobody.post("/api/auth/login", json=LOGIN)
    assert_error(answer, 429, 33)
    assert 0 < int(answer.headers["Retry-After"]) <= 301


async def test_addresses_of_one_ipv6_network_count_together(api: Api):
    for number in range(30):
        api.application.state.login_attempts.begin(f"user-{number}", "2001:db8::/64")
    async with api.client("2001:db8::abcd") as client:
        assert_error(await client.post("/api/auth/login", json=LOGIN), 429, 33)


async def test_access_token_expires(api: Api, user, clock):
    clock.advance(9_000 + LEEWAY_S)
    assert_error(await user.get("/api/auth/user"), 401, 11, "Token has expired")


async def test_refresh_token_gives_a_new_pair(api: Api, tokens, clock):
    clock.advance(9_100)
    renewed = await api.nobody.post("/api/auth/token", json={"refreshToken": tokens["refreshToken"]})
    assert renewed.status_code == 200
    assert renewed.json()["token"] != tokens["token"]
    headers = {"X-Authorization": f"Bearer {renewed.json()['token']}"}
    assert (await api.nobody.get("/api/auth/user", headers=headers)).status_code == 200


async def test_refresh_token_expires(api: Api, tokens, clock):
    clock.advance(604_800 + LEEWAY_S)
    answer = await api.nobody.post("/api/auth/token", json={"refreshToken": tokens["refreshToken"]})
    assert_error(answer, 401, 11, "Token has expired")


async def test_tokens_do_not_stand_in_for_each_other(api: Api, tokens):
    answer = await api.nobody.get(
        "/api/auth/user", headers={"X-Authorization": f"Bearer {tokens['refreshToken']}"}
    )
    assert_error(answer, 401, 10)
    answer = await api.nobody.post("/api/auth/token", json={"refreshToken": tokens["token"]})
    assert_error(answer, 401, 10)


@pytest.mark.parametrize("body", [{}, {"refreshToken": None}, {"refreshToken": ""}, {"refreshToken": 5}, []])
async def test_refresh_without_a_token_fails(api: Api, body):
    assert_error(await api.nobody.post("/api/auth/token", json=body), 401, 10, "Authentication failed")


@pytest.mark.parametrize(
    ("credential", "error_code"),
    [
        ("Bearer abc", 10),
        ("Bearer a.b.c", 10),
        ("Bearer ", 10),
        ("bearer x.y.z", 10),
        ("Basic YTpi", 10),
        ("ApiKey tb_x", 10),
        ("Local wrong", 10),
        ("Local ", 10),
        ("Local \xff", 10),
    ],
)
async def test_what_proves_nothing_is_401(api: Api, credential, error_code):
    headers = {"X-Authorization": credential.encode("latin-1")}
    async with api.client("127.0.0.1") as client:
        assert_error(await client.get("/api/auth/user", headers=headers), 401, error_code)


async def test_logout_ends_the_session_with_all_its_tokens(api: Api, user, tokens):
    renewed = (await api.nobody.post("/api/auth/token", json={"refreshToken": tokens["refreshToken"]})).json()
    answer = await user.post("/api/auth/logout", json={})
    assert (answer.status_code, answer.content) == (200, b"")
    assert_error(await user.get("/api/auth/user"), 401, 11, "Token has expired")
    for refresh_token in (tokens["refreshToken"], renewed["refreshToken"]):
        answer = await api.nobody.post("/api/auth/token", json={"refreshToken": refresh_token})
        assert_error(answer, 401, 10, "Token is outdated")


async def test_logout_leaves_other_sessions_alone(api: Api, user):
    again = (await api.nobody.post("/api/auth/login", json=LOGIN)).json()
    await user.post("/api/auth/logout")
    headers = {"X-Authorization": f"Bearer {again['token']}"}
    assert (await api.nobody.get("/api/auth/user", headers=headers)).status_code == 200


async def test_changed_password_ends_the_other_sessions(api: Api, user):
    body = {"currentPassword": PASSWORD, "newPassword": "another horse"}
    answer = await user.post("/api/auth/changePassword", json=body)
    assert answer.status_code == 200
    headers = {"X-Authorization": f"Bearer {answer.json()['token']}"}
    assert (await api.nobody.get("/api/auth/user", headers=headers)).status_code == 200
    assert_error(await user.get("/api/auth/user"), 401, 11)
    assert_error(await api.nobody.post("/api/auth/login", json=LOGIN), 401, 10)
    answer = await api.nobody.post("/api/auth/login", json={**LOGIN, "password": "another horse"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"currentPassword": "wrong", "newPassword": "another"}, "Current password doesn't match!"),
        (
            {"currentPassword": PASSWORD, "newPassword": PASSWORD},
            "New password should be different from existing!",
        ),
        ({"currentPassword": PASSWORD, "newPassword": "short"}, None),
        ({"newPassword": "another"}, "Validation error: currentPassword must not be null"),
    ],
)
async def test_password_is_not_changed(api: Api, user: httpx.AsyncClient, body, message):
    assert_error(await user.post("/api/auth/changePassword", json=body), 400, 31, message)
    assert (await user.get("/api/auth/user")).status_code == 200


async def test_disabled_user_gets_no_further(api: Api, user, tokens):

    stored = await api.services.store.find_user_by_email(ADMINISTRATOR)
    assert stored is not None
    await api.services.store.set_user_enabled(stored.id, False)
    assert_error(await user.get("/api/auth/user"), 401, 10, "User account is not active")
    answer = await api.nobody.post("/api/auth/token", json={"refreshToken": tokens["refreshToken"]})
    assert_error(answer, 401, 10, "User account is not active")


async def test_local_secret_acts_as_the_first_administrator(api: Api):
    answer = await api.admin.get("/api/auth/user")
    assert answer.json()["email"] == ADMINISTRATOR
    assert answer.json()["tenantId"]["id"] == api.tenant.id


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
async def test_local_secret_works_from_loopback(api: Api, address):
    async with api.client(address, X_Authorization=f"Local {api.services.local_secret}") as client:
        assert (await client.get("/api/auth/user")).status_code == 200


@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "", "testclient"])
async def test_local_secret_works_from_nowhere_else(api: Api, address):
    async with api.client(address, X_Authorization=f"Local {api.services.local_secret}") as client:
        assert_error(await client.get("/api/auth/user"), 401, 10)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_forwarded_request_is_never_local(api: Api, header):
    answer = await api.admin.get("/api/auth/user", headers={header: "127.0.0.1"})
    assert_error(answer, 401, 10)


async def test_local_secret_has_no_session_and_no_password(api: Api):
    assert (await api.admin.post("/api/auth/logout")).status_code == 200
    assert (await api.admin.get("/api/auth/user")).status_code == 200
    body = {"currentPassword": "a", "newPassword": "bcdefg"}
    assert_error(await api.admin.post("/api/auth/changePassword", json=body), 400, 31)


async def test_local_secret_stays_out_of_reprs(api: Api):
    assert api.services.local_secret not in repr(api.services)
