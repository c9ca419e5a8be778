"""Device profiles: ThingsBoard's rules and messages for saving (REST reference, 4.3 and 4.4).

Every method is about one tenant: a profile of another tenant is not found. What changed is published on the
bus once the store has it, so that connected devices follow.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import string
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import ProfileChanged
from thingpass.clock import Clock
from thingpass.devices.texts import check_text
from thingpass.devices.transport_configuration import check_transport
from thingpass.errors import AlreadyExists, Invalid, NotFound
from thingpass.store.rows import (
    PROVISION_ALLOW_CREATE,
    PROVISION_CHECK,
    PROVISION_DISABLED,
    PROVISION_X509_CHAIN,
    TRANSPORT_DEFAULT,
    TRANSPORT_MQTT,
    DeviceProfile,
    ProfileName,
    ProfilePage,
)
from thingpass.store.store import ProfileStore
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import NotACertificate
from thingpass.x509.fingerprints import credentials_value
from thingpass.x509.pasted import read_certificates

FIRMWARE: Final = "FIRMWARE"
SOFTWARE: Final = "SOFTWARE"
LONGEST_TEXT: Final = 300_000
"""Characters of a description, an image or what else a profile holds as text."""

LONGEST_PATTERN: Final = 255
KEY_LENGTH: Final = 20
_KEY_ALPHABET: Final = string.ascii_letters + string.digits
_TRANSPORTS: Final = (TRANSPORT_DEFAULT, TRANSPORT_MQTT)
_PROVISION_TYPES: Final = (PROVISION_DISABLED, PROVISION_ALLOW_CREATE, PROVISION_CHECK, PROVISION_X509_CHAIN)

PackageCheck: TypeAlias = Callable[[str, str, str, str], Awaitable[None]]
"""Tenant, profile, FIRMWARE or SOFTWARE, package: raises Invalid when the profile cannot have the package."""


async def no_packages(tenant_id: str, profile_id: str, kind: str, package_id: str) -> None:
    raise Invalid(f"Can't assign non-existent {kind.lower()}!")


class ProfileService:
    """Adds, changes, finds and removes the profiles of a tenant."""

    def __init__(
        self, store: ProfileStore, bus: Bus, clock: Clock, *, check_package: PackageCheck = no_packages
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._check_package = check_package

    async def add(self, wanted: DeviceProfile) -> DeviceProfile:
        """`wanted.id`, time and version are made here. Raises Invalid and AlreadyExists."""
        profile = msgspec.structs.replace(
            wanted, id=str(uuid.uuid4()), created_at_ms=self._clock.now_ms(), version=1
        )
        if profile.is_default:
            raise _second_default()
        profile = await self._checked(profile, stored=None)
        try:
            await self._store.add_profile(profile)
        except AlreadyExists as error:
            raise _taken(error, profile) from error
        return profile

    async def update(self, wanted: DeviceProfile) -> DeviceProfile:
        """Replaces all of it but tenant and time; its devices follow at once.

        `wanted.version` is the version that was read; 0: whatever it is. Raises NotFound, Invalid,
        AlreadyExists, and ThingpassError with the code `version-conflict`.
        """
        stored = await self.get(wanted.tenant_id, wanted.id)
        if wanted.is_default and not stored.is_default:
            raise _second_default()
        wanted = msgspec.structs.replace(
            wanted,
            created_at_ms=stored.created_at_ms,
            is_default=stored.is_default,  # it is moved by `set_default`, never taken away
            version=wanted.version or stored.version,
        )
        profile = await self._checked(wanted, stored=stored)
        try:
            updated = await self._store.update_profile(profile)
        except AlreadyExists as error:
            raise _taken(error, profile) from error
        self._bus.publish(ProfileChanged(profile_id=updated.id))
        return updated

    async def remove(self, tenant_id: str, profile_id: str) -> None:
        """Raises NotFound, and Invalid for the default one and while devices have it."""
        profile = await self.get(tenant_id, profile_id)
        if profile.is_default:
            raise Invalid(
                "Deletion of Default Device Profile is prohibited!",
                mend="Make another one the default first.",
            )
        if await self._store.profile_is_used(profile_id):
            raise _used()
        try:
            await self._store.remove_profile(profile_id)
        except Invalid as error:  # a device came in between
            raise _used() from error
        self._bus.publish(ProfileChanged(profile_id=profile_id))

    async def set_default(self, tenant_id: str, profile_id: str) -> DeviceProfile:
        """The profile of devices that name none, from now on. Raises NotFound."""
        before = await self._store.get_default_profile(tenant_id)
        await self.get(tenant_id, profile_id)
        await self._store.set_default_profile(tenant_id, profile_id)
        for changed in {before.id, profile_id}:
            self._bus.publish(ProfileChanged(profile_id=changed))
        return await self.get(tenant_id, profile_id)

    async def get(self, tenant_id: str, profile_id: str) -> DeviceProfile:
        """Raises NotFound for one that does not exist or is another tenant's."""
        profile = await self._store.find_profile(profile_id)
        if profile is None or profile.tenant_id != tenant_id:
            raise NotFound(f"Device profile with id [{profile_id}] is not found")
        return profile

    async def get_default(self, tenant_id: str) -> DeviceProfile:
        return await self._store.get_default_profile(tenant_id)

    async def find_by_name(self, tenant_id: str, name: str) -> DeviceProfile | None:
        """Upper and lower case matter."""
        return await self._store.find_profile_by_name(tenant_id, name)

    async def names(self, tenant_id: str, *, used_only: bool = False) -> tuple[ProfileName, ...]:
        """`used_only`: of those that devices have."""
        return await self._store.list_profiles(tenant_id, used_only=used_only)

    async def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        transport_type: str | None = None,
    ) -> ProfilePage:
        """One page; `text_search` is a part of the name."""
        return await self._store.list_profile_page(
            tenant_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            sort_by=sort_by,
            descending=descending,
            transport_type=transport_type,
        )

    async def _checked(self, profile: DeviceProfile, *, stored: DeviceProfile | None) -> DeviceProfile:
        """The profile as it may be stored, provisioning in its normal form."""
        check_text("Device profile", "name", profile.name, required=True)
        for field in ("description", "image", "transport_json", "data_json", "provision_secret"):
            text: str | None = getattr(profile, field)
            if text is not None and len(text) > LONGEST_TEXT:
                raise Invalid(f"Validation error: {field} length must be equal or less than {LONGEST_TEXT}")
        if not profile.type:
            raise Invalid("Device profile type should be specified!")
        if profile.type != "DEFAULT":
            raise Invalid(f"Device profile type {profile.type[:40]!r} is not known.", mend="Use DEFAULT.")
        if not profile.transport_type:
            raise Invalid("Device profile transport type should be specified!")
        if profile.transport_type not in _TRANSPORTS:
            raise Invalid(
                f"Device profile transport type {profile.transport_type[:40]!r} is not supported.",
                mend=f"Use {' or '.join(_TRANSPORTS)}.",
            )
        # Schemas and patterns that are made to be slow take a second to read: not on the loop.
        await asyncio.to_thread(check_transport, profile)
        await self._refuse_taken_name(profile, stored)
        for kind, package_id, before in (
            (FIRMWARE, profile.default_firmware_id, stored and stored.default_firmware_id),
            (SOFTWARE, profile.default_software_id, stored and stored.default_software_id),
        ):
            if package_id is not None and package_id != before:
                await self._check_package(profile.tenant_id, profile.id, kind, package_id)
        profile = await asyncio.to_thread(_with_provisioning, profile)
        await self._refuse_taken_key(profile)
        return profile

    async def _refuse_taken_name(self, profile: DeviceProfile, stored: DeviceProfile | None) -> None:
        if stored is not None and stored.name == profile.name:
            return
        if await self._store.find_profile_by_name(profile.tenant_id, profile.name) is not None:
            raise AlreadyExists(
                "Device profile with such name already exists!", constraint="device_profiles.name"
            )

    async def _refuse_taken_key(self, profile: DeviceProfile) -> None:
        if profile.provision_key is not None:
            holder = await self._store.find_profile_by_provision_key(profile.provision_key)
            if holder is not None and holder.id != profile.id:
                raise _key_taken(profile)


def _with_provisioning(profile: DeviceProfile) -> DeviceProfile:
    """A key and a secret where they are needed and not given; of a certificate authority, its certificate."""
    kind = profile.provision_type or PROVISION_DISABLED
    if kind not in _PROVISION_TYPES:
        raise Invalid(
            f"Device provision type {kind[:40]!r} is not known.", mend=f"Use {', '.join(_PROVISION_TYPES)}."
        )
    if kind == PROVISION_X509_CHAIN:
        return _with_authority(profile)
    key, secret = profile.provision_key or None, profile.provision_secret or None
    if kind != PROVISION_DISABLED:
        key, secret = key or _new_key(), secret or _new_key()
    for field, text in (("provisionDeviceKey", key), ("provisionDeviceSecret", secret)):
        check_text("Device profile", field, text)
    return msgspec.structs.replace(profile, provision_type=kind, provision_key=key, provision_secret=secret)


def _with_authority(profile: DeviceProfile) -> DeviceProfile:
    """REST reference, 4.3: the key is the hash of the first certificate, whatever was sent."""
    if not profile.provision_secret:
        raise Invalid(
            "Device profile provision type X509_CERTIFICATE_CHAIN needs the certificate of the authority.",
            mend="Put it, as PEM, into provisionDeviceSecret.",
        )
    try:
        certificates = read_certificates(profile.provision_secret)
    except NotACertificate as error:
        raise Invalid(f"provisionDeviceSecret: {error.sentence}", mend=error.mend) from None
    pattern = profile.provision_pattern
    if pattern is not None:
        if len(pattern) > LONGEST_PATTERN:
            raise Invalid(
                f"certificateRegExPattern has {len(pattern)} characters; {LONGEST_PATTERN} are taken at most."
            )
        try:
            groups = re.compile(pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise Invalid(f"certificateRegExPattern is no regular expression: {error}.") from None
        if groups == 0:
            raise Invalid(
                f"certificateRegExPattern {pattern[:100]!r} has no group.",
                mend="Put the part that is to be the device's name in parentheses: (.*)\\.example\\.org",
            )
    return msgspec.structs.replace(
        profile,
        provision_key=certificates[0].credentials_id,
        provision_secret=_authority_text(certificates),
    )


def _authority_text(certificates: tuple[Certificate, ...]) -> str:
    """As ThingsBoard keeps it: one certificate is bare base64, of more each has its armour."""
    lines = [credentials_value(certificate.der) for certificate in certificates]
    if len(lines) == 1:
        return lines[0]
    return "".join(f"-----BEGIN CERTIFICATE-----\n{line}\n-----END CERTIFICATE-----\n" for line in lines)


def _new_key() -> str:
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(KEY_LENGTH))


def _second_default() -> Invalid:
    return Invalid(
        "Another default device profile is present in scope of current tenant!",
        mend="Save it without `default`, then POST /api/deviceProfile/{id}/default.",
    )


def _used() -> Invalid:
    return Invalid(
        "The device profile referenced by the devices cannot be deleted!",
        mend="Give its devices another profile first.",
    )


def _key_taken(profile: DeviceProfile) -> AlreadyExists:
    sentence = (
        "Device profile with such certificate already exists!"
        if profile.provision_type == PROVISION_X509_CHAIN
        else "Device profile with such provision device key already exists!"
    )
    return AlreadyExists(sentence, constraint="device_profiles.provision_key")


def _taken(error: AlreadyExists, profile: DeviceProfile) -> AlreadyExists:
    """The store's finding, when somebody was faster than the checks, in ThingsBoard's words."""
    if error.constraint == "device_profiles.provision_key":
        return _key_taken(profile)
    return AlreadyExists("Device profile with such name already exists!", constraint=error.constraint)
