"""Claiming: a device says that whom knows a secret may have it; a customer's user says the secret.

Device API reference, 2.8; REST reference, 3.6. A claim holds until its end, whatever the device says
meanwhile (put if absent, as in ThingsBoard): who holds the device for a moment cannot replace the secret of
whom it was given to. Unlike there, a wrong secret does not end it, but attempts are bounded.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
from typing import Final, Protocol

import msgspec
import structlog

from thingpass.attempts import Attempts
from thingpass.bus.bus import Bus
from thingpass.bus.messages import DeviceUpdated
from thingpass.clock import Clock
from thingpass.errors import ThingpassError
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import Claim, Device, JsonText
from thingpass.store.store import AttributeStore, ClaimStore, DeviceStore
from thingpass.telemetry.attributes import SERVER_SCOPE

log = structlog.get_logger(__name__)

ALLOWED_KEY: Final = "claimingAllowed"
"""A server attribute: true lets the device be claimed where `devices.claiming_allowed_by_default` is off."""

DATA_KEY: Final = "claimingData"
"""A server attribute `{"secretKey": "...", "expirationTime": ms}`: a claim that people write themselves."""

LONGEST_SECRET: Final = 1_000
"""Characters."""

LONGEST_WINDOW_MS: Final = 365 * 86_400_000
SALT_BYTES: Final = 16

FAILURES_PER_DEVICE: Final = 10
FAILURES_PER_USER: Final = 30
"""Wrong secrets within five minutes, for one device and by one user."""


class ClaimResult(enum.Enum):
    """ThingsBoard's answers."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"  # no claim, one that has ended, or a wrong secret
    CLAIMED = "CLAIMED"  # it is somebody's


class ClaimingTriedTooOften(ThingpassError):
    """A device or a user has had too many wrong secrets. `retry_after_s`: seconds to wait."""

    code = "too-many-requests"

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"Too many wrong secrets. Try again in {wait_s} seconds.")
        self.retry_after_s = wait_s


class _WrittenClaim(msgspec.Struct, frozen=True, rename="camel"):
    secret_key: str = ""
    expiration_time: int = 0


class ClaimingStore(ClaimStore, DeviceStore, AttributeStore, Protocol):
    """What this service needs of the store."""


class ClaimService:
    """Use it on one event loop."""

    def __init__(
        self, store: ClaimingStore, bus: Bus, counters: Counters, clock: Clock, settings: DeviceSettings
    ) -> None:
        self._store = store
        self._bus = bus
        self._counters = counters
        self._clock = clock
        self._settings = settings
        self._of_device = Attempts(clock, bound=FAILURES_PER_DEVICE)
        self._of_user = Attempts(clock, bound=FAILURES_PER_USER)

    async def offer(self, device_id: str, secret: str, duration_ms: int = 0) -> bool:
        """The device may be claimed from now on, for so long (<= 0: `devices.claim_window_s`).

        Answers when it is durable: whether the device may be claimed now, by this secret or by one that it
        gave before. Raises NotFound when the device is gone.
        """
        device = await self._store.find_device(device_id)
        if device is None or device.customer_id is not None or not await self._is_allowed(device_id):
            self._count("refused")
            log.info(
                "claim.refused",
                device=None if device is None else device.name,
                problem="the device is somebody's already, or claiming is not allowed",
            )
            return False
        now_ms = self._clock.now_ms()
        window_ms = duration_ms if duration_ms > 0 else self._settings.claim_window_s * 1_000
        salt = secrets.token_bytes(SALT_BYTES)
        claim = Claim(
            device_id=device_id,
            secret_salt=salt,
            secret_sha256=_digest(salt, secret),
            expires_at_ms=now_ms + min(window_ms, LONGEST_WINDOW_MS),
        )
        added = await self._store.add_claim(claim, now_ms)
        self._count("offered" if added else "repeated")
        if added:
            log.info("claim.offered", device=device.name, until_ms=claim.expires_at_ms)
        return True

    async def claim(
        self, device: Device, customer_id: str, secret: str, *, user_id: str
    ) -> tuple[ClaimResult, Device]:
        """Gives the device to the customer if the secret is right. Raises ClaimingTriedTooOften."""
        wait_s = max(self._of_device.wait_s(device.id), self._of_user.wait_s(user_id))
        if wait_s:
            raise ClaimingTriedTooOften(wait_s)
        found = await self._open_claim(device.id)
        if found is None:
            now = await self._store.find_device(device.id)  # somebody may have been faster
            theirs = now is not None and now.customer_id is not None
            result = ClaimResult.CLAIMED if theirs else ClaimResult.FAILURE
        elif not hmac.compare_digest(found.secret_sha256, _digest(found.secret_salt, secret)):
            self._of_device.note(device.id)
            self._of_user.note(user_id)
            result = ClaimResult.FAILURE
        else:
            taken = await self._store.take_claim(device.id, customer_id)
            result = ClaimResult.CLAIMED if taken is None else ClaimResult.SUCCESS
            if taken is not None:
                await self._used_up(taken)
                device = taken
        self._count(result.value.lower())
        log.info("claim.tried", device=device.name, result=result.value, user=user_id)
        return result, device

    async def give_back(self, device: Device) -> None:
        """The device is nobody's and may be claimed anew. Raises NotFound, and `version-conflict`."""
        await self._store.remove_claim(device.id)
        if device.customer_id is not None:
            await self._store.update_device(msgspec.structs.replace(device, customer_id=None))
            self._bus.publish(DeviceUpdated(device_id=device.id))
        if not self._settings.claiming_allowed_by_default:
            await self._store.save_attributes(
                device.id, SERVER_SCOPE, {ALLOWED_KEY: True}, self._clock.now_ms()
            )
        self._count("given_back")
        log.info("claim.given_back", device=device.name)

    async def _used_up(self, device: Device) -> None:
        used = [DATA_KEY] if self._settings.claiming_allowed_by_default else [DATA_KEY, ALLOWED_KEY]
        await self._store.remove_attributes(device.id, SERVER_SCOPE, used)
        self._bus.publish(DeviceUpdated(device_id=device.id))

    async def _is_allowed(self, device_id: str) -> bool:
        if self._settings.claiming_allowed_by_default:
            return True
        found = await self._store.find_attributes(device_id, SERVER_SCOPE, (ALLOWED_KEY,))
        return bool(found) and found[0].value is True

    async def _open_claim(self, device_id: str) -> Claim | None:
        """What the device offered, else what people wrote; None: nothing, or it has ended."""
        now_ms = self._clock.now_ms()
        for claim in (await self._store.find_claim(device_id), await self._written_claim(device_id)):
            if claim is not None and now_ms < claim.expires_at_ms:
                return claim
        return None

    async def _written_claim(self, device_id: str) -> Claim | None:
        """The claim that people wrote as a server attribute; None: none, or one that nobody can read."""
        found = await self._store.find_attributes(device_id, SERVER_SCOPE, (DATA_KEY,))
        if not found or not isinstance(found[0].value, JsonText):
            return None
        try:
            written = msgspec.json.decode(found[0].value.encode(), type=_WrittenClaim)
        except msgspec.MsgspecError:
            log.warning("claim.unreadable", device_id=device_id, attribute=DATA_KEY)
            return None
        return Claim(
            device_id=device_id,
            secret_salt=b"",
            secret_sha256=_digest(b"", written.secret_key),
            expires_at_ms=written.expiration_time,
        )

    def _count(self, result: str) -> None:
        self._counters.claims[result] = self._counters.claims.get(result, 0) + 1


def _digest(salt: bytes, secret: str) -> bytes:
    """A secret that is printed on a device has few bits; the salt keeps two devices' from looking alike."""
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogatepass")).digest()
