"""Customers: ThingsBoard's `/api/customer...` (rest-api reference 7.2)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authentication import Caller
from thingpass.api.authorization import GuardedRoute
from thingpass.api.customer_shapes import CustomerInfoShape, CustomerShape, customer_shape
from thingpass.api.device_access import check_own_customer
from thingpass.api.error_answers import ITEM_MISSING, VersionConflict
from thingpass.api.parameters import CUSTOMER_COLUMNS as COLUMNS
from thingpass.api.parameters import (
    CallerOf,
    CustomerId,
    CustomerPageLinkOf,
    ServicesOf,
    make_page_link,
    parse_uuid,
)
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import CustomerBody
from thingpass.api.thingsboard_shapes import PageShape, page_shape
from thingpass.errors import Invalid, NotFound
from thingpass.store.rows import Customer

router = APIRouter(route_class=GuardedRoute, tags=["Customers"])

CUSTOMER = answers("the customer", CustomerShape)
MOST_IDS = 1_000
Ids = Annotated[str, Query(alias="customerIds", description="ids, separated by commas")]


@router.post("/api/customer", summary="Create or update a customer", responses=CUSTOMER)
async def post_customer(body: CustomerBody, caller: CallerOf, services: ServicesOf) -> Response:
    """Without `id` a new customer. With `id` an update: what is left out is taken away, as in ThingsBoard."""
    if body.id is None:
        saved = await services.customers.add(_customer(body, caller, "", version=1))
    else:
        stored = await services.customers.get(caller.tenant_id, body.id.id)
        if body.version is not None and body.version != stored.version:
            raise VersionConflict(
                "Customer was already changed by someone else", mend="Read it again, then change it."
            )
        wanted = _customer(body, caller, stored.id, version=stored.version)
        saved = await services.customers.update(caller.tenant_id, wanted)
    return json_answer(customer_shape(saved))


@router.get("/api/customer/{customerId}", summary="A customer", responses=CUSTOMER)
async def get_customer(customer_id: CustomerId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(customer_shape(await _get(services, caller, customer_id)))


@router.get(
    "/api/customer/{customerId}/shortInfo",
    summary="A customer's title",
    responses=answers("the title", CustomerInfoShape),
)
async def get_customer_info(customer_id: CustomerId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(CustomerInfoShape(title=(await _get(services, caller, customer_id)).title))


@router.get("/api/customer/{customerId}/title", summary="A customer's title as plain text")
async def get_customer_title(
    customer_id: CustomerId, caller: CallerOf, services: ServicesOf
) -> PlainTextResponse:
    return PlainTextResponse((await _get(services, caller, customer_id)).title)


@router.delete(
    "/api/customer/{customerId}",
    summary="Remove a customer and its users; its devices stay, and are nobody's",
    responses=answers_empty("it is gone"),
)
async def delete_customer(customer_id: CustomerId, caller: CallerOf, services: ServicesOf) -> Response:
    await services.customers.remove(caller.tenant_id, customer_id)
    return Response(status_code=200)


@router.get(
    "/api/customers",
    summary="Customers by page, or those of `customerIds`",
    responses=answers(
        "a page, or with `customerIds` an array", PageShape[CustomerShape], list[CustomerShape]
    ),
)
async def get_customers(
    caller: CallerOf,
    services: ServicesOf,
    page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
    page: Annotated[int | None, Query(examples=[0])] = None,
    text_search: Annotated[str | None, Query(alias="textSearch", description="part of the title")] = None,
    sort_property: Annotated[str | None, Query(alias="sortProperty", examples=["title"])] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["ASC"])] = None,
    customer_ids: Annotated[str | None, Query(alias="customerIds", description="no page")] = None,
) -> Response:
    """Two answers on one path, as in ThingsBoard."""
    if customer_ids is not None and page_size is None:
        return json_answer(await _of_ids(services, caller, customer_ids))
    link = make_page_link(page_size, page, text_search, sort_property, sort_order, COLUMNS)
    return json_answer(await _page(services, caller, link))


@router.get(
    "/api/customers/list",
    summary="The customers of these ids",
    responses=answers("the customers; unknown ones are left out", list[CustomerShape]),
)
async def get_customers_by_ids(customer_ids: Ids, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(await _of_ids(services, caller, customer_ids))


@router.get("/api/tenant/customers", summary="The customer of a title", responses=CUSTOMER)
async def get_tenant_customer(
    title: Annotated[str, Query(alias="customerTitle", examples=["ACME"])],
    caller: CallerOf,
    services: ServicesOf,
) -> Response:
    customer = await services.customers.find_by_title(caller.tenant_id, title)
    if customer is None:
        raise NotFound(ITEM_MISSING)
    return json_answer(customer_shape(customer))


async def _get(services: Services, caller: Caller, customer_id: str) -> Customer:
    customer = await services.customers.get(caller.tenant_id, customer_id)
    check_own_customer(caller, customer.id)
    return customer


async def _page(services: Services, caller: Caller, link: CustomerPageLinkOf) -> PageShape[CustomerShape]:
    found = await services.customers.list(
        caller.tenant_id,
        limit=link.size,
        offset=link.offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
    )
    return page_shape([customer_shape(customer) for customer in found.rows], link, found.total)


async def _of_ids(services: Services, caller: Caller, text: str) -> list[CustomerShape]:
    """Those of the tenant; others are left out silently."""
    try:
        ids = [parse_uuid(each.strip()) for each in text.split(",") if each.strip()]
    except ValueError as error:
        raise Invalid(str(error)) from error
    if len(ids) > MOST_IDS:
        raise Invalid(f"{len(ids)} ids are too many; ask for at most {MOST_IDS}.")
    found = [await services.store.find_customer(each) for each in ids]
    return [
        customer_shape(customer)
        for customer in found
        if customer is not None and customer.tenant_id == caller.tenant_id
    ]


def _customer(body: CustomerBody, caller: Caller, customer_id: str, *, version: int) -> Customer:
    info = body.additional_info
    return Customer(
        id=customer_id,
        created_at_ms=0,
        tenant_id=caller.tenant_id,
        title=body.title or "",
        email=body.email,
        phone=body.phone,
        country=body.country,
        state=body.state,
        city=body.city,
        address=body.address,
        address2=body.address2,
        zip=body.zip,
        additional_info_json=None if info is None else msgspec.json.encode(info).decode(),
        version=version,
    )
