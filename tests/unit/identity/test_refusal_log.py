from __future__ import annotations

import tracemalloc

import pytest
from structlog.testing import capture_logs

from tests.unit.identity.examples import NOW_MS, TENANT_ID, make_device
from thingpass.identity import refusals
from thingpass.identity.plain_words import LONGEST_TEXT
from thingpass.identity.refusal_lines import MOST_REMEMBERED, QUIET_MS
from thingpass.identity.refusal_log import RefusalLog
from thingpass.identity.refusals import REFUSALS, Refusal
from thingpass.store.rows import Device


def record(
    log: RefusalLog,
    refusal: Refusal = refusals.TOKEN_UNKNOWN,
    *,
    device: Device | None = None,
    at_ms: int = NOW_MS,
    peer_address: str = "192.0.2.7",
    **seen: str,
) -> None:
    log.record(
        refusal,
        listener="mqtts",
        peer_address=peer_address,
        peer_port=40_000,
        at_ms=at_ms,
        seen=seen,
        device=device,
    )


def test_an_entry_has_its_texts_made() -> None:
    log = RefusalLog()
    log.record(
        refusals.CERTIFICATE_EXPIRED,
        listener="mqtts",
        peer_address="192.0.2.7",
        peer_port=40_000,
        at_ms=NOW_MS,
        seen={"subject": "CN=Pump 1", "device": "Pump 1", "ago": "12 days", "not_after": "then"},
        device=make_device(),
        subject="CN=Pump 1",
        fingerprint="ab" * 32,
    )
    (entry,) = log.list()
    assert entry.sentence == "Certificate CN=Pump 1 of device Pump 1 ended 12 days ago, on then."
    assert (entry.code, entry.at_ms, entry.device_name) == ("certificate-expired", NOW_MS, "Pump 1")
    assert (entry.peer_address, entry.peer_port, entry.listener) == ("192.0.2.7", 40_000, "mqtts")
    assert (entry.subject, entry.fingerprint_sha256) == ("CN=Pump 1", "ab" * 32)


def test_the_newest_come_first_and_the_oldest_go() -> None:
    log = RefusalLog(kept=3)
    for number in range(5):
        record(log, user_name=str(number))
    assert [entry.seen["user_name"] for entry in log.list()] == ["4", "3", "2"]
    assert [entry.id for entry in log.list(2)] == [5, 4]
    assert log.list(0) == ()


def test_a_flood_of_strangers_leaves_a_devices_own_refusals() -> None:
    log = RefusalLog(kept=10, kept_per_device=2)
    device = make_device()
    for number in range(3):
        record(log, device=device, user_name=str(number))
    for _ in range(50):
        record(log)
    assert [entry.seen["user_name"] for entry in log.list(device_id=device.id)] == ["2", "1"]
    assert log.list(device_id="another") == ()


def test_the_number_of_devices_is_bounded_too() -> None:
    log = RefusalLog(kept=20, kept_per_device=5)
    devices = [make_device(str(number)) for number in range(100)]
    for _ in range(5):
        for device in devices:
            record(log, device=device)
    kept = sum(len(log.list(device_id=device.id)) for device in devices)
    assert kept <= 20
    assert len(log.list(device_id=devices[-1].id)) >= 1
    record(log, device=devices[0])
    record(log, device=devices[0])
    assert len(log.list(device_id=devices[0].id)) >= 2


def test_a_removed_device_is_forgotten() -> None:
    log = RefusalLog(kept=10, kept_per_device=5)
    device = make_device()
    record(log, device=device)
    log.forget_device(device.id)
    log.forget_device(device.id)
    assert log.list(device_id=device.id) == ()
    assert len(log.list()) == 1


def test_a_tenant_sees_its_own_and_the_strangers() -> None:
    log = RefusalLog()
    record(log, device=make_device("mine"))
    record(log, device=make_device("theirs", tenant_id="tenant-2"))
    record(log)
    assert [entry.device_name for entry in log.list(tenant_id=TENANT_ID)] == [None, "mine"]
    mine = log.list(tenant_id=TENANT_ID, include_strangers=False)
    assert [entry.device_name for entry in mine] == ["mine"]
    assert len(log.list()) == 3


def test_every_code_is_counted_from_the_start() -> None:
    log = RefusalLog()
    assert log.counts == {row.code: 0 for row in REFUSALS}
    for row in REFUSALS:
        record(log, row)
    record(log, REFUSALS[0])
    assert log.counts[REFUSALS[0].code] == 2
    assert sum(log.counts.values()) == len(REFUSALS) + 1


def test_what_a_stranger_sent_is_made_harmless_and_short() -> None:
    log = RefusalLog()
    record(log, client_id="a\x1b[2J\n" + "x" * 60_000)
    (entry,) = log.list()
    assert entry.sentence.isprintable()
    assert len(entry.seen["client_id"]) < 2 * LONGEST_TEXT


def test_memory_stays_bounded_whatever_is_sent() -> None:
    log = RefusalLog(kept=1_000, kept_per_device=50)
    tracemalloc.start()
    try:
        for number in range(5_000):
            record(
                log,
                device=make_device(str(number)),
                peer_address=f"192.0.{number % 256}.{number // 256}",
                client_id="x" * 60_000,
                user_name="y" * 60_000,
            )
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 8_000_000


class TestLines:
    @pytest.fixture
    def log(self) -> RefusalLog:
        return RefusalLog()

    def test_one_line_an_address_and_reason_a_minute(self, log: RefusalLog) -> None:
        with capture_logs() as lines:
            for second in range(59):
                record(log, at_ms=NOW_MS + second * 1000)
            record(log, refusals.PASSWORD_WRONG)
            record(log, peer_address="192.0.2.8")
            record(log, at_ms=NOW_MS + QUIET_MS)
        assert [(line["code"], line["peer"]) for line in lines] == [
            ("token-unknown", "192.0.2.7"),
            ("password-wrong", "192.0.2.7"),
            ("token-unknown", "192.0.2.8"),
            ("token-unknown", "192.0.2.7"),
        ]
        assert [line.get("held_back") for line in lines] == [None, None, None, 58]
        assert all(line["sentence"] for line in lines)

    def test_the_memory_of_them_is_bounded(self, log: RefusalLog) -> None:
        with capture_logs() as lines:
            for number in range(MOST_REMEMBERED + 1):
                record(log, peer_address=str(number))
            record(log, peer_address="0")
        assert len(lines) == MOST_REMEMBERED + 2

    def test_a_clock_that_was_set_back_does_not_silence_them(self, log: RefusalLog) -> None:
        with capture_logs() as lines:
            record(log)
            record(log, at_ms=NOW_MS - 1)
        assert len(lines) == 2
