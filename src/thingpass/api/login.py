"""Logging in and out: ThingsBoard's `/api/auth/...` (rest-api reference 2.1)."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authentication import Caller
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import AuthenticationOf, CallerOf, ServicesOf
from thingpass.api.thingsboard_bodies import LoginBody, PasswordBody, RefreshBody
from thingpass.api.thingsboard_shapes import JwtPair, UserShape, jwt_pair, user_shape
from thingpass.devices.roles import TENANT_ADMIN
from thingpass.errors import Invalid, ThingpassError, Unauthenticated, Unavailable
from thingpass.store.rows import User

router = APIRouter(route_class=GuardedRoute, tags=["Authentication"])

LOCAL_USER_NAME = "local"
TOKENS = answers("a token pair", JwtPair)


def json_body(model: type[LoginBody | RefreshBody]) -> dict[str, object]:
    """The OpenAPI text of a body that the route reads by itself."""
    schema = model.model_json_schema(by_alias=True)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/api/auth/login", summary="Log in", openapi_extra=json_body(LoginBody), responses=TOKENS)
async def log_in(request: Request, services: ServicesOf, authentication: AuthenticationOf) -> Response:
    """A token pair for a user name and a password. The access token goes into `X-Authorization: Bearer ...`.

    There is no 400 here: a broken body is a failed login (401), as in ThingsBoard. After ten failures on one
    account or thirty from one address within five minutes: 429 with `Retry-After`.
    """
    try:
        body = LoginBody.model_validate_json(await request.body())
    except ValidationError:
        raise _failed() from None  # the cause would repeat the body, and with it the password
    if not body.username.strip() or not body.password:
        raise _failed()
    account, address = body.username, _address_group(request)
    try:
        request.app.state.login_attempts.begin(account, address)
        user = await services.users.authenticate(body.username, body.password)
    except Unavailable:
        request.app.state.login_attempts.withdraw(account, address)  # nobody looked at the password
        raise
    except ThingpassError:
        services.counters.logins_failed += 1
        raise
    request.app.state.login_attempts.succeeded(account, address)
    return json_answer(jwt_pair(await authentication.begin_session(user)))


@router.post(
    "/api/auth/token", summary="Renew a token pair", openapi_extra=json_body(RefreshBody), responses=TOKENS
)
async def renew_token(request: Request, authentication: AuthenticationOf) -> Response:
    """A new token pair for a refresh token that has neither expired nor been logged out."""
    try:
        body = RefreshBody.model_validate_json(await request.body())
    except ValidationError:
        raise _failed() from None
    if not body.refresh_token:
        raise _failed()
    return json_answer(jwt_pair(await authentication.renew(body.refresh_token)))


@router.get("/api/auth/user", summary="Who am I", responses=answers("the user", UserShape))
async def get_user(caller: CallerOf, services: ServicesOf) -> Response:
    if caller.user is not None:
        return json_answer(user_shape(caller.user))
    named = await services.store.find_user_by_email(services.settings.admin_username)
    if named is not None and named.tenant_id == caller.tenant_id:
        return json_answer(user_shape(named))
    return json_answer(user_shape(_local_user(caller)))


@router.post("/api/auth/logout", summary="Log out", responses=answers_empty("the session has ended"))
async def log_out(caller: CallerOf, authentication: AuthenticationOf) -> Response:
    """Ends this session: its access tokens and its refresh tokens no longer work."""
    await authentication.end_session(caller)
    return Response(status_code=200)


@router.post("/api/auth/changePassword", summary="Change my password", responses=TOKENS)
async def change_password(
    body: PasswordBody,
    request: Request,
    caller: CallerOf,
    services: ServicesOf,
    authentication: AuthenticationOf,
) -> Response:
    """A new token pair; every other session of the user ends."""
    if caller.user is None:
        raise Invalid("The local secret has no password to change.", mend="Log in with a user name first.")
    account, address = caller.user.email, _address_group(request)
    request.app.state.login_attempts.begin(account, address)
    try:
        await services.users.authenticate(caller.user.email, body.current_password)
    except Unauthenticated:
        raise Invalid("Current password doesn't match!") from None
    request.app.state.login_attempts.succeeded(account, address)
    if body.current_password == body.new_password:
        raise Invalid("New password should be different from existing!")
    user = await services.users.change_password(caller.user, body.new_password)
    await authentication.end_all_sessions(user)
    return json_answer(jwt_pair(await authentication.begin_session(user)))


def _failed() -> Unauthenticated:
    return Unauthenticated("Authentication failed")


def _address_group(request: Request) -> str:
    """The peer's address; of an IPv6 address its /64, because one host has all of it to choose from."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _local_user(caller: Caller) -> User:
    return User(
        id=caller.tenant_id,
        created_at_ms=0,
        tenant_id=caller.tenant_id,
        authority=TENANT_ADMIN,
        email=LOCAL_USER_NAME,
        password_hash="",
    )
