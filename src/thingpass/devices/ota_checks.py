"""Whether devices of a profile may be given a package, in ThingsBoard's words (REST reference, 3.9)."""

from __future__ import annotations

from thingpass.errors import Invalid
from thingpass.store.store import OtaPackageStore


async def check_assignable(
    store: OtaPackageStore, tenant_id: str, profile_id: str, kind: str, package_id: str | None
) -> None:
    """Raises Invalid. None, which takes the package away, may always be.

    Deviates from ThingsBoard, which says that a package is another tenant's: here it does not exist.
    """
    if package_id is None:
        return
    name = kind.lower()
    package = await store.find_ota_package(package_id)
    if package is None or package.tenant_id != tenant_id:
        raise Invalid(f"Can't assign non-existent {name}!")
    if package.kind != kind:
        raise Invalid(f"Can't assign {name} with type: {package.kind}")
    if package.data is None and package.url is None:
        raise Invalid(f"Can't assign {name} with empty data!", mend="Upload its file first.")
    if package.profile_id is not None and package.profile_id != profile_id:
        raise Invalid(f"Can't assign {name} with different deviceProfile!")
