"""HTTP's answers, addresses, the connectivity page, keys, and counts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.errors import Invalid, Unavailable
from thingpass.simulation.device import DeviceIdentity
from thingpass.simulation.discovery import find_listener
from thingpass.simulation.fleet import shares
from thingpass.simulation.http_requests import AnswerReader, AnswerUnusable, request_bytes
from thingpass.simulation.keys import certificate_of, load_or_make_keys
from thingpass.simulation.tally import MOST_REASONS, OTHER_REASONS, Tally, latencies_since, merge
from thingpass.simulation.target import matches_host, read_target, resolve
from thingpass.x509.certificate import Certificate
from thingpass.x509.pasted import read_certificates

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
)


@given(st.integers(1, len(ANSWERS)))
def test_http_answers_are_read_however_they_are_cut(cut: int) -> None:
    reader = AnswerReader()
    answers = []
    for start in range(0, len(ANSWERS), cut):
        answers += reader.receive(ANSWERS[start : start + cut])
    assert [(answer.status, answer.body, answer.keeps_connection) for answer in answers] == [
        (200, b"", True),
        (429, b"{}", True),
        (200, b"[]", False),
    ]
    assert [answer.retry_after_s for answer in answers] == [None, 3.0, None]


def test_what_is_no_http_is_said() -> None:
    with pytest.raises(AnswerUnusable):
        AnswerReader().receive(b"\x20\x02\x00\x00")


def test_requests_carry_what_a_server_needs() -> None:
    assert request_bytes("POST", "h:1", "/p", b"{}") == (
        b"POST /p HTTP/1.1\r\nHost: h:1\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtts://example.com", "mqtts://example.com:8883"),
        ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
        ("https://h/", "https://h:443"),
        ("http://h:80", "http://h:80"),
    ],
)
def test_addresses_are_read(text: str, shown: str) -> None:
    assert read_target(text).text == shown


@pytest.mark.parametrize(
    "text", ["", "h:1", "ftp://h", "mqtts://", "mqtts://h:0", "mqtts://h:x", "http://h/path"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not an address"):
        read_target(text)


def test_unknown_name_is_said() -> None:
    with pytest.raises(Unavailable, match="no-such-host"):
        resolve(read_target("mqtts://no-such-host.invalid"))


@pytest.mark.parametrize(
    ("name", "host", "fits"),
    [
        ("a.example.com", "A.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*", "example", False),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_names_of_certificates(name: str, host: str, fits: bool) -> None:
    assert matches_host(name, host) is fits


def test_the_listener_is_found_on_the_connectivity_page() -> None:
    publish = "mosquitto_pub -d -q 1 -h 127.0.0.1 -p 18883 -t v1/devices/me/telemetry --cafile ca-root.pem"
    page = {"mqtt": {"mqtts": ["curl -f -S -o ca-root.pem http://h/x", publish], "mqtt": publish}}
    assert find_listener(page, "mqtts") == ("127.0.0.1", 18883)
    assert find_listener(page, "mqtt") == ("127.0.0.1", 18883)
    post = "curl -v --cacert ca-root.pem -X POST https://h.example:8443/api/v1/me/telemetry --data '{}'"
    assert find_listener({"http": {"https": ["curl http://h/x", post]}}, "https") == ("h.example", 8443)


@pytest.mark.parametrize(
    "page", [None, [], {}, {"mqtt": 1}, {"mqtt": {"mqtts": ["'", 1]}}, {"mqtt": {"mqtts": "x -h"}}]
)
def test_another_page_tells_nothing(page: object) -> None:
    assert find_listener(page, "mqtts") is None


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    seen: list[int] = []
    few = load_or_make_keys(tmp_path / "new", "sim", ["sim-0", "sim-1"], progress=seen.append)
    more = load_or_make_keys(tmp_path / "new", "sim", ["sim-0", "sim-1", "sim-2"], progress=seen.append)
    assert more[:2] == few
    assert load_or_make_keys(tmp_path / "new", "sim", ["sim-0"], progress=seen.append) == few[:1]
    assert seen[-1] == 1
    assert stat.S_IMODE((tmp_path / "new" / "sim.pem").stat().st_mode) == 0o600
    assert "PRIVATE" not in certificate_of(few[0])
    (leaf,) = read_certificates(certificate_of(more[2]))
    assert isinstance(leaf, Certificate)
    assert leaf.common_name == "sim-2"
    assert leaf.key_description == "EC secp256r1"


def test_identities_show_no_secret() -> None:
    assert "s3cret" not in repr(DeviceIdentity(number=1, name="n", token="s3cret", key_pem="s3cret"))


def test_shares_hold_every_device_once_and_none_is_empty() -> None:
    devices = [DeviceIdentity(number=number, name=str(number)) for number in range(5)]
    parts = shares(devices, 3)
    assert sorted(device.number for part in parts for device in part) == [0, 1, 2, 3, 4]
    assert [len(part) for part in shares(devices[:2], 8)] == [1, 1]


def test_counts_of_processes_add_up() -> None:
    one, other = Tally(), Tally()
    one.connected, other.connected = 2, 3
    one.answered(0.001)
    other.answered(0.001)
    one.problem("no", "example")
    other.problem("no")
    total = merge([one.snapshot(5), other.snapshot(5)])
    assert (total.wanted, total.connected, total.acknowledged) == (10, 5, 2)
    assert list(total.latencies.values()) == [2]
    assert (total.problems["no"].count, total.problems["no"].example) == (2, "example")


def test_a_snapshot_does_not_change_with_the_counts() -> None:
    tally = Tally()
    tally.problem("no")
    before = tally.snapshot(1)
    tally.answered(1.0)
    tally.problem("no")
    assert before.problems["no"].count == 1
    assert not before.latencies
    assert latencies_since(tally.snapshot(1).latencies, before.latencies) == tally.latencies


def test_reasons_are_bounded() -> None:
    tally = Tally()
    for number in range(MOST_REASONS + 100):
        tally.problem(f"reason {number}")
    assert len(tally.problems) == MOST_REASONS + 1
    assert tally.problems[OTHER_REASONS].count == 100
