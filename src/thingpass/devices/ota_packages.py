"""OTA packages: ThingsBoard's rules and messages (REST reference, 3.9 and 8.2).

Every method is about one tenant: a package of another tenant is not found. A package is added first and gets
its data afterwards; from then on it never changes, so that what a device downloads in pieces is one thing.
"""

from __future__ import annotations

import re
import uuid
from typing import Final, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.errors import AlreadyExists, Invalid, NotFound
from thingpass.store.checksums import ALGORITHMS
from thingpass.store.rows import OTA_KINDS, OtaData, OtaPackage, OtaPackagePage
from thingpass.store.store import DeviceStore, OtaPackageStore, OtaUpload

LONGEST_TEXT: Final = 255
DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"

_CONTENT_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FIXED: Final = ("kind", "title", "version", "tag", "url", "profile_id")
"""What of a package may not change."""


class PackageStore(DeviceStore, OtaPackageStore, Protocol):
    """What this service needs of the store."""


class OtaPackageService:
    def __init__(self, store: PackageStore, clock: Clock, *, maximum_bytes: int) -> None:
        """`maximum_bytes`: of one package's data; whoever reads the upload has to hold it."""
        self._store = store
        self._clock = clock
        self.maximum_bytes = maximum_bytes

    async def add(self, tenant_id: str, package: OtaPackage, *, uses_url: bool = False) -> OtaPackage:
        """Gives it an id and its time. Raises Invalid, AlreadyExists."""
        wanted = msgspec.structs.replace(
            package,
            id=str(uuid.uuid4()),
            created_at_ms=self._clock.now_ms(),
            tenant_id=tenant_id,
            tag=package.tag or None,
            url=package.url or None,
            data=None,
        )
        _check(wanted, uses_url=uses_url)
        if wanted.profile_id is not None:
            profile = await self._store.find_profile(wanted.profile_id)
            if profile is None or profile.tenant_id != tenant_id:
                raise Invalid("OtaPackage is referencing to non-existent device profile!")
        try:
            await self._store.add_ota_package(wanted)
        except AlreadyExists as error:
            raise AlreadyExists(
                "OtaPackage with such title and version already exists!", constraint=error.constraint
            ) from error
        return wanted

    async def update(self, tenant_id: str, package: OtaPackage) -> OtaPackage:
        """Stores the additional information; all else must be as it is. Raises NotFound, Invalid."""
        stored = await self.get(tenant_id, package.id)
        for field in _FIXED:
            if (getattr(package, field) or None) != getattr(stored, field):
                name = {"kind": "type", "profile_id": "deviceProfile"}.get(field, field)
                raise Invalid(
                    f"Updating otaPackage {name} is prohibited!", mend="Add a package of a new version."
                )
        return await self._store.update_ota_package(package)

    async def begin_upload(self, tenant_id: str, package_id: str) -> OtaUpload:
        """Raises NotFound, and Invalid when the package has its data, or a URL."""
        package = await self.get(tenant_id, package_id)
        if package.data is not None or package.url is not None:
            raise Invalid("Updating otaPackage data is prohibited!", mend="Add a package of a new version.")
        return await self._store.begin_ota_upload(package.id)

    async def finish_upload(
        self,
        upload: OtaUpload,
        *,
        file_name: str | None,
        content_type: str | None,
        algorithm: str | None,
        checksum: str | None,
    ) -> OtaPackage:
        """Checks what was uploaded and keeps it; returns when it is durable. Raises Invalid, NotFound."""
        name = checked_algorithm(algorithm)
        if upload.size == 0:
            raise Invalid("OtaPackage data should be specified!", mend="The file is empty.")
        computed = await upload.checksum(name)
        given = (checksum or "").strip()
        if given and given.lower() != computed:
            raise Invalid(
                f"Wrong otaPackage file! The {name} of what arrived is {computed}, not {given[:128]}.",
                mend="Upload the file again, or correct the checksum.",
            )
        return await upload.commit(
            OtaData(
                file_name=_file_name(file_name),
                content_type=_content_type(content_type),
                size=upload.size,
                algorithm=name,
                checksum=computed,
            )
        )

    async def get(self, tenant_id: str, package_id: str) -> OtaPackage:
        """Raises NotFound for one that does not exist or is another tenant's."""
        package = await self._store.find_ota_package(package_id)
        if package is None or package.tenant_id != tenant_id:
            raise NotFound(f"Ota package with id [{package_id}] is not found")
        return package

    async def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        fitting: tuple[str, str] | None = None,
    ) -> OtaPackagePage:
        """One page; with `fitting`, a profile and a kind, only what its devices could be given."""
        return await self._store.list_ota_packages(
            tenant_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            sort_by=sort_by,
            descending=descending,
            fitting=fitting,
        )

    async def remove(self, tenant_id: str, package_id: str) -> None:
        """Raises NotFound, and Invalid while a device or a profile has it."""
        package = await self.get(tenant_id, package_id)
        await self._store.remove_ota_package(package.id)

    async def count_followers(
        self, tenant_id: str, profile_id: str, kind: str, *, customer_id: str | None = None
    ) -> int:
        """Devices of the profile that follow its package, having none of their own. Raises NotFound.

        With `customer_id`, only those that this customer has.
        """
        profile = await self._store.find_profile(profile_id)
        if profile is None or profile.tenant_id != tenant_id:
            raise NotFound(f"Device profile with id [{profile_id}] is not found")
        return await self._store.count_devices_without_ota_package(profile_id, kind, customer_id)


def checked_algorithm(text: str | None) -> str:
    """The algorithm's name, given in any case. Raises Invalid."""
    if not text:
        raise Invalid(
            "Required request parameter 'checksumAlgorithm' is not present",
            mend=f"One of {', '.join(ALGORITHMS)}.",
        )
    if text.upper() not in ALGORITHMS:
        raise Invalid(f"Unknown checksum algorithm {text[:32]!r}.", mend=f"One of {', '.join(ALGORITHMS)}.")
    return text.upper()


def _check(package: OtaPackage, *, uses_url: bool) -> None:
    for field, text in (("title", package.title), ("version", package.version)):
        if not text.strip():
            raise Invalid(f"OtaPackage {field} should be specified!")
    if package.kind not in OTA_KINDS:
        raise Invalid("Type should be specified!", mend=f"One of {', '.join(OTA_KINDS)}.")
    if uses_url and not (package.url or "").strip():
        raise Invalid("Ota package URL should be specified!")
    for field in ("title", "version", "tag", "url"):
        text = getattr(package, field) or ""
        if len(text) > LONGEST_TEXT:
            raise Invalid(
                f"Validation error: {field} length must be equal or less than {LONGEST_TEXT}",
            )
        if _CONTROL.search(text):
            raise Invalid(f"Validation error: {field} is malformed", mend="It holds a control character.")


def _file_name(text: str | None) -> str:
    """The last part of what the client said, safe to stand in a header and in a shell."""
    name = re.split(r"[/\\]", text or "")[-1]
    return _CONTROL.sub("", name)[:LONGEST_TEXT].strip() or "package.bin"


def _content_type(text: str | None) -> str:
    return (
        text if text and len(text) <= LONGEST_TEXT and _CONTENT_TYPE.fullmatch(text) else DEFAULT_CONTENT_TYPE
    )
