"""Gather, decide, act: fetches the rows, asks `decide`, and records what was refused."""

from __future__ import annotations

from typing import Protocol

from thingpass.bus.bus import Bus
from thingpass.bus.messages import DeviceRemoved
from thingpass.clock import Clock
from thingpass.errors import ThingpassError
from thingpass.identity import refusals
from thingpass.identity.credential_cache import CredentialCache
from thingpass.identity.decide import Found, decide, lookups
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused, Step
from thingpass.identity.refusal_log import RefusalLog
from thingpass.settings import IdentitySettings
from thingpass.store.rows import DeviceCredentials
from thingpass.store.store import CredentialStore, DeviceStore, TenantStore
from thingpass.tls.evidence import Evidence

MOST_TENANTS_SEARCHED = 10
"""For a device of an unknown certificate's name. It only explains a refusal, so it may miss one."""


class IdentityStore(CredentialStore, DeviceStore, TenantStore, Protocol):
    """What this room reads of the store."""


class Authentication:
    """Says of every connection who it is. `close` ends its subscriptions to the bus."""

    def __init__(
        self,
        store: IdentityStore,
        bus: Bus,
        clock: Clock,
        refusal_log: RefusalLog,
        settings: IdentitySettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._refusal_log = refusal_log
        self._skip_certificate_validity = settings.skip_certificate_validity
        self._cache = CredentialCache(store, bus)
        self._subscription = bus.subscribe(DeviceRemoved, self._device_removed)

    async def decide(self, evidence: Evidence, attempt: ConnectAttempt) -> Allowed | Refused:
        """Decides and records a refusal; a store that does not answer is one of them."""
        at_ms = self._clock.now_ms()
        try:
            found = await self._find(evidence, attempt)
        except ThingpassError as error:
            decision: Allowed | Refused = Refused(
                refusals.STORE_UNAVAILABLE, {"problem": error.sentence}, (Step("store", "no answer"),)
            )
        else:
            decision = decide(
                evidence, attempt, found, at_ms, skip_certificate_validity=self._skip_certificate_validity
            )
        if isinstance(decision, Refused):
            self._record(decision, evidence, at_ms)
        return decision

    def decide_at_once(self, evidence: Evidence, attempt: ConnectAttempt) -> Allowed | Refused | None:
        """As `decide`, without a task, where the store answers point reads at once; None where it may wait.

        A task, and no reading from the socket meanwhile, is a fifth of what an accepted connection costs.
        """
        if not self._store.answers_at_once:
            return None
        deciding = self.decide(evidence, attempt)
        try:
            deciding.send(None)
        except StopIteration as ended:
            decision: Allowed | Refused = ended.value
            return decision
        deciding.close()
        raise AssertionError("the store says that it answers at once, and waited")

    def close(self) -> None:
        self._cache.close()
        self._subscription.close()

    async def _find(self, evidence: Evidence, attempt: ConnectAttempt) -> Found:
        wanted = lookups(evidence, attempt)
        rows = {}
        for credentials_id in wanted.credentials_ids:
            row = await self._cache.find(credentials_id)
            if row is not None:
                rows[credentials_id] = row
        if rows or (name := wanted.namesake) is None:
            return Found(rows)
        return Found(rows, await self._find_namesake(name))

    async def _find_namesake(self, name: str) -> DeviceCredentials | None:
        """The device that an unknown certificate's common name names, with what it really has."""
        for tenant in (await self._store.list_tenants())[:MOST_TENANTS_SEARCHED]:
            device = await self._store.find_device_by_name(tenant.id, name)
            if device is not None:
                credentials = await self._store.find_credentials_of_device(device.id)
                return None if credentials is None else DeviceCredentials(credentials, device)
        return None

    def _record(self, refused: Refused, evidence: Evidence, at_ms: int) -> None:
        self._refusal_log.record(
            refused.refusal,
            listener=evidence.listener,
            peer_address=evidence.peer_address,
            peer_port=evidence.peer_port,
            at_ms=at_ms,
            seen=refused.seen,
            device=refused.device,
            subject=refused.subject,
            fingerprint=refused.fingerprint_sha256,
        )

    def _device_removed(self, message: DeviceRemoved) -> None:
        self._refusal_log.forget_device(message.device_id)
