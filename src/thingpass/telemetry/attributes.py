"""Attributes of devices and who may write them: the device its client scope, people the other two.

Some server attributes are computed: the server keeps them itself, people read them beside their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final, Protocol

from thingpass.bus.bus import Bus
from thingpass.bus.messages import ServerAttributesChanged, SharedAttributesChanged
from thingpass.clock import Clock
from thingpass.errors import Invalid
from thingpass.store.rows import Attribute, Value
from thingpass.store.store import AttributeStore

CLIENT_SCOPE: Final = "CLIENT_SCOPE"  # what the device says of itself
SHARED_SCOPE: Final = "SHARED_SCOPE"  # what people tell the device
SERVER_SCOPE: Final = "SERVER_SCOPE"  # what people note about the device; it never sees it
SCOPES: Final = (CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE)


class ComputedAttributes(Protocol):
    """Server attributes that nobody writes."""

    @property
    def keys(self) -> frozenset[str]: ...

    async def find(self, device_id: str) -> list[Attribute]:
        """Those that have a value."""


class AttributeService:
    """Whoever changes shared or server attributes does it here, so that the bus hears of it.

    `computed` ones are read in the server scope and never saved.
    """

    def __init__(
        self,
        store: AttributeStore,
        clock: Clock,
        *,
        bus: Bus | None = None,
        computed: ComputedAttributes | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._computed = computed

    async def save(self, device_id: str, scope: str, values: Mapping[str, Value]) -> None:
        """Adds or replaces; returns when it is durable. Raises NotFound, Invalid."""
        _check_scope(scope)
        for key in values:
            if not key.strip():
                raise Invalid("Key cannot be blank")
        if scope == SERVER_SCOPE and self._computed is not None:
            _refuse_computed(self._computed.keys & values.keys())
        if values:
            await self._store.save_attributes(device_id, scope, values, self._clock.now_ms())
            self._publish(device_id, scope, tuple(values))

    async def remove(self, device_id: str, scope: str, keys: Sequence[str]) -> None:
        """Keys that are not there are no error. Raises Invalid for an unknown scope."""
        _check_scope(scope)
        await self._store.remove_attributes(device_id, scope, keys)
        self._publish(device_id, scope, tuple(keys))

    async def find(self, device_id: str, scope: str, keys: Sequence[str] | None = None) -> list[Attribute]:
        """Those that exist, in the order of their keys; all of the scope when `keys` is None."""
        _check_scope(scope)
        found = await self._store.find_attributes(device_id, scope, keys)
        if scope != SERVER_SCOPE or self._computed is None:
            return found
        hidden = self._computed.keys
        if keys is not None and hidden.isdisjoint(keys):
            return found
        wanted = hidden if keys is None else hidden.intersection(keys)
        found = [attribute for attribute in found if attribute.key not in hidden]
        found += [each for each in await self._computed.find(device_id) if each.key in wanted]
        return sorted(found, key=lambda attribute: attribute.key)

    async def find_shared(self, device_id: str, keys: Sequence[str]) -> list[Attribute]:
        """As `find` in the shared scope."""
        return await self._store.find_attributes(device_id, SHARED_SCOPE, keys)

    def _publish(self, device_id: str, scope: str, keys: tuple[str, ...]) -> None:
        if self._bus is None or not keys:
            return
        if scope == SHARED_SCOPE:
            self._bus.publish(SharedAttributesChanged(device_id, keys))
        elif scope == SERVER_SCOPE:
            self._bus.publish(ServerAttributesChanged(device_id, keys))


def _refuse_computed(keys: Set[str]) -> None:
    if keys:
        raise Invalid(
            f"The server keeps {', '.join(sorted(keys))} itself.",
            mend="Leave it out; when a device counts as inactive is said by inactivityTimeout.",
        )


def _check_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise Invalid(f"There is no attribute scope {scope!r}.", mend=f"Use {', '.join(SCOPES)}.")
