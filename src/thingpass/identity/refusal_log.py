"""The latest refusals, in memory: a ring over all, and a short ring for each device.

The ring for a device is there so that a flood of strangers does not push out the one refusal that explains
why this device is offline. Memory is bounded three ways: entries in all, entries a device, and entries of all
devices together (which bounds the number of devices); every kept text is bounded too.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping

import msgspec

from thingpass.identity.plain_words import harmless
from thingpass.identity.refusal_lines import RefusalLines
from thingpass.identity.refusals import REFUSALS, Refusal, say
from thingpass.store.rows import Device


class RefusalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One refused connection, with its texts made from the values in `seen`. Nothing here is secret."""

    id: int  # counts up while the server runs
    at_ms: int
    code: str
    sentence: str
    mend: str
    listener: str
    peer_address: str
    peer_port: int
    device_id: str | None
    device_name: str | None
    subject: str | None
    fingerprint_sha256: str | None
    seen: dict[str, str]


class _Kept(msgspec.Struct, frozen=True):
    """What is kept of one; the texts are made when somebody reads them."""

    id: int
    at_ms: int
    refusal: Refusal
    listener: str
    peer_address: str
    peer_port: int
    device_id: str | None
    device_name: str | None
    tenant_id: str | None
    subject: str | None
    fingerprint: str | None
    seen: dict[str, str]


class RefusalLog:
    """Use it on one thread. `counts` has every code from the start, for the metrics."""

    def __init__(self, *, kept: int = 10_000, kept_per_device: int = 50) -> None:
        self._all: deque[_Kept] = deque(maxlen=kept)
        self._of_device: OrderedDict[str, deque[_Kept]] = OrderedDict()
        self._kept = kept
        self._kept_per_device = kept_per_device
        self._kept_of_devices = 0
        self._ids = itertools.count(1)
        self._lines = RefusalLines()
        self.counts: dict[str, int] = {row.code: 0 for row in REFUSALS}

    def record(
        self,
        refusal: Refusal,
        *,
        listener: str,
        peer_address: str,
        peer_port: int,
        at_ms: int,
        seen: Mapping[str, str],
        device: Device | None = None,
        subject: str | None = None,
        fingerprint: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        """Keeps one refusal, counts it and writes a log line; about 10 microseconds.

        `tenant_id`: whose it is where no device is known (a device's own tenant goes first).
        `seen` fills the row's texts; whatever a stranger sent is made harmless here. Never put a secret in.
        """
        entry = _Kept(
            next(self._ids),
            at_ms,
            refusal,
            listener,
            peer_address,
            peer_port,
            None if device is None else device.id,
            None if device is None else device.name,
            tenant_id if device is None else device.tenant_id,
            None if subject is None else harmless(subject),
            fingerprint,
            {name: harmless(value) for name, value in seen.items()},
        )
        self.counts[refusal.code] = self.counts.get(refusal.code, 0) + 1
        self._all.append(entry)
        if device is not None:
            self._keep_for_device(device.id, entry)
        self._lines.write(refusal, peer_address, at_ms, say(refusal.sentence, entry.seen), entry.device_name)

    def list(
        self,
        limit: int = 100,
        device_id: str | None = None,
        *,
        tenant_id: str | None = None,
        include_strangers: bool = True,
    ) -> tuple[RefusalEntry, ...]:
        """The latest, newest first.

        `device_id`: only this device's. `tenant_id`: only those of this tenant's devices and, unless
        `include_strangers` is false, those that belong to no known device.
        """
        entries: Iterable[_Kept] = self._all if device_id is None else self._of_device.get(device_id, ())
        wanted = (
            entry
            for entry in reversed(tuple(entries))
            if tenant_id is None
            or entry.tenant_id == tenant_id
            or (entry.tenant_id is None and include_strangers)
        )
        return tuple(_told(entry) for entry in itertools.islice(wanted, max(0, limit)))

    def forget_device(self, device_id: str) -> None:
        """Drops the ring of a device that was removed."""
        self._kept_of_devices -= len(self._of_device.pop(device_id, ()))

    def _keep_for_device(self, device_id: str, entry: _Kept) -> None:
        ring = self._of_device.get(device_id)
        if ring is None:
            ring = self._of_device[device_id] = deque(maxlen=self._kept_per_device)
        else:
            self._of_device.move_to_end(device_id)
        self._kept_of_devices += len(ring) < self._kept_per_device
        ring.append(entry)
        while self._kept_of_devices > self._kept and len(self._of_device) > 1:
            _, longest_quiet = self._of_device.popitem(last=False)
            self._kept_of_devices -= len(longest_quiet)


def _told(entry: _Kept) -> RefusalEntry:
    return RefusalEntry(
        id=entry.id,
        at_ms=entry.at_ms,
        code=entry.refusal.code,
        sentence=say(entry.refusal.sentence, entry.seen),
        mend=say(entry.refusal.mend, entry.seen),
        listener=entry.listener,
        peer_address=entry.peer_address,
        peer_port=entry.peer_port,
        device_id=entry.device_id,
        device_name=entry.device_name,
        subject=entry.subject,
        fingerprint_sha256=entry.fingerprint,
        seen=dict(entry.seen),
    )
