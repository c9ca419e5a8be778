"""What may go over the bus: one frozen struct each.

A message is about one device, or one profile, and says little: ids and names, never secrets and never stored
values (whoever needs them reads the store, which is right by then). Its tag is its subject's first part and
stays as it is once released, because nodes of two versions talk to each other during an upgrade.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="message"):
    """Base of everything on the bus. `device_id` is the key by which subscribers may narrow what they get."""

    device_id: str


ReplyT = TypeVar("ReplyT")


class Request(Message, Generic[ReplyT], frozen=True):
    """Base of messages that are answered, by a value of the type `ReplyT`."""


class CredentialsChanged(Message, frozen=True, tag="credentials-changed"):
    """A device's credentials were replaced; the ids are the old one and the new one.

    Look-ups of these ids are stale, and the device's connections must end.
    """

    credentials_ids: tuple[str, ...]


class DeviceUpdated(Message, frozen=True, tag="device-updated"):
    """A device's row changed (name, label, profile); its credentials and connections did not."""

    profile_changed: bool = False


class DeviceRemoved(Message, frozen=True, tag="device-removed"):
    """A device is gone, with its credentials, which had these ids."""

    credentials_ids: tuple[str, ...] = ()


class ProfileChanged(Message, frozen=True, kw_only=True, tag="profile-changed"):
    """A device profile was changed or removed: its name, its transport or anything else in it."""

    profile_id: str
    device_id: str = ""  # it is about no single device


class SharedAttributesChanged(Message, frozen=True, tag="shared-attributes-changed"):
    """Shared attributes with these keys were saved or removed; whoever pushes them reads them first."""

    keys: tuple[str, ...]


class ServerAttributesChanged(Message, frozen=True, tag="server-attributes-changed"):
    """Server attributes with these keys were saved or removed."""

    keys: tuple[str, ...]


class DeviceConnected(Message, frozen=True, tag="device-connected"):
    """A device has a session, be it its first or one that took another's place."""

    at_ms: int


class DeviceDisconnected(Message, frozen=True, tag="device-disconnected"):
    """A device's last session is over. It may be active for a while yet."""

    at_ms: int


class DeviceBecameActive(Message, frozen=True, tag="device-became-active"):
    """An inactive device was heard of."""

    at_ms: int


class DeviceBecameInactive(Message, frozen=True, tag="device-became-inactive"):
    """A device was silent for its inactivity timeout, connected or not."""

    at_ms: int


MESSAGES: tuple[type[Message], ...] = (
    CredentialsChanged,
    DeviceUpdated,
    DeviceRemoved,
    ProfileChanged,
    SharedAttributesChanged,
    ServerAttributesChanged,
    DeviceConnected,
    DeviceDisconnected,
    DeviceBecameActive,
    DeviceBecameInactive,
)
