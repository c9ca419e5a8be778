"""Access and refresh tokens (rest-api reference 2.3)."""

from __future__ import annotations

import base64
import json

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from thingpass.api.error_answers import TokenExpired
from thingpass.api.tokens import LEEWAY_S, NULL_UUID, Tokens
from thingpass.errors import Unauthenticated
from thingpass.store.rows import User

KEY = bytes(range(64))
NOW = 1_700_000_000
USER = User(
    id="784f394c-42b6-435a-983c-b7beff2784f9",
    created_at_ms=0,
    tenant_id="11111111-1111-4111-8111-111111111111",
    authority="TENANT_ADMIN",
    email="a@example.org",
    password_hash="secret hash",
    first_name="A",
)


@pytest.fixture
def tokens():
    return Tokens(KEY, access_token_s=9_000, refresh_token_s=604_800)


def payload(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_access_token_has_the_claims_that_clients_know(tokens):
    pair = tokens.issue(USER, issued_at_s=NOW)
    claims = payload(pair.access)
    session_id = claims.pop("sessionId")
    assert len(session_id) == 36
    assert claims == {
        "sub": "a@example.org",
        "userId": USER.id,
        "scopes": ["TENANT_ADMIN"],
        "exp": NOW + 9_000,
        "iss": "thingsboard.io",
        "iat": NOW,
        "firstName": "A",
        "lastName": None,
        "enabled": True,
        "isPublic": False,
        "tenantId": USER.tenant_id,
        "customerId": NULL_UUID,
    }
    refresh = payload(pair.refresh)
    assert refresh["scopes"] == ["REFRESH_TOKEN"]
    assert refresh["exp"] == NOW + 604_800
    assert refresh["sessionId"] == session_id
    assert refresh["jti"]


def test_token_is_read_back(tokens):
    pair = tokens.issue(USER, issued_at_s=NOW, session_id="s")
    claims = tokens.read(pair.access, NOW)
    assert (claims.user_id, claims.session_id, claims.iat, claims.is_refresh) == (USER.id, "s", NOW, False)
    assert tokens.read(pair.refresh, NOW).is_refresh


def test_token_ends_after_a_little_leeway(tokens):
    access = tokens.issue(USER, issued_at_s=NOW).access
    tokens.read(access, NOW + 9_000 + LEEWAY_S - 1)
    with pytest.raises(TokenExpired, match="Token has expired"):
        tokens.read(access, NOW + 9_000 + LEEWAY_S)


def test_signature_of_another_key_counts_as_expired(tokens):
    other = Tokens(b"x" * 64, access_token_s=9_000, refresh_token_s=9_000)
    with pytest.raises(TokenExpired):
        tokens.read(other.issue(USER, issued_at_s=NOW).access, NOW)


def test_changed_claims_are_refused(tokens):
    head, body, signature = tokens.issue(USER, issued_at_s=NOW).access.split(".")
    forged = {**payload(f".{body}."), "scopes": ["SYS_ADMIN"]}
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
    with pytest.raises(TokenExpired):
        tokens.read(f"{head}.{body}.{signature}", NOW)


def claims_signed(algorithm, **changes):
    claims = {"userId": "u", "sessionId": "s", "scopes": [], "iat": NOW, "exp": NOW + 9, **changes}
    return jwt.encode({"alg": algorithm}, claims, OctKey.import_key(KEY), algorithms=[algorithm])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "abc",
        "a.b.c",
        "...",
        "ä.ö.ü",
        "x" * 5_000,
        base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + ".e30.",
        claims_signed("HS256"),
        claims_signed("HS512", exp="tomorrow"),
        claims_signed("HS512", exp=None),
        claims_signed("HS512", userId=None),
    ],
)
def test_what_is_no_token_of_ours_is_refused(tokens, token):
    with pytest.raises(Unauthenticated):
        tokens.read(token, NOW)


def test_repr_of_a_pair_keeps_its_tokens_to_itself(tokens):
    pair = tokens.issue(USER, issued_at_s=NOW)
    assert pair.access not in repr(pair)
    assert pair.refresh not in repr(pair)
