"""The hashes by which a certificate is known, against the reference's worked example (device API, 1.3)."""

from __future__ import annotations

import hashlib

from tests.unit.x509.material import WORKED_ID, WORKED_PEM, WORKED_SHA256
from thingpass.x509.certificate import Certificate
from thingpass.x509.fingerprints import credentials_id, credentials_value, fingerprint_sha256
from thingpass.x509.pasted import read_certificates


def worked() -> Certificate:
    return read_certificates(WORKED_PEM)[0]


def test_credentials_id_is_that_of_the_worked_example() -> None:
    assert credentials_id(worked().der) == WORKED_ID


def test_credentials_value_is_the_text_that_thingsboard_hashes() -> None:
    expected = "".join(WORKED_PEM.splitlines()[1:-1])
    assert credentials_value(worked().der) == expected
    assert hashlib.sha3_256(expected.encode()).hexdigest() == WORKED_ID


def test_fingerprint_is_the_sha256_of_the_der() -> None:
    assert fingerprint_sha256(worked().der) == WORKED_SHA256


def test_certificate_knows_its_own_hashes() -> None:
    assert (worked().credentials_id, worked().fingerprint_sha256) == (WORKED_ID, WORKED_SHA256)
