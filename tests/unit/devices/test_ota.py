"""Packages on their way to devices: what is told, in which order, at which pace, and what a crash leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import SharedAttributesChanged
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.ota import Ota, make_ota
from thingpass.devices.ota_blocks import BLOCK_BYTES, OtaBlocks
from thingpass.devices.ota_checks import check_assignable
from thingpass.devices.profiles import ProfileService
from thingpass.errors import Invalid, NotFound, Unavailable
from thingpass.metrics import Counters
from thingpass.settings import OtaSettings
from thingpass.store.rows import OTA_FIRMWARE, OTA_SOFTWARE, Device, OtaPackage, Tenant
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.ingest import Ingest

IMAGE = bytes(range(256)) * 4_000


class House:
    """The parts that an update goes through, without a socket."""

    def __init__(self, store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock) -> None:
        self.store, self.tenant, self.bus, self.clock = store, tenant, bus, clock
        self.counters = Counters()
        self.ingest = Ingest(store)
        self.devices = DeviceService(store, bus, clock)
        self.profiles = ProfileService(store, bus, clock, check_package=partial(check_assignable, store))
        self.ota = self.make_ota()
        self.told: list[SharedAttributesChanged] = []
        bus.subscribe(SharedAttributesChanged, self.told.append)

    def make_ota(self, **settings: int) -> Ota:
        return make_ota(
            OtaSettings(**settings),
            store=self.store,
            devices=self.devices,
            profiles=self.profiles,
            ingest=self.ingest,
            bus=self.bus,
            clock=self.clock,
            counters=self.counters,
        )

    async def add(self, data: bytes | None = b"abc", **members: object) -> OtaPackage:
        fields = {"kind": OTA_FIRMWARE, "title": "pump-fw", "version": "1", "profile_id": None, **members}
        package = OtaPackage(id="", created_at_ms=0, tenant_id="", **fields)
        package = await self.ota.packages.add(self.tenant.id, package)
        if data is None:
            return package
        upload = await self.ota.packages.begin_upload(self.tenant.id, package.id)
        await upload.write(data)
        return await self.ota.packages.finish_upload(
            upload,
            file_name="../fw.bin",
            content_type="not a type",
            algorithm="crc32",
            checksum="C2412435" if data == b"abc" else None,
        )

    async def assign(self, device: Device, package: OtaPackage | None, kind: str = OTA_FIRMWARE) -> None:
        package_id = None if package is None else package.id
        await self.ota.assignments.assign_to_device(self.tenant.id, device.id, kind, package_id)

    async def assign_to_profile(self, package: OtaPackage | None) -> None:
        profile = await self.store.get_default_profile(self.tenant.id)
        package_id = None if package is None else package.id
        await self.ota.assignments.assign_to_profile(self.tenant.id, profile.id, OTA_FIRMWARE, package_id)

    async def tell_all(self) -> None:
        while await self.ota.rollouts.step() is not None:
            pass

    async def shared(self, device: Device) -> dict[str, object]:
        found = await self.store.find_attributes(device.id, "SHARED_SCOPE", None)
        return {attribute.key: attribute.value for attribute in found}

    async def latest(self, device: Device) -> dict[str, object]:
        found = await self.store.latest(device.number, None)
        return {key: point.value for key, point in found.items()}


@pytest.fixture
async def house(
    store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock
) -> AsyncIterator[House]:
    house = House(store, tenant, bus, clock)
    await house.ingest.start()
    yield house
    await house.ota.stop()
    await house.ingest.stop()


class TestTelling:
    async def test_device_is_told_all_of_its_package_in_one_message(self, house: House) -> None:
        package = await house.add(tag="pump-fw 1")
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=package.id)
        await house.tell_all()
        assert await house.shared(device) == {
            "fw_title": "pump-fw",
            "fw_version": "1",
            "fw_tag": "pump-fw 1",
            "fw_size": 3,
            "fw_checksum": "c2412435",
            "fw_checksum_algorithm": "CRC32",
        }
        latest = await house.latest(device)
        assert latest.pop("target_fw_ts")
        assert latest == {
            "target_fw_title": "pump-fw",
            "target_fw_version": "1",
            "target_fw_tag": "pump-fw 1",
            "fw_state": "INITIATED",
        }
        series = await house.store.series(
            device.number, ["fw_state"], start_ms=0, end_ms=1 << 50, limit=9, descending=False
        )
        assert [point.value for point in series["fw_state"]] == ["QUEUED", "INITIATED"]
        [message] = house.told
        assert (message.device_id, len(message.keys)) == (device.id, 6)
        assert house.counters.ota_devices_told == 1

    async def test_keys_that_no_longer_hold_go_first(self, house: House) -> None:
        file = await house.add(tag="t")
        elsewhere = await house.add(None, version="2", url="https://example.org/fw.bin")
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=file.id)
        await house.tell_all()
        await house.assign(device, elsewhere)
        await house.tell_all()
        assert await house.shared(device) == {
            "fw_title": "pump-fw",
            "fw_version": "2",
            "fw_url": "https://example.org/fw.bin",
        }
        _, removed, changed = house.told
        assert set(removed.keys) == {"fw_tag", "fw_size", "fw_checksum", "fw_checksum_algorithm"}
        assert set(changed.keys) == {"fw_title", "fw_version", "fw_url"}

    async def test_package_taken_away_takes_its_keys_along(self, house: House) -> None:
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=(await house.add()).id)
        await house.store.save_attributes(device.id, "SHARED_SCOPE", {"limit": 5}, 1)
        await house.tell_all()
        await house.assign(device, None)
        await house.tell_all()
        assert await house.shared(device) == {"limit": 5}
        assert "fw_title" in house.told[-1].keys

    async def test_software_and_firmware_are_apart(self, house: House) -> None:
        software = await house.add(kind=OTA_SOFTWARE, title="app")
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=(await house.add()).id)
        await house.assign(device, software, OTA_SOFTWARE)
        await house.tell_all()
        shared = await house.shared(device)
        assert (shared["fw_title"], shared["sw_title"]) == ("pump-fw", "app")
        assert (await house.latest(device))["sw_state"] == "INITIATED"

    async def test_what_was_told_is_not_told_again(self, house: House) -> None:
        package = await house.add()
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=package.id)
        await house.tell_all()
        house.told.clear()
        await house.assign_to_profile(package)
        await house.assign(device, None)  # the profile gives it the same
        await house.tell_all()
        assert house.told == []

    async def test_device_that_moves_to_another_profile_follows_it(self, house: House) -> None:
        await house.assign_to_profile(await house.add())
        device = await house.devices.add(house.tenant.id, "pump")
        await house.tell_all()
        assert "fw_title" in await house.shared(device)
        await house.devices.update(house.tenant.id, msgspec.structs.replace(device, profile_name="other"))
        await house.tell_all()
        assert await house.shared(device) == {}


class TestRollouts:
    async def test_every_follower_is_told_by_page_and_progress_is_seen(self, house: House) -> None:
        own = await house.add(version="own")
        devices = [await house.devices.add(house.tenant.id, f"pump {n}") for n in range(7)]
        other = await house.devices.add(house.tenant.id, "other", firmware_id=own.id)
        await house.assign_to_profile(await house.add())
        await house.tell_all()
        house.ota = house.make_ota(devices_per_s=8)  # pages of two
        await house.assign_to_profile(await house.add(version="2"))
        assert await house.ota.rollouts.step() == pytest.approx(2 / 8)
        assert house.ota.rollouts.waiting == 5
        [rollout, _] = await house.ota.rollouts.list(house.tenant.id, limit=9)
        assert (rollout.devices, rollout.done, rollout.ended_at_ms) == (7, 2, None)
        await house.tell_all()
        assert [(await house.shared(device))["fw_version"] for device in devices] == ["2"] * 7
        assert (await house.shared(other))["fw_version"] == "own"
        assert house.ota.rollouts.waiting == 0

    async def test_rollout_goes_on_where_a_crash_ended_it(self, house: House) -> None:
        for n in range(5):
            await house.devices.add(house.tenant.id, f"pump {n}")
        house.ota = house.make_ota(devices_per_s=8)
        await house.assign_to_profile(await house.add())
        await house.ota.rollouts.step()
        house.ota = house.make_ota(devices_per_s=8)  # nothing of it was in memory
        await house.tell_all()
        [rollout] = await house.ota.rollouts.list(house.tenant.id, limit=9)
        assert (rollout.done, rollout.told) == (5, 5)
        assert [message.device_id for message in house.told] == list(
            dict.fromkeys(message.device_id for message in house.told)
        )

    async def test_crash_between_telemetry_and_attributes_is_made_good(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=(await house.add()).id)

        async def fail(*_: object, **__: object) -> None:
            raise Unavailable("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(house.store, "save_ota_announcements", fail)
            with pytest.raises(Unavailable):
                await house.ota.rollouts.step()
        assert (house.told, await house.shared(device)) == ([], {})
        await house.tell_all()
        assert (await house.shared(device))["fw_version"] == "1"

    async def test_service_wakes_by_itself(self, house: House) -> None:
        package, device = await house.add(), await house.devices.add(house.tenant.id, "pump")
        await house.ota.start()
        told = asyncio.Event()
        house.bus.subscribe(SharedAttributesChanged, lambda _: told.set(), device_id=device.id)
        await house.assign(device, package)
        async with asyncio.timeout(5):
            await told.wait()


class TestDownloads:
    async def test_any_part_comes_back(self, house: House) -> None:
        package = await house.add(IMAGE)
        device = await house.devices.add(house.tenant.id, "pump", firmware_id=package.id)
        downloads = house.ota.downloads
        for size, number in (
            (0, 0),
            (1_000, 0),
            (1_000, 1_023),
            (1_000, 1_024),
            (65_536, 3),
            (0, 1),
            (7, 99),
        ):
            part = await downloads.find_part(
                device.id, OTA_FIRMWARE, title="pump-fw", version="1", chunk_size=size, number=number
            )
            step = size or len(IMAGE)
            expected = IMAGE[step * number : step * number + step]
            assert part.size == len(expected)
            assert await downloads.read(part) == expected
            assert b"".join([piece async for piece in downloads.stream(part)]) == expected

    async def test_http_part_that_is_not_there(self, house: House) -> None:
        downloads = house.ota.downloads
        device = await house.devices.add(house.tenant.id, "pump")
        asked = {"title": "pump-fw", "version": "1"}
        with pytest.raises(NotFound):
            await downloads.find_part(device.id, OTA_FIRMWARE, **asked)
        await house.assign(device, await house.add(None, version="u", url="https://example.org/f"))
        with pytest.raises(NotFound):
            await downloads.find_part(device.id, OTA_FIRMWARE, title="pump-fw", version="u")
        await house.assign(device, await house.add())
        with pytest.raises(Invalid):
            await downloads.find_part(device.id, OTA_FIRMWARE, title="pump-fw", version="2")
        with pytest.raises(Invalid):
            await downloads.find_part(device.id, OTA_FIRMWARE, **asked, chunk_size=-1)

    async def test_block_is_read_once_for_all_and_the_cache_is_bounded(self, house: House) -> None:
        package = await house.add(bytes(BLOCK_BYTES * 5))
        reads: list[int] = []

        class Store:
            async def read_ota_data(self, package_id: str, offset: int, size: int) -> bytes:
                reads.append(offset // BLOCK_BYTES)
                return await house.store.read_ota_data(package_id, offset, size)

        blocks = OtaBlocks(Store(), cache_bytes=BLOCK_BYTES * 2)
        await asyncio.gather(*(blocks.read(package, 10 * n, 10) for n in range(50)))
        assert reads == [0]
        await blocks.read(package, 0, BLOCK_BYTES * 5)
        assert reads == [0, 1, 2, 3, 4]
        assert len(blocks._kept) == 2
        await blocks.read(package, BLOCK_BYTES * 4, 10)
        assert reads == [0, 1, 2, 3, 4]

    async def test_one_that_goes_away_does_not_end_what_others_wait_for(self, house: House) -> None:
        package = await house.add(IMAGE)
        blocks = house.ota.blocks
        first = asyncio.create_task(blocks.read(package, 0, 10))
        second = asyncio.create_task(blocks.read(package, 0, 10))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == IMAGE[:10]

    async def test_removed_package_is_not_found(self, house: House) -> None:
        package = await house.add(IMAGE)
        await house.ota.packages.remove(house.tenant.id, package.id)
        with pytest.raises(NotFound):
            await house.ota.blocks.read(package, 0, 10)


async def test_file_name_and_content_type_are_made_safe(house: House) -> None:
    package = await house.add()
    assert package.data is not None
    assert (package.data.file_name, package.data.content_type) == ("fw.bin", "application/octet-stream")


async def test_upload_that_a_full_disk_ends_leaves_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = await house.add(None)
    upload = await house.ota.packages.begin_upload(house.tenant.id, package.id)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("thingpass.store.sqlite.package_files.os.write", full)
        with pytest.raises(Unavailable) as caught:
            await upload.write(bytes(1 << 20))
    assert caught.value.code == "store-full"
    await upload.discard()
    assert list((tmp_path / "data" / "ota").iterdir()) == []
