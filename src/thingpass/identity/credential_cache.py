"""Look-ups of credentials, remembered in front of the store; misses too, so that guessing costs no reads.

Hits and misses have bounds of their own: a stranger with many tokens pushes out other strangers, never a
device. The bus drops what changed before the change's author goes on (plain functions run inside `publish`).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, DeviceUpdated, ProfileChanged
from thingpass.store.rows import CREDENTIALS_X509, DeviceCredentials
from thingpass.store.store import CredentialStore

MOST_DEVICES = 1_000
"""About 1.5 kB each, for devices that come again and again; another one needs a point read, 6 us."""

MOST_MISSES = 2_000
LONGEST_MISS = 256
"""Characters of an id that is remembered as missing: a stranger may send 64 kB as its user name."""


class CredentialCache:
    """Use it on one event loop. `close` ends its subscriptions."""

    def __init__(self, store: CredentialStore, bus: Bus) -> None:
        self._store = store
        self._rows: OrderedDict[str, DeviceCredentials] = OrderedDict()
        self._id_of_device: dict[str, str] = {}
        self._misses: OrderedDict[str, None] = OrderedDict()
        self._changes = 0
        self._subscriptions = (
            bus.subscribe(CredentialsChanged, self._credentials_changed, on_missed=self.clear),
            bus.subscribe(DeviceRemoved, self._credentials_changed, on_missed=self.clear),
            bus.subscribe(DeviceUpdated, self._device_updated, on_missed=self.clear),
            bus.subscribe(ProfileChanged, self._profile_changed, on_missed=self.clear),
        )

    async def find(self, credentials_id: str) -> DeviceCredentials | None:
        """The row under this id, or None. Raises Unavailable when the store does."""
        row = self._rows.get(credentials_id)
        if row is not None:
            self._rows.move_to_end(credentials_id)
            return row
        if credentials_id in self._misses:
            return None
        changes_before = self._changes
        row = await self._store.find_credentials(credentials_id)
        # What was read while something changed may be older than the change: use it, do not keep it.
        if self._changes == changes_before:
            self._remember(credentials_id, row)
        return row

    def clear(self) -> None:
        """Forgets everything; the store is asked again."""
        self._changes += 1
        self._rows.clear()
        self._id_of_device.clear()
        self._misses.clear()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()

    def _remember(self, credentials_id: str, row: DeviceCredentials | None) -> None:
        if row is None:
            if len(credentials_id) <= LONGEST_MISS:
                self._misses[credentials_id] = None
                if len(self._misses) > MOST_MISSES:
                    self._misses.popitem(last=False)
            return
        self._drop_device(row.device.id)  # one device, one row
        if row.credentials.kind == CREDENTIALS_X509:
            # The certificate is under its hash already; its text would be most of what is kept.
            credentials = msgspec.structs.replace(row.credentials, credentials_value=None)
            row = DeviceCredentials(credentials, row.device)
        self._rows[credentials_id] = row
        self._id_of_device[row.device.id] = credentials_id
        if len(self._rows) > MOST_DEVICES:
            _, oldest = self._rows.popitem(last=False)
            self._id_of_device.pop(oldest.device.id, None)

    def _credentials_changed(self, message: CredentialsChanged | DeviceRemoved) -> None:
        self._changes += 1
        self._drop_device(message.device_id)
        for credentials_id in message.credentials_ids:
            self._misses.pop(credentials_id, None)
            row = self._rows.get(credentials_id)
            if row is not None:
                self._drop_device(row.device.id)

    def _device_updated(self, message: DeviceUpdated) -> None:
        self._changes += 1
        self._drop_device(message.device_id)

    def _profile_changed(self, message: ProfileChanged) -> None:
        """A device's row carries its profile's name."""
        self.clear()

    def _drop_device(self, device_id: str) -> None:
        credentials_id = self._id_of_device.pop(device_id, None)
        if credentials_id is not None:
            self._rows.pop(credentials_id, None)
