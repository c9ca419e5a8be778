from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tests.unit.identity.examples import (
    NOW_MS,
    TOKEN,
    MemoryStore,
    attempt,
    certificate_row,
    evidence,
    make_leaf,
    token_row,
)
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, DeviceUpdated
from thingpass.clock import ManualClock
from thingpass.identity import credential_cache, refusals
from thingpass.identity.authentication import Authentication, IdentityStore
from thingpass.identity.credential_cache import CredentialCache
from thingpass.identity.decisions import Allowed, Refused
from thingpass.identity.refusal_log import RefusalLog
from thingpass.settings import IdentitySettings
from thingpass.store.rows import DeviceCredentials
from thingpass.store.store import CredentialStore
from thingpass.x509.fingerprints import credentials_id

LEAF = make_leaf()


class House:
    """The room with everything it needs, in memory."""

    def __init__(self, *rows: DeviceCredentials, settings: IdentitySettings | None = None) -> None:
        self.store = MemoryStore(*rows)
        self.bus = LocalBus()
        self.clock = ManualClock(NOW_MS)
        self.refusal_log = RefusalLog()
        self.authentication = Authentication(
            cast("IdentityStore", self.store),
            self.bus,
            self.clock,
            self.refusal_log,
            settings or IdentitySettings(),
        )

    async def by_token(self, token: str = TOKEN) -> Allowed | Refused:
        return await self.authentication.decide(evidence(), attempt(user_name=token))

    async def by_certificate(self, leaf: bytes = LEAF) -> Allowed | Refused:
        return await self.authentication.decide(evidence(leaf), attempt())


async def test_a_known_certificate_is_allowed_and_nothing_is_recorded() -> None:
    house = House(certificate_row(LEAF))
    assert isinstance(await house.by_certificate(), Allowed)
    assert house.refusal_log.list() == ()


async def test_a_refusal_is_recorded_with_all_that_is_known() -> None:
    house = House(certificate_row(make_leaf()))
    decision = await house.by_certificate()
    assert isinstance(decision, Refused)
    assert decision.refusal is refusals.CERTIFICATE_DIFFERS
    (entry,) = house.refusal_log.list(device_id="id of Pump 1")
    assert entry.sentence == decision.sentence
    assert (entry.at_ms, entry.listener, entry.peer_address) == (NOW_MS, "mqtts", "192.0.2.7")
    assert (entry.subject, entry.fingerprint_sha256) == ("CN=Pump 1", decision.fingerprint_sha256)


async def test_the_name_is_looked_up_only_for_a_certificate_that_nobody_has() -> None:
    house = House(certificate_row(LEAF))
    await house.by_certificate()
    assert house.store.reads == [credentials_id(LEAF)]


async def test_a_store_that_does_not_answer_is_a_refusal_and_is_not_remembered() -> None:
    house = House(token_row())
    house.store.break_down()
    decision = await house.by_token()
    assert isinstance(decision, Refused)
    assert (decision.mqtt5, decision.mqtt3) == (0x88, 3)
    assert decision.sentence.endswith("The disk is full.")
    house.store.fault = None
    assert isinstance(await house.by_token(), Allowed)


async def test_the_setting_skips_validity() -> None:
    house = House(certificate_row(LEAF), settings=IdentitySettings(skip_certificate_validity=True))
    house.clock.advance(86_400 * 1_000)
    assert isinstance(await house.by_certificate(), Allowed)
    house = House(certificate_row(LEAF))
    house.clock.advance(86_400 * 1_000)
    assert isinstance(await house.by_certificate(), Refused)


class TestCache:
    async def test_hits_and_misses_cost_one_read(self) -> None:
        house = House(certificate_row(LEAF))
        for _ in range(3):
            assert isinstance(await house.by_certificate(), Allowed)
            assert isinstance(await house.by_token("unknown"), Refused)
        assert len(house.store.reads) == 3  # the certificate, the token's hash, the token

    async def test_changed_credentials_hold_as_soon_as_publish_returns(self) -> None:
        old, new = token_row(), token_row("B1b2C3d4E5f6G7h8I9j0")
        house = House(old)
        assert isinstance(await house.by_token(), Allowed)
        assert isinstance(await house.by_token("B1b2C3d4E5f6G7h8I9j0"), Refused)
        house.store.rows = {new.credentials.credentials_id: new}
        house.bus.publish(
            CredentialsChanged(
                device_id=old.device.id,
                credentials_ids=(old.credentials.credentials_id, new.credentials.credentials_id),
            )
        )
        assert isinstance(await house.by_token(), Refused)
        assert isinstance(await house.by_token("B1b2C3d4E5f6G7h8I9j0"), Allowed)

    @pytest.mark.parametrize("message", [DeviceRemoved, DeviceUpdated])
    async def test_a_removed_or_renamed_device_is_read_again(
        self, message: type[DeviceRemoved] | type[DeviceUpdated]
    ) -> None:
        house = House(token_row())
        await house.by_token()
        house.store.rows = {}
        house.bus.publish(message(device_id="id of Pump 1"))
        assert isinstance(await house.by_token(), Refused)

    async def test_a_row_read_while_it_changed_is_not_kept(self) -> None:
        """The change comes between the store's answer and its use: a stale row must not stay."""
        house = House(token_row())
        may_answer = asyncio.Event()
        read = house.store.find_credentials

        async def slow(id_: str) -> DeviceCredentials | None:
            row = await read(id_)
            await may_answer.wait()
            return row

        house.store.find_credentials = slow  # type: ignore[method-assign]  # the one slow answer
        decision = asyncio.create_task(house.by_token())
        await asyncio.sleep(0.01)
        house.store.rows = {}
        house.bus.publish(CredentialsChanged(device_id="id of Pump 1", credentials_ids=(TOKEN,)))
        may_answer.set()
        await decision
        assert isinstance(await house.by_token(), Refused)

    async def test_it_is_bounded_and_strangers_push_out_no_device(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(credential_cache, "MOST_DEVICES", 3)
        monkeypatch.setattr(credential_cache, "MOST_MISSES", 3)
        rows = [token_row(f"token-{number}", device=str(number)) for number in range(5)]
        store = MemoryStore(*rows)
        cache = CredentialCache(cast("CredentialStore", store), LocalBus())
        for number in range(5):
            await cache.find(f"token-{number}")
        for number in range(100):
            assert await cache.find(f"guess-{number}") is None
        await cache.find("x" * 60_000)
        assert (len(cache._rows), len(cache._id_of_device), len(cache._misses)) == (3, 3, 3)
        store.reads.clear()
        for number in (2, 3, 4):
            assert await cache.find(f"token-{number}") is not None
        assert store.reads == []

    async def test_the_least_used_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credential_cache, "MOST_DEVICES", 2)
        store = MemoryStore(*(token_row(name, device=name) for name in "abc"))
        cache = CredentialCache(cast("CredentialStore", store), LocalBus())
        for name in ("a", "b", "a", "c", "a"):
            await cache.find(name)
        assert store.reads == ["a", "b", "c"]

    async def test_clear_and_close(self) -> None:
        store, bus = MemoryStore(token_row()), LocalBus()
        cache = CredentialCache(cast("CredentialStore", store), bus)
        await cache.find(TOKEN)
        cache.clear()
        await cache.find(TOKEN)
        assert store.reads == [TOKEN, TOKEN]
        cache.close()
        bus.publish(DeviceRemoved(device_id="id of Pump 1", credentials_ids=(TOKEN,)))
        await cache.find(TOKEN)
        assert store.reads == [TOKEN, TOKEN]


async def test_a_removed_devices_refusals_are_forgotten_and_close_ends_it() -> None:
    house = House(certificate_row(make_leaf()))
    await house.by_certificate()
    house.bus.publish(DeviceRemoved(device_id="id of Pump 1"))
    assert house.refusal_log.list(device_id="id of Pump 1") == ()
    await house.by_certificate()
    house.authentication.close()
    house.bus.publish(DeviceRemoved(device_id="id of Pump 1"))
    assert house.refusal_log.list(device_id="id of Pump 1") != ()
