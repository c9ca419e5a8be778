"""Devices that ask for an identity: the strategies of a profile's provision key (device API reference, 2.9).

Whoever has key and secret of a profile may make devices of it (ALLOW_CREATE_NEW_DEVICES), or fetch the
credentials of a device that was registered before, once (CHECK_PRE_PROVISIONED_DEVICES). A key belongs to one
profile of the whole installation, and so says the tenant. Everything else answers as if there were no such
key. An answer of success is given when the device is durably stored, in one transaction with the mark that
it was provisioned.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final, Protocol, TypeAlias

import msgspec
import structlog

from thingpass.attempts import Attempts
from thingpass.clock import Clock
from thingpass.devices.devices import DeviceService, new_access_token
from thingpass.errors import AlreadyExists, Invalid
from thingpass.identity import refusals
from thingpass.identity.credentials import BasicCredentials
from thingpass.identity.refusal_log import RefusalLog
from thingpass.identity.refusals import Refusal
from thingpass.metrics import Counters
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    PROVISION_ALLOW_CREATE,
    PROVISION_CHECK,
    Credentials,
    Device,
    DeviceProfile,
)
from thingpass.store.store import AttributeStore, DeviceStore
from thingpass.telemetry.attributes import SERVER_SCOPE

log = structlog.get_logger(__name__)

KINDS: Final = (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    "LWM2M_CREDENTIALS",  # known to ThingsBoard; asked for with data of its own it fails, as there
)
STATE_KEY: Final = "provisionState"
STATE_PROVISIONED: Final = "provisioned"
GATEWAY_INFO: Final = '{"gateway":true}'

FAILURES_PER_ADDRESS: Final = 30
"""Wrong keys and secrets from one address within five minutes, as with logins. A fleet behind one router that
knows its key is never held up."""

_DECOY: Final = "an unknown key costs what a wrong secret does"


class ProvisionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a device asks for. None, and text that is empty, is not given."""

    key: str
    secret: str
    device_name: str | None = None
    kind: str = CREDENTIALS_ACCESS_TOKEN  # one of KINDS
    token: str | None = None
    client_id: str | None = None
    user_name: str | None = None
    password: str | None = None
    certificate: str | None = None  # as text, in any form that `x509.pasted` reads
    is_gateway: bool = False

    def __repr__(self) -> str:  # everything else is secret, or may be
        return f"ProvisionRequest({self.device_name!r}, {self.kind!r})"


class Asker(msgspec.Struct, frozen=True):
    """Where a request came from."""

    listener: str
    peer_address: str
    peer_port: int

    @property
    def address_group(self) -> str:
        """The address by which attempts are counted; of an IPv6 address its /64, which one host has whole."""
        try:
            address = ipaddress.ip_address(self.peer_address.partition("%")[0])
        except ValueError:
            return self.peer_address
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(getattr(address, "ipv4_mapped", None) or address)


class Provisioned(msgspec.Struct, frozen=True):
    """The device may use these credentials from now on."""

    credentials: Credentials

    def __repr__(self) -> str:
        return "Provisioned(...)"


class NotProvisioned(msgspec.Struct, frozen=True):
    """`status` is ThingsBoard's. `reason` tells who proved to know the secret what was wrong."""

    status: str  # NOT_FOUND or FAILURE
    reason: str | None = None


NOT_FOUND: Final = "NOT_FOUND"
FAILURE: Final = "FAILURE"
SUCCESS: Final = "SUCCESS"
LIMITED: Final = "LIMITED"  # counted apart; the device is told FAILURE

ProvisionAnswer: TypeAlias = Provisioned | NotProvisioned


class ProvisioningStore(DeviceStore, AttributeStore, Protocol):
    """What this service needs of the store."""


class ProvisioningService:
    """One for MQTT and HTTP. Use it on one event loop."""

    def __init__(
        self,
        store: ProvisioningStore,
        devices: DeviceService,
        refusal_log: RefusalLog,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._store = store
        self._devices = devices
        self._refusal_log = refusal_log
        self._counters = counters
        self._clock = clock
        self._failures = Attempts(clock, bound=FAILURES_PER_ADDRESS)

    def wait_s(self, asker: Asker) -> int:
        """Seconds for which the address has to wait after too many wrong keys; 0: none."""
        return self._failures.wait_s(asker.address_group)

    async def provision(self, request: ProvisionRequest, asker: Asker) -> ProvisionAnswer:
        """Answers when it is durable. Raises Unavailable when the store is, and nothing for a bad request."""
        wait_s = self.wait_s(asker)
        if wait_s:
            self._count(LIMITED)
            self._record(refusals.PROVISIONING_TRIED_TOO_OFTEN, asker, None, wait=f"{wait_s} s")
            return NotProvisioned(
                FAILURE, f"Too many wrong keys from this address. Try again in {wait_s} seconds."
            )
        profile = await self._proven_profile(request, asker)
        if profile is None:
            self._failures.note(asker.address_group)
            self._count(NOT_FOUND)
            return NotProvisioned(NOT_FOUND)
        try:
            credentials = await self._by_strategy(request, profile, asker)
        except (Invalid, AlreadyExists) as error:
            name = request.device_name or ""
            self._record(refusals.PROVISIONING_FAILED, asker, profile, device=name, problem=error.sentence)
            self._count(FAILURE)
            # Not the mend: it may name another device of the tenant.
            return NotProvisioned(FAILURE, _told(error))
        self._count(SUCCESS)
        return Provisioned(credentials)

    async def _proven_profile(self, request: ProvisionRequest, asker: Asker) -> DeviceProfile | None:
        """The profile of the key, if the secret is its secret and it provisions at all."""
        profile = await self._store.find_profile_by_provision_key(request.key) if request.key else None
        secret = _DECOY if profile is None else profile.provision_secret or ""
        right = hmac.compare_digest(_utf8(secret), _utf8(request.secret)) and bool(request.secret)
        if profile is None:
            self._record(refusals.PROVISION_KEY_UNKNOWN, asker, None)
        elif profile.provision_type not in (PROVISION_ALLOW_CREATE, PROVISION_CHECK):
            # Deviates: ThingsBoard gives no answer for X509_CERTIFICATE_CHAIN, whose "secret" is public.
            self._record(refusals.PROVISION_DISABLED, asker, profile)
        elif not right:
            self._record(refusals.PROVISION_SECRET_WRONG, asker, profile)
        else:
            return profile
        return None

    async def _by_strategy(
        self, request: ProvisionRequest, profile: DeviceProfile, asker: Asker
    ) -> Credentials:
        """Raises Invalid and AlreadyExists for what cannot be."""
        name = None if request.device_name is None else request.device_name.strip()
        if name == "":
            raise Invalid("Device name should be specified!")
        if profile.provision_type == PROVISION_CHECK:
            device, credentials = await self._fetch(profile, name)
        else:
            device, credentials = await self._create(request, profile, name or new_access_token())
        log.info(
            "device.provisioned",
            device=device.name,
            profile=profile.name,
            strategy=profile.provision_type,
            kind=credentials.kind,
            peer=asker.peer_address,
        )
        return credentials

    async def _create(
        self, request: ProvisionRequest, profile: DeviceProfile, name: str
    ) -> tuple[Device, Credentials]:
        device = await self._devices.add(
            profile.tenant_id,
            name,
            profile=profile,
            additional_info_json=GATEWAY_INFO if request.is_gateway else None,
            credentials=_asked_credentials(request),
            server_attributes={STATE_KEY: STATE_PROVISIONED},
        )
        return device, await self._devices.credentials(profile.tenant_id, device.id)

    async def _fetch(self, profile: DeviceProfile, name: str | None) -> tuple[Device, Credentials]:
        device = None if name is None else await self._devices.find_by_name(profile.tenant_id, name)
        if device is None or device.profile_id != profile.id:
            raise Invalid("The profile has no device of this name.")
        credentials = await self._devices.credentials(profile.tenant_id, device.id)
        now_ms = self._clock.now_ms()
        first = await self._store.add_attribute(device.id, SERVER_SCOPE, STATE_KEY, STATE_PROVISIONED, now_ms)
        if not first:
            raise Invalid("The device was provisioned before.")
        return device, credentials

    def _count(self, status: str) -> None:
        self._counters.provisioning[status] = self._counters.provisioning.get(status, 0) + 1

    def _record(self, refusal: Refusal, asker: Asker, profile: DeviceProfile | None, **seen: str) -> None:
        self._refusal_log.record(
            refusal,
            listener=asker.listener,
            peer_address=asker.peer_address,
            peer_port=asker.peer_port,
            at_ms=self._clock.now_ms(),
            seen=seen if profile is None else {"profile": profile.name, **seen},
            tenant_id=None if profile is None else profile.tenant_id,
        )


def _asked_credentials(request: ProvisionRequest) -> Credentials | None:
    """Those that the request brings; None: it brings none, whatever kind it names (2.9)."""
    if not (
        request.token or request.client_id or request.user_name or request.password or request.certificate
    ):
        return None
    value: str | None = request.certificate
    if request.kind == CREDENTIALS_MQTT_BASIC:
        basic = BasicCredentials(request.client_id, request.user_name, request.password)
        value = msgspec.json.encode(basic).decode()
    return Credentials(
        id="",
        created_at_ms=0,
        device_id="",
        kind=request.kind,
        credentials_id=request.token or "",
        credentials_value=value,
    )


def _told(error: Invalid | AlreadyExists) -> str:
    """The sentence without what follows ThingsBoard's: that may name another device."""
    return error.sentence.partition("! ")[0] + ("!" if "! " in error.sentence else "")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
