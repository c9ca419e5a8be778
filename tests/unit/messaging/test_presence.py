from __future__ import annotations

from thingpass.messaging.presence import (
    CLOSE_CREDENTIALS_CHANGED,
    CLOSE_TAKEN_OVER,
    Connection,
    Presence,
)


def connection(presence: Presence, device: str, tenant: str = "t") -> Connection:
    return Connection(
        id=presence.next_id(),
        device_id=device,
        device_name=device,
        tenant_id=tenant,
        credentials_kind="ACCESS_TOKEN",
        fingerprint_sha256=None,
        listener="mqtts",
        peer_address="192.0.2.1",
        peer_port=1,
        protocol="MQTT 5.0",
        tls_version="TLSv1.3",
        cipher=None,
        key_exchange_group=None,
        resumed=False,
        client_id="",
        connected_at_ms=0,
    )


def test_a_new_connection_of_a_device_ends_the_earlier_one() -> None:
    presence, ended = Presence(), []
    first = connection(presence, "d")
    presence.opened(first, lambda reason: ended.append((first.id, reason)))
    second = connection(presence, "d")
    presence.opened(second, lambda reason: ended.append((second.id, reason)))
    assert ended == [(first.id, CLOSE_TAKEN_OVER)]
    presence.closed(first)  # its end comes later and does not take the new one out
    assert presence.find_by_device("d") is second
    assert len(presence) == 1


def test_a_device_is_ended_for_a_reason_once() -> None:
    presence, ended = Presence(), []
    presence.opened(connection(presence, "d"), ended.append)
    presence.end_device("d", CLOSE_CREDENTIALS_CHANGED)
    presence.end_device("d", CLOSE_CREDENTIALS_CHANGED)
    assert ended == [CLOSE_CREDENTIALS_CHANGED]
    assert presence.find_by_device("d") is None


def test_a_tenant_sees_its_own_newest_first() -> None:
    presence = Presence()
    for device, tenant in (("a", "t"), ("b", "other"), ("c", "t")):
        presence.opened(connection(presence, device, tenant), lambda reason: None)
    assert [found.device_id for found in presence.list_connections("t")] == ["c", "a"]
    assert [found.device_id for found in presence.list_connections("t", limit=1)] == ["c"]
