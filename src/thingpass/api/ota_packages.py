"""Firmware and software packages: ThingsBoard's `/api/otaPackage...` (rest-api reference 8.2)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from thingpass.api.answers import JSON, answers, answers_empty, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.device_access import only_customer
from thingpass.api.ota_shapes import OtaPackageShape, ota_package_shape
from thingpass.api.ota_uploads import receive_package
from thingpass.api.parameters import CallerOf, PageLink, ServicesOf, make_page_link, parse_uuid
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import OtaPackageBody
from thingpass.api.thingsboard_shapes import EXAMPLE_ID, PageShape, page_shape
from thingpass.devices.ota_downloads import OtaPart, part_of
from thingpass.errors import Invalid
from thingpass.store.rows import OTA_KINDS, OtaPackage

router = APIRouter(route_class=GuardedRoute, tags=["Firmware and software"])

PACKAGE = answers("the package", OtaPackageShape)
PAGE = answers("a page", PageShape[OtaPackageShape])
SORT_COLUMNS = {
    "createdTime": "created_at_ms",
    "title": "title",
    "name": "title",
    "version": "version",
    "type": "kind",
    "dataSize": "size",
}
UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "checksumAlgorithm": {"type": "string"},
                        "checksum": {"type": "string"},
                    },
                }
            }
        },
    }
}


def parse_kind(text: str) -> str:
    """Raises ValueError; the sentence is ours, because ThingsBoard's names a Java class."""
    if text.upper() not in OTA_KINDS:
        raise ValueError(f"There is no package type {text[:32]!r}, only {' and '.join(OTA_KINDS)}.")
    return text.upper()


PackageId = Annotated[str, Path(alias="otaPackageId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]
ProfileId = Annotated[str, Path(alias="deviceProfileId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]
KindInPath = Annotated[str, Path(alias="type", examples=["FIRMWARE"]), AfterValidator(parse_kind)]


@router.post("/api/otaPackage", summary="Add a package, or change its description", responses=PACKAGE)
async def post_package(body: OtaPackageBody, caller: CallerOf, services: ServicesOf) -> Response:
    """Without `id` a new one, whose file is uploaded next; with `url` and `usesUrl` it is complete.

    With `id` its `additionalInfo` is replaced; nothing else of a package may change.
    """
    info = body.additional_info
    package = OtaPackage(
        id="" if body.id is None else body.id.id,
        created_at_ms=0,
        tenant_id=caller.tenant_id,
        profile_id=None if body.device_profile_id is None else body.device_profile_id.id,
        kind=(body.type or "").upper(),
        title=body.title or "",
        version=body.version or "",
        tag=body.tag,
        url=body.url,
        additional_info_json=None if info is None else msgspec.json.encode(info).decode(),
    )
    packages = services.ota.packages
    if body.id is None:
        saved = await packages.add(caller.tenant_id, package, uses_url=body.uses_url)
    else:
        saved = await packages.update(caller.tenant_id, package)
    return json_answer(ota_package_shape(saved))


@router.post(
    "/api/otaPackage/{otaPackageId}",
    summary="Upload a package's file",
    openapi_extra=UPLOAD_FORM,
    responses=PACKAGE,
)
async def post_package_data(
    package_id: PackageId,
    request: Request,
    caller: CallerOf,
    services: ServicesOf,
    checksum: Annotated[str | None, Query(description="refuses a file that has another one")] = None,
    algorithm: Annotated[str | None, Query(alias="checksumAlgorithm", examples=["SHA256"])] = None,
) -> Response:
    """Answers when the file is stored. `checksumAlgorithm` is required, in the query or in the form.

    MD5, SHA256, SHA384, SHA512, CRC32, MURMUR3_32 or MURMUR3_128.
    """
    saved = await receive_package(
        request,
        services.ota.packages,
        caller.tenant_id,
        package_id,
        checksum=checksum,
        algorithm=algorithm,
    )
    return json_answer(ota_package_shape(saved))


@router.get("/api/otaPackage/info/{otaPackageId}", summary="A package, without its data", responses=PACKAGE)
async def get_package_info(package_id: PackageId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(ota_package_shape(await services.ota.packages.get(caller.tenant_id, package_id)))


@router.get(
    "/api/otaPackage/{otaPackageId}/download",
    summary="A package's file",
    responses={200: {"description": "the file", "content": {"application/octet-stream": {}}}},
)
async def get_package_download(package_id: PackageId, caller: CallerOf, services: ServicesOf) -> Response:
    package = await services.ota.packages.get(caller.tenant_id, package_id)
    if package.data is None:
        raise Invalid(
            "The package has no data.", mend="Its URL says where the file is." if package.url else None
        )
    pieces = await _pieces(services, part_of(package, 0, 0))
    name = quote(package.data.file_name)
    headers = {
        "Content-Length": str(package.data.size),
        "Content-Disposition": f"attachment;filename*=UTF-8''{name}"
        if name != package.data.file_name
        else f"attachment;filename={name}",
        "x-filename": name,
    }
    return StreamingResponse(pieces, media_type=package.data.content_type, headers=headers)


@router.get("/api/otaPackage/{otaPackageId}", summary="A package with its data in base64", responses=PACKAGE)
async def get_package(package_id: PackageId, caller: CallerOf, services: ServicesOf) -> Response:
    """`data` comes last; `/download` gives the file as it is, a third smaller."""
    package = await services.ota.packages.get(caller.tenant_id, package_id)
    members = msgspec.json.encode(ota_package_shape(package))[:-1]
    if package.data is None:
        return Response(members + b',"data":null}', media_type=JSON)
    pieces = await _pieces(services, part_of(package, 0, 0))

    async def document() -> AsyncIterator[bytes]:
        yield members + b',"data":"'
        async for piece in pieces:
            yield base64.b64encode(piece)  # blocks of the store are multiples of three bytes
        yield b'"}'

    return StreamingResponse(document(), media_type=JSON)


@router.delete(
    "/api/otaPackage/{otaPackageId}", summary="Remove a package", responses=answers_empty("it is gone")
)
async def delete_package(package_id: PackageId, caller: CallerOf, services: ServicesOf) -> Response:
    """Refused while a device or a profile has it."""
    await services.ota.packages.remove(caller.tenant_id, package_id)
    return Response(status_code=200)


async def _page_link(
    page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
    page: Annotated[int | None, Query(examples=[0])] = None,
    text_search: Annotated[str | None, Query(alias="textSearch", description="part of the title")] = None,
    sort_property: Annotated[str | None, Query(alias="sortProperty", examples=["title"])] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["ASC"])] = None,
) -> PageLink:
    return make_page_link(page_size, page, text_search, sort_property, sort_order, columns=SORT_COLUMNS)


PackagePageLink = Annotated[PageLink, Depends(_page_link)]


@router.get("/api/otaPackages", summary="Packages by page", responses=PAGE)
async def get_packages(caller: CallerOf, services: ServicesOf, link: PackagePageLink) -> Response:
    return await _page(services, caller.tenant_id, link, None)


@router.get(
    "/api/otaPackages/{deviceProfileId}/{type}",
    summary="Packages that devices of a profile can be given",
    responses=PAGE,
)
async def get_packages_of_profile(
    profile_id: ProfileId, kind: KindInPath, caller: CallerOf, services: ServicesOf, link: PackagePageLink
) -> Response:
    """Those with data or a URL, of this profile or of none."""
    return await _page(services, caller.tenant_id, link, (profile_id, kind))


@router.get(
    "/api/devices/count/{type}/{deviceProfileId}",
    summary="How many devices follow their profile's package",
    responses=answers("a number", int),
)
async def get_device_count(
    kind: KindInPath, profile_id: ProfileId, caller: CallerOf, services: ServicesOf
) -> Response:
    """Devices of the profile that have no package of this type of their own.

    A customer's user hears of its customer's devices alone.
    """
    count = await services.ota.packages.count_followers(
        caller.tenant_id, profile_id, kind, customer_id=only_customer(caller)
    )
    return json_answer(count)


async def _page(
    services: Services, tenant_id: str, link: PageLink, fitting: tuple[str, str] | None
) -> Response:
    found = await services.ota.packages.list(
        tenant_id,
        limit=link.size,
        offset=link.offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
        fitting=fitting,
    )
    return json_answer(page_shape([ota_package_shape(package) for package in found.rows], link, found.total))


async def _pieces(services: Services, part: OtaPart) -> AsyncIterator[bytes]:
    """The first piece is read at once: what is wrong is said while there is still a status to say it by."""
    stream = services.ota.downloads.stream(part)
    first = await anext(stream)

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in stream:
            yield piece

    return all_pieces()
