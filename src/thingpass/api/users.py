"""Users: ThingsBoard's `/api/user...` and `/api/noauth/activate` (rest-api reference 7.1).

No mail is sent from here: who adds a user fetches the activation link and hands it over.
"""

from __future__ import annotations

import html
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authentication import Caller
from thingpass.api.authorization import GuardedRoute
from thingpass.api.customer_shapes import LinkShape
from thingpass.api.device_access import check_own_customer, only_customer
from thingpass.api.login import TOKENS
from thingpass.api.parameters import (
    AuthenticationOf,
    CallerOf,
    CustomerId,
    PageLink,
    ServicesOf,
    UserId,
    UserPageLinkOf,
)
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import ActivationBody, UserBody
from thingpass.api.thingsboard_shapes import PageShape, UserShape, jwt_pair, page_shape, user_shape
from thingpass.api.tokens import NULL_UUID
from thingpass.errors import Invalid
from thingpass.store.rows import User

router = APIRouter(route_class=GuardedRoute, tags=["Users"])

USER = answers("the user", UserShape)
USERS = answers("a page", PageShape[UserShape])
ACTIVATE = "/api/noauth/activate"


@router.post("/api/user", summary="Create or update a user", responses=USER)
async def post_user(
    body: UserBody,
    caller: CallerOf,
    services: ServicesOf,
    send_mail: Annotated[
        bool, Query(alias="sendActivationMail", description="must be false for a new user")
    ] = True,
) -> Response:
    """Without `id` a new user: a TENANT_ADMIN, or a CUSTOMER_USER with its `customerId`. Fetch its link next.

    With `id` an update: what is left out is taken away, as in ThingsBoard.
    """
    if body.id is not None:
        return json_answer(user_shape(await services.accounts.update(caller.tenant_id, _user(body, caller))))
    if send_mail:
        raise Invalid(
            "This server sends no mail.",
            mend="Add ?sendActivationMail=false, then hand over what GET .../activationLink gives.",
        )
    return json_answer(user_shape(await services.accounts.add(_user(body, caller))))


@router.get("/api/user/{userId}", summary="A user", responses=USER)
async def get_user_by_id(user_id: UserId, caller: CallerOf, services: ServicesOf) -> Response:
    user = await services.accounts.get(caller.tenant_id, user_id)
    check_own_customer(caller, user.customer_id)
    return json_answer(user_shape(user))


@router.delete("/api/user/{userId}", summary="Remove a user", responses=answers_empty("the user is gone"))
async def delete_user(user_id: UserId, caller: CallerOf, services: ServicesOf) -> Response:
    await services.accounts.remove(caller.tenant_id, user_id)
    return Response(status_code=200)


@router.get("/api/users", summary="Users by page", responses=USERS)
async def get_users(caller: CallerOf, services: ServicesOf, link: UserPageLinkOf) -> Response:
    """All of the tenant; for a customer's user those of the customer."""
    return json_answer(await _page(services, caller, link, only_customer(caller)))


@router.get("/api/customer/{customerId}/users", summary="A customer's users by page", responses=USERS)
async def get_customer_users(
    customer_id: CustomerId, caller: CallerOf, services: ServicesOf, link: UserPageLinkOf
) -> Response:
    customer = await services.customers.get(caller.tenant_id, customer_id)
    return json_answer(await _page(services, caller, link, customer.id))


@router.get("/api/user/{userId}/activationLink", summary="A new link by which the user chooses a password")
async def get_activation_link(
    user_id: UserId, caller: CallerOf, services: ServicesOf, request: Request
) -> PlainTextResponse:
    """Plain text. It is good for one day and for one use; an earlier link ends."""
    return PlainTextResponse((await _link(services, caller, user_id, request)).value)


@router.get(
    "/api/user/{userId}/activationLinkInfo",
    summary="The same, and how long it is good for",
    responses=answers("the link", LinkShape),
)
async def get_activation_link_info(
    user_id: UserId, caller: CallerOf, services: ServicesOf, request: Request
) -> Response:
    return json_answer(await _link(services, caller, user_id, request))


@router.post(
    "/api/user/{userId}/userCredentialsEnabled",
    summary="Let a user log in, or not",
    responses=answers_empty("it is done"),
)
async def set_enabled(
    user_id: UserId,
    caller: CallerOf,
    services: ServicesOf,
    authentication: AuthenticationOf,
    enabled: Annotated[bool, Query(alias="userCredentialsEnabled")] = True,
) -> Response:
    """A user that may not ends its sessions."""
    if caller.user is not None and caller.user.id == user_id:
        raise Invalid("You can't change this for yourself.", mend="Let another administrator do it.")
    user = await services.accounts.set_enabled(caller.tenant_id, user_id, enabled=enabled)
    if not enabled:
        await authentication.end_all_sessions(user)
    return Response(status_code=200)


@router.get(ACTIVATE, summary="What an activation link is for")
async def explain_activation(request: Request) -> PlainTextResponse:
    """The link itself opens this: it says how the password is chosen, and changes nothing."""
    address = html.escape(str(request.base_url).rstrip("/"))
    return PlainTextResponse(
        "This link lets you choose the password of your account, once:\n\n"
        "  thingpass activate\n\n"
        f'or POST {address}{ACTIVATE} with {{"activateToken": "...", "password": "..."}},\n'
        "where the token is what follows activateToken= in the link.\n"
    )


@router.post(ACTIVATE, summary="Choose the first password", responses=TOKENS)
async def activate(body: ActivationBody, services: ServicesOf, authentication: AuthenticationOf) -> Response:
    """A token pair; the link has served."""
    user = await services.accounts.activate(body.activate_token, body.password)
    return json_answer(jwt_pair(await authentication.begin_session(user)))


async def _link(services: Services, caller: Caller, user_id: str, request: Request) -> LinkShape:
    link = await services.accounts.make_link(await services.accounts.get(caller.tenant_id, user_id))
    address = str(request.base_url).rstrip("/")
    return LinkShape(value=f"{address}{ACTIVATE}?activateToken={link.token}", ttl_ms=link.lasts_ms)


async def _page(
    services: Services, caller: Caller, link: PageLink, customer_id: str | None
) -> PageShape[UserShape]:
    found = await services.accounts.list(
        caller.tenant_id,
        customer_id=customer_id,
        limit=link.size,
        offset=link.offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
    )
    return page_shape([user_shape(user) for user in found.rows], link, found.total)


def _user(body: UserBody, caller: Caller) -> User:
    customer = body.customer_id
    info = body.additional_info
    return User(
        id="" if body.id is None else body.id.id,
        created_at_ms=0,
        tenant_id=caller.tenant_id,
        authority=body.authority or "",
        email=body.email or "",
        password_hash="",
        first_name=body.first_name,
        last_name=body.last_name,
        customer_id=None if customer is None or customer.id == NULL_UUID else customer.id,
        phone=body.phone,
        additional_info_json=None if info is None else msgspec.json.encode(info).decode(),
    )
