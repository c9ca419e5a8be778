"""A certificate as a value: what it says, and that nothing a peer sends makes a property fail."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import (
    COMMON_NAME_OID,
    UNHURRIED,
    WORKED_PEM,
    chain,
    issue,
    key,
    name_der,
    with_subject,
)
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import Unreadable
from thingpass.x509.pasted import read_certificates
from thingpass.x509.private_keys import KeyKind

# pytest sets filters of its own; outside of it certificate.py silences this one (serial number 0 and below).
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

PROPERTIES = [name for name, value in vars(Certificate).items() if isinstance(value, property)]


def test_worked_example_is_described() -> None:
    certificate = read_certificates(WORKED_PEM)[0]
    assert certificate.subject == "CN=sensor-0001@plant-a"
    assert certificate.issuer == "CN=Example Device CA"
    assert certificate.common_name == "sensor-0001@plant-a"
    assert certificate.serial_number == 0x1002
    assert certificate.not_before == datetime(2026, 11, 23, tzinfo=UTC)
    assert certificate.not_after == datetime(2027, 11, 23, tzinfo=UTC)
    assert certificate.key_description == "EC secp256r1"
    assert not certificate.is_ca
    assert certificate.pem == WORKED_PEM


def test_certificates_with_the_same_der_are_equal() -> None:
    first, second = (read_certificates(WORKED_PEM)[0] for _ in range(2))
    assert first == second
    assert len({first, second}) == 1
    assert "sensor-0001" in repr(first)


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        (KeyKind("RSA", 2048), "RSA 2048"),
        (KeyKind("EC", curve="secp384r1"), "EC secp384r1"),
        (KeyKind("Ed25519"), "Ed25519"),
        (KeyKind("Ed448"), "Ed448"),
    ],
)
def test_key_is_described_in_two_words(kind: KeyKind, description: str) -> None:
    assert issue("device", key(0, kind)).key_description == description


def test_authority_is_told_from_a_leaf() -> None:
    leaf, authority, _ = chain()
    assert authority.is_ca
    assert not leaf.is_ca
    assert leaf.is_issued_by(authority)
    assert not authority.is_issued_by(leaf)


def with_serial_number_zero() -> bytes:
    return issue("device", key(), serial_number=0x42).der.replace(b"\x02\x01\x42", b"\x02\x01\x00", 1)


def test_serial_number_zero_is_accepted() -> None:
    assert Certificate.from_der(with_serial_number_zero()).serial_number == 0


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x00", b"\x30\x82\x01\x00" + bytes(256), b"-----BEGIN"])
def test_what_is_no_der_is_unreadable(der: bytes) -> None:
    with pytest.raises(Unreadable):
        Certificate.from_der(der)


def test_trailing_bytes_are_unreadable() -> None:
    with pytest.raises(Unreadable):
        Certificate.from_der(issue("device", key()).der + b"\x00")


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"a\x00b", "CN=a\\00b"),
        (b"a\nb\x1b[2J", "CN=a\\0Ab\\1B[2J"),
        ("a\u202eb".encode(), "CN=a\\E2\\80\\AEb"),
        (b"x" * 65536, "CN=" + "x" * 65536),
        (b"", "CN="),
        (b"\xff\xfe", "CN=#0c02fffe"),
    ],
    ids=["nul", "control", "bidirectional", "64 KB", "empty", "no UTF-8"],
)
def test_hostile_common_name_is_shown_harmlessly(value: bytes, subject: str) -> None:
    der = with_subject(issue("device", key()), name_der((COMMON_NAME_OID, 0x0C, value)))
    assert Certificate.from_der(der).subject == subject


def test_no_name_is_the_empty_text() -> None:
    certificate = Certificate.from_der(with_subject(issue("device", key()), name_der()))
    assert (certificate.subject, certificate.common_name) == ("", None)


@UNHURRIED
@given(st.data())
def test_damaged_certificate_is_unreadable_or_has_all_properties(data: st.DataObject) -> None:
    der = bytearray(chain()[0].der)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        certificate = Certificate.from_der(bytes(der))
    except Unreadable:
        return
    for name in PROPERTIES:
        getattr(certificate, name)
    repr(certificate)
    certificate.is_issued_by(chain()[1])
    chain()[0].is_issued_by(certificate)


def test_serial_number_zero_does_not_write_into_the_log(tmp_path: Path) -> None:
    path = tmp_path / "device.der"
    path.write_bytes(with_serial_number_zero())
    program = (
        "import pathlib, sys; from thingpass.x509.certificate import Certificate;"
        "print(Certificate.from_der(pathlib.Path(sys.argv[1]).read_bytes()).serial_number)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
