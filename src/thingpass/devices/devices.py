"""Devices and their credentials: ThingsBoard's rules and messages for saving (REST reference, 3.3 and 3.4).

Every method is about one tenant: a device of another tenant is not found. What changed is published on the
bus once the store has it, so that look-ups are dropped and connections end.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, DeviceUpdated
from thingpass.clock import Clock
from thingpass.devices.credential_forms import checked_token, stored_form
from thingpass.devices.ota_checks import check_assignable
from thingpass.devices.tenants import new_profile
from thingpass.devices.texts import check_text
from thingpass.errors import AlreadyExists, Invalid, NotFound
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    OTA_FIRMWARE,
    OTA_SOFTWARE,
    Credentials,
    Device,
    DeviceProfile,
    Page,
    Value,
)
from thingpass.store.store import CredentialStore, DeviceStore, OtaPackageStore

TOKEN_LENGTH: Final = 20
"""ThingsBoard's length: 20 of 62 characters, 119 bits."""

_TOKEN_ALPHABET: Final = string.ascii_letters + string.digits
_NAME_CONSTRAINT: Final = "devices.name"
_ID_CONSTRAINT: Final = "credentials.credentials_id"


class RegistryStore(DeviceStore, CredentialStore, OtaPackageStore, Protocol):
    """What this service needs of the store."""


class DeviceService:
    """Adds, changes, finds and removes devices of a tenant, and says what they prove themselves with."""

    def __init__(self, store: RegistryStore, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    async def add(
        self,
        tenant_id: str,
        name: str,
        *,
        profile_name: str | None = None,
        label: str | None = None,
        additional_info_json: str | None = None,
        access_token: str | None = None,
        firmware_id: str | None = None,
        software_id: str | None = None,
        customer_id: str | None = None,
        profile: DeviceProfile | None = None,
        credentials: Credentials | None = None,
        server_attributes: Mapping[str, Value] | None = None,
    ) -> Device:
        """Adds a device with its credentials, in one transaction.

        Those are `credentials` as a person would give them (kind, id and value count), else an access token:
        the one given, or 20 random letters and digits. `profile_name` None means the tenant's default
        profile; an unknown one is created, as in ThingsBoard; `profile` is one of the tenant's and goes
        first. Raises Invalid, and AlreadyExists when the name or the credentials are taken.
        """
        _check_text("name", name, required=True)
        _check_text("label", label)
        stored = _new_credentials(access_token) if credentials is None else stored_form(credentials)
        await self._refuse_taken_name(tenant_id, name)
        await self._refuse_taken_id(tenant_id, stored.credentials_id, device_id=None)
        profile = profile or await self._profile(tenant_id, profile_name)
        now_ms = self._clock.now_ms()
        device = Device(
            id=str(uuid.uuid4()),
            number=0,
            created_at_ms=now_ms,
            tenant_id=tenant_id,
            profile_id=profile.id,
            profile_name=profile.name,
            name=name,
            label=label,
            customer_id=customer_id,
            additional_info_json=additional_info_json,
            firmware_id=firmware_id,
            software_id=software_id,
        )
        await self._check_packages(device)
        stored = msgspec.structs.replace(
            stored, id=str(uuid.uuid4()), created_at_ms=now_ms, device_id=device.id
        )
        try:
            device = await self._store.add_device(device, stored, server_attributes)
        except AlreadyExists as error:
            raise _taken(error) from error
        # The id may be remembered as unknown, from a device that tried before it was added.
        self._bus.publish(CredentialsChanged(device_id=device.id, credentials_ids=(stored.credentials_id,)))
        return device

    async def update(self, tenant_id: str, device: Device) -> Device:
        """Stores name, label, profile, customer, packages and additional information of a device that exists.

        `device.version` is the version that was read. A changed `profile_id` chooses the profile, else a
        changed `profile_name` does. Raises NotFound, Invalid, AlreadyExists, and ThingpassError with the code
        `version-conflict`.
        """
        stored = await self.get(tenant_id, device.id)
        _check_text("name", device.name, required=True)
        _check_text("label", device.label)
        if device.name != stored.name:
            await self._refuse_taken_name(tenant_id, device.name)
        profile_id = await self._changed_profile(stored, device)
        wanted = msgspec.structs.replace(
            stored,
            name=device.name,
            label=device.label,
            profile_id=profile_id,
            customer_id=device.customer_id,
            additional_info_json=device.additional_info_json,
            firmware_id=device.firmware_id,
            software_id=device.software_id,
            version=device.version,
        )
        await self._check_packages(wanted)
        try:
            updated = await self._store.update_device(wanted)
        except AlreadyExists as error:
            raise _taken(error) from error
        moved = updated.profile_id != stored.profile_id
        self._bus.publish(DeviceUpdated(device_id=updated.id, profile_changed=moved))
        return updated

    async def remove(self, tenant_id: str, device_id: str) -> None:
        """Removes a device with all that belongs to it; raises NotFound."""
        device = await self.get(tenant_id, device_id)
        credentials = await self._store.find_credentials_of_device(device.id)
        await self._store.remove_device(device.id)
        ids = () if credentials is None else (credentials.credentials_id,)
        self._bus.publish(DeviceRemoved(device_id=device.id, credentials_ids=ids))

    async def get(self, tenant_id: str, device_id: str) -> Device:
        """Raises NotFound for one that does not exist or is another tenant's."""
        device = await self._store.find_device(device_id)
        if device is None or device.tenant_id != tenant_id:
            raise NotFound(f"Device with id [{device_id}] is not found")
        return device

    async def find_by_name(self, tenant_id: str, name: str) -> Device | None:
        """Upper and lower case matter."""
        return await self._store.find_device_by_name(tenant_id, name)

    async def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        customer_id: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        profile_id: str | None = None,
    ) -> Page:
        """One page of the tenant's (or a customer's) devices; `text_search` is a part of name or label."""
        return await self._store.list_devices(
            tenant_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            customer_id=customer_id,
            sort_by=sort_by,
            descending=descending,
            profile_id=profile_id,
        )

    async def credentials(self, tenant_id: str, device_id: str) -> Credentials:
        """What the device proves itself with, secrets included; raises NotFound."""
        device = await self.get(tenant_id, device_id)
        credentials = await self._store.find_credentials_of_device(device.id)
        if credentials is None:
            raise NotFound(f"Credentials of device with id [{device_id}] are not found")
        return credentials

    async def save_credentials(self, tenant_id: str, credentials: Credentials) -> Credentials:
        """Replaces a device's credentials; its connections end.

        `credentials.id` is that of the stored ones. An X.509 certificate is given as text in
        `credentials_value` (all that `x509.pasted` understands); ids are computed as ThingsBoard does.
        Raises NotFound, Invalid, and AlreadyExists when another device has them: by its name if it is in
        this tenant.
        """
        stored = await self.credentials(tenant_id, credentials.device_id)
        if not credentials.id:
            raise Invalid("Credentials for this device are already specified!")
        if credentials.id != stored.id:
            raise Invalid("Unable to update non-existent device credentials!")
        wanted = stored_form(credentials)
        await self._refuse_taken_id(tenant_id, wanted.credentials_id, device_id=stored.device_id)
        try:
            updated = await self._store.update_credentials(
                msgspec.structs.replace(wanted, created_at_ms=stored.created_at_ms, version=stored.version)
            )
        except AlreadyExists as error:
            raise _taken(error) from error
        if _differ(stored, updated):
            ids = (stored.credentials_id, updated.credentials_id)
            self._bus.publish(CredentialsChanged(device_id=stored.device_id, credentials_ids=ids))
        return updated

    async def _check_packages(self, device: Device) -> None:
        for kind, package_id in ((OTA_FIRMWARE, device.firmware_id), (OTA_SOFTWARE, device.software_id)):
            await check_assignable(self._store, device.tenant_id, device.profile_id, kind, package_id)

    async def _refuse_taken_name(self, tenant_id: str, name: str) -> None:
        if await self._store.find_device_by_name(tenant_id, name) is not None:
            raise AlreadyExists("Device with such name already exists!", constraint=_NAME_CONSTRAINT)

    async def _refuse_taken_id(self, tenant_id: str, credentials_id: str, *, device_id: str | None) -> None:
        taken = await self._store.find_credentials(credentials_id)
        if taken is None or taken.device.id == device_id:
            return
        sentence = "Device credentials are already assigned to another device!"
        if taken.device.tenant_id != tenant_id:
            raise AlreadyExists(sentence, constraint=_ID_CONSTRAINT)
        raise AlreadyExists(
            f"{sentence} They are those of device {taken.device.name!r}.",
            constraint=_ID_CONSTRAINT,
            mend=f"Give each device its own, or give {taken.device.name!r} other credentials first.",
        )

    async def _profile(self, tenant_id: str, name: str | None) -> DeviceProfile:
        if not name:
            return await self._store.get_default_profile(tenant_id)
        _check_text("type", name)
        profile = await self._store.find_profile_by_name(tenant_id, name)
        if profile is not None:
            return profile
        profile = new_profile(tenant_id, name, self._clock.now_ms())
        try:
            await self._store.add_profile(profile)
        except AlreadyExists:
            return await self._profile(tenant_id, name)  # made by somebody else at the same moment
        return profile

    async def _changed_profile(self, stored: Device, wanted: Device) -> str:
        """The profile's id of an update, checked."""
        if wanted.profile_id and wanted.profile_id != stored.profile_id:
            profile = await self._store.find_profile(wanted.profile_id)
            # Deviates: ThingsBoard tells another tenant's profile from one that there is not.
            if profile is None or profile.tenant_id != stored.tenant_id:
                raise Invalid("Device is referencing non existing device profile!")
            return profile.id
        if wanted.profile_name and wanted.profile_name != stored.profile_name:
            return (await self._profile(stored.tenant_id, wanted.profile_name)).id
        return stored.profile_id


def new_access_token() -> str:
    """20 random letters and digits from the system's generator."""
    return "".join(secrets.choice(_TOKEN_ALPHABET) for _ in range(TOKEN_LENGTH))


def _check_text(field: str, text: str | None, *, required: bool = False) -> None:
    check_text("Device", field, text, required=required)


def _new_credentials(access_token: str | None) -> Credentials:
    token = new_access_token() if access_token is None else checked_token(access_token)
    return Credentials(
        id="", created_at_ms=0, device_id="", kind=CREDENTIALS_ACCESS_TOKEN, credentials_id=token
    )


def _differ(one: Credentials, other: Credentials) -> bool:
    return (one.kind, one.credentials_id, one.credentials_value) != (
        other.kind,
        other.credentials_id,
        other.credentials_value,
    )


def _taken(error: AlreadyExists) -> AlreadyExists:
    """The store's finding, when somebody was faster than the checks, in ThingsBoard's words."""
    if "credentials" in error.constraint:
        return AlreadyExists("Specified credentials are already registered!", constraint=error.constraint)
    return AlreadyExists("Device with such name already exists!", constraint=error.constraint)
