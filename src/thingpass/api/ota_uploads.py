"""The file of a package on its way from the request to the store, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from thingpass.api.error_answers import BodyTooLarge
from thingpass.api.multipart import MultipartReader, PartBegan, PartData
from thingpass.devices.ota_packages import OtaPackageService
from thingpass.errors import Invalid
from thingpass.store.rows import OtaPackage
from thingpass.store.store import OtaUpload

FILE: Final = "file"
FIELDS: Final = ("checksum", "checksumAlgorithm")
"""The parts that are read; clients up to 4.3 send the checksum in these, 4.4 in the query."""

SILENCE_S: Final = 60.0
_LONGEST_FIELD: Final = 1_024


class FormFields:
    """What the form says beside the file's bytes."""

    def __init__(self) -> None:
        self.file: PartBegan | None = None
        self.texts: dict[str, bytes] = {}

    def text(self, name: str) -> str | None:
        found = self.texts.get(name)
        return None if found is None else found.decode("utf-8", "replace").strip()


async def receive_package(
    request: Request,
    packages: OtaPackageService,
    tenant_id: str,
    package_id: str,
    *,
    checksum: str | None,
    algorithm: str | None,
) -> OtaPackage:
    """Returns when the data is durable. Raises Invalid, NotFound, Unavailable, BodyTooLarge."""
    upload = await packages.begin_upload(tenant_id, package_id)
    try:
        fields = await _receive_form(request, upload, packages.maximum_bytes)
        if fields.file is None:
            raise Invalid("Required request part 'file' is not present", mend="curl -F file=@FILE")
        return await packages.finish_upload(
            upload,
            file_name=fields.file.file_name,
            content_type=fields.file.content_type,
            algorithm=algorithm or fields.text("checksumAlgorithm"),
            checksum=checksum or fields.text("checksum"),
        )
    finally:
        await upload.discard()  # nothing, once it is kept


async def _receive_form(request: Request, upload: OtaUpload, maximum_bytes: int) -> FormFields:
    reader, fields = MultipartReader(request.headers.get("content-type")), FormFields()
    part: PartBegan | None = None
    async for data in _pieces(request):
        for event in reader.feed(data):
            match event:
                case PartBegan():
                    part = event
                    _begin(fields, event)
                case PartData() if part is not None and part.name == FILE:
                    if upload.size + len(event.data) > maximum_bytes:
                        raise BodyTooLarge(maximum_bytes)
                    await upload.write(event.data)
                case PartData() if part is not None and part.name in fields.texts:
                    fields.texts[part.name] += event.data
                    if len(fields.texts[part.name]) > _LONGEST_FIELD:
                        raise Invalid(f"The field {part.name} is longer than {_LONGEST_FIELD} bytes.")
                case _:
                    pass  # a field that nobody asked for
    reader.finish()
    return fields


def _begin(fields: FormFields, part: PartBegan) -> None:
    if part.name == FILE:
        if fields.file is not None:
            raise Invalid("The upload has more than one file.")
        fields.file = part
    elif part.name in FIELDS:
        fields.texts[part.name] = b""


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; who is silent for too long has ended it."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                data = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Invalid(
                f"Nothing of the upload came for {SILENCE_S:g} s.", mend="Send it again."
            ) from error
        except ClientDisconnect as error:
            raise Invalid("The upload ended in the middle.") from error
        yield data
