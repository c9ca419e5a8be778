"""Parameters that many routes have in common: who asks, the services, ids, pages (reference 1.2, 1.3)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated

import msgspec
from fastapi import Depends, Path, Query
from pydantic import AfterValidator
from starlette.requests import Request

from thingpass.api.authentication import Authentication, Caller
from thingpass.api.services import Services
from thingpass.errors import Invalid

MAX_PAGE_SIZE = 10_000


# Coroutines, because FastAPI runs plain functions in a thread, which costs more than the whole look-up.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _authentication(request: Request) -> Authentication:
    authentication: Authentication = request.app.state.authentication
    return authentication


ServicesOf = Annotated[Services, Depends(_services)]
CallerOf = Annotated[Caller, Depends(_caller)]
AuthenticationOf = Annotated[Authentication, Depends(_authentication)]


def parse_uuid(text: str) -> str:
    """The id in lower case with dashes. Raises ValueError with ThingsBoard's sentence."""
    try:
        if len(text) == 36:
            return str(uuid.UUID(text))
    except ValueError:
        pass
    raise ValueError(f"Invalid UUID string: {text[:64]}")


def uuid_or_none(text: str | None) -> str | None:
    return parse_uuid(text) if text else None


DeviceId = Annotated[
    str,
    Path(alias="deviceId", examples=["784f394c-42b6-435a-983c-b7beff2784f9"]),
    AfterValidator(parse_uuid),
]

SORT_COLUMNS = {
    "createdTime": "created_at_ms",
    "name": "name",
    "label": "label",
    "type": "profile_name",
    "deviceProfileName": "profile_name",
    "customerTitle": "created_at_ms",  # no customers yet, so every title is the same
}
PROFILE_COLUMNS = {
    "createdTime": "created_at_ms",
    "name": "name",
    "type": "type",
    "transportType": "transport_type",
    "description": "description",
    "isDefault": "is_default",
}


class PageLink(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a list, in which order."""

    size: int
    page: int
    text_search: str | None = None
    sort_by: str = "created_at_ms"
    descending: bool = False

    @property
    def offset(self) -> int:
        return self.page * self.size


def make_page_link(
    size: int | None,
    page: int | None,
    text_search: str | None,
    sort_property: str | None,
    sort_order: str | None,
    columns: Mapping[str, str] = SORT_COLUMNS,
) -> PageLink:
    """`columns`: what may be sorted by, and the store's name of it. Raises Invalid in ThingsBoard's words."""
    if size is None or page is None:
        missing = "pageSize" if size is None else "page"
        raise Invalid(f"Required request parameter '{missing}' for method parameter type int is not present")
    if size < 1:
        raise Invalid(f"Incorrect page link page size '{size}'. Page size must be greater than zero.")
    if size > MAX_PAGE_SIZE:
        raise Invalid(f"Incorrect page link page size '{size}'. Page size must be at most {MAX_PAGE_SIZE}.")
    if page < 0:
        raise Invalid(f"Incorrect page link page '{page}'. Page must be positive integer.")
    link = PageLink(size=size, page=page, text_search=text_search or None)
    if not sort_property:
        return link
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", sort_property) or sort_property not in columns:
        raise Invalid("Invalid sort property", mend=f"One of {', '.join(columns)}.")
    order = (sort_order or "ASC").upper()
    if order not in ("ASC", "DESC"):
        raise Invalid(f"Unsupported sort order '{order[:20]}'! Only 'ASC' or 'DESC' types are allowed.")
    return msgspec.structs.replace(link, sort_by=columns[sort_property], descending=order == "DESC")


def _page_link_over(columns: Mapping[str, str]) -> Callable[..., Coroutine[object, object, PageLink]]:
    async def page_link(
        page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
        page: Annotated[int | None, Query(examples=[0])] = None,
        text_search: Annotated[str | None, Query(alias="textSearch")] = None,
        sort_property: Annotated[str | None, Query(alias="sortProperty", examples=["createdTime"])] = None,
        sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["ASC"])] = None,
    ) -> PageLink:
        return make_page_link(page_size, page, text_search, sort_property, sort_order, columns)

    return page_link


PageLinkOf = Annotated[PageLink, Depends(_page_link_over(SORT_COLUMNS))]
ProfilePageLinkOf = Annotated[PageLink, Depends(_page_link_over(PROFILE_COLUMNS))]
