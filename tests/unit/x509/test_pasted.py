"""What people paste where a certificate belongs: understood if it leaves no doubt, else refused by name."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12
from cryptography.x509 import load_der_x509_certificate
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import (
    NOW,
    UNHURRIED,
    WORKED_ID,
    WORKED_PEM,
    chain,
    issue,
    key,
    key_pem,
    public_key_pem,
    revocation_list_pem,
    signing_request_pem,
)
from thingpass.x509 import jks, pasted
from thingpass.x509.content_kinds import KINDS
from thingpass.x509.errors import NotACertificate
from thingpass.x509.keystore_entries import KeyEntry
from thingpass.x509.pasted import read_certificates
from thingpass.x509.private_keys import KeyKind, pkcs8_der, pkcs8_pem, traditional_pem

# pytest sets filters of its own; outside of it certificate.py silences this one (serial number 0 and below).
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

LINES = WORKED_PEM.splitlines()
BODY = "".join(LINES[1:-1])
DER = base64.b64decode(BODY)
BUNDLE = "".join(certificate.pem for certificate in chain())
# OpenSSL's trust settings after the certificate: X509_CERT_AUX with one trusted purpose.
TRUSTED = base64.b64encode(DER + bytes.fromhex("300c300a06082b06010505070301")).decode()


def armoured(label: str, body: str) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


UNDERSTOOD = {
    "as it is": WORKED_PEM,
    "bytes": WORKED_PEM.encode(),
    "CRLF": WORKED_PEM.replace("\n", "\r\n"),
    "CR alone": WORKED_PEM.replace("\n", "\r"),
    "byte order mark": "\ufeff" + WORKED_PEM,
    "byte order mark in bytes": b"\xef\xbb\xbf" + WORKED_PEM.encode(),
    "UTF-16, as an old Windows editor saves": WORKED_PEM.encode("utf-16"),
    "preamble": f"Bag Attributes\n    friendlyName: x\nsubject=CN = x\n\n{WORKED_PEM}",
    "preamble in Latin-1": "subject=O = Züri\n".encode("latin-1") + WORKED_PEM.encode(),
    "text after it": f"{WORKED_PEM}\nThank you!",
    "spaces before END": WORKED_PEM.replace("-----END", "  -----END"),
    "indented": "\n".join(f"    {line}\t" for line in LINES),
    "one line": WORKED_PEM.replace("\n", ""),
    "one line with spaces": WORKED_PEM.replace("\n", " "),
    "empty lines between": WORKED_PEM.replace("\n", "\n\n"),
    "literal line breaks from JSON": WORKED_PEM.replace("\n", "\\n"),
    "literal CRLF from JSON": WORKED_PEM.replace("\n", "\\r\\n"),
    "a JSON string with its quotes": json.dumps(WORKED_PEM),
    "slashes escaped as some JSON writers do": json.dumps(WORKED_PEM).replace("/", "\\/"),
    "in backticks": f"```\n{WORKED_PEM}```",
    "hard spaces and zero widths from a web page": WORKED_PEM.replace("\n", "\u200b\n\u00a0"),
    "TRUSTED CERTIFICATE": armoured("TRUSTED CERTIFICATE", TRUSTED),
    "X509 CERTIFICATE": WORKED_PEM.replace(" CERTIFICATE", " X509 CERTIFICATE"),
    "bare base64 on one line": BODY,
    "bare base64 on lines": "\n".join(LINES[1:-1]),
    "bare base64 with CRLF and quotes": '"' + "\r\n".join(LINES[1:-1]) + '",',
    "twice": WORKED_PEM * 2,
    "parameters before it": armoured("EC PARAMETERS", "BggqhkjOPQMBBw==") + WORKED_PEM,
}  # fmt: skip


@pytest.mark.parametrize("text", UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_worked_example_is_understood(text: str | bytes) -> None:
    certificates = read_certificates(text)
    assert [certificate.credentials_id for certificate in certificates] == [WORKED_ID]


def test_bundle_comes_out_leaf_first_in_any_order() -> None:
    leaf, authority, root = (certificate.pem for certificate in chain())
    for text in (leaf + authority + root, root + authority + leaf, authority + leaf + root):
        assert read_certificates(text) == chain()


def test_leaf_is_found_beside_an_authority_that_did_not_issue_it() -> None:
    stranger = issue("stranger", key(3), is_ca=True)
    assert read_certificates(stranger.pem + chain()[0].pem) == (chain()[0],)


def store_p12() -> bytes:
    certificate = load_der_x509_certificate(chain()[0].der)
    return pkcs12.serialize_key_and_certificates(b"a", key(), certificate, None, NoEncryption())


def store_jks() -> bytes:
    entry = KeyEntry("a", key(), (chain()[0],))
    return jks.write([entry], store_password="password", key_password="password", created_at=NOW)


def bundle_p7() -> bytes:
    return pkcs7.serialize_certificates([load_der_x509_certificate(chain()[0].der)], Encoding.PEM)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "empty"),
    "blanks": (" \r\n\t\ufeff", "empty"),
    "private key": (key_pem(), "private-key"),
    "private key, bytes": (key_pem().encode(), "private-key"),
    "EC private key": (traditional_pem(key()).decode(), "private-key"),
    "RSA private key": (traditional_pem(key(0, KeyKind("RSA"))).decode(), "private-key"),
    "encrypted private key": (pkcs8_pem(key(), b"secret").decode(), "encrypted-private-key"),
    "private key after its certificate": (WORKED_PEM + key_pem(), "private-key"),
    "private key before its certificate": (key_pem() + WORKED_PEM, "private-key"),
    "private key cut off": (key_pem()[:80], "private-key"),
    "private key without its first line": (key_pem().split("\n", 1)[1], "private-key"),
    "private key with odd dashes": (key_pem().replace("-----", "—"), "private-key"),
    "private key as bare base64": (base64.b64encode(pkcs8_der(key())).decode(), "private-key"),
    "private key called a certificate": (key_pem().replace("PRIVATE KEY", "CERTIFICATE"), "private-key"),
    "private key, DER": (pkcs8_der(key()), "private-key"),
    "SSH private key": (armoured("OPENSSH PRIVATE KEY", "b3BlbnNzaA=="), "ssh-private-key"),
    "PuTTY key": ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none", "ssh-private-key"),
    "SSH public key": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@host", "ssh-public-key"),
    "SSH2 public key": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END", "ssh-public-key"),
    "signing request": (signing_request_pem(), "signing-request"),
    "signing request, bare": ("".join(signing_request_pem().splitlines()[1:-1]), "signing-request"),
    "public key": (public_key_pem(), "public-key"),
    "revocation list": (revocation_list_pem(), "revocation-list"),
    "PKCS#7": (bundle_p7(), "pkcs7"),
    "DER file": (DER, "der-file"),
    "DER file read as Latin-1": (DER.decode("latin-1"), "der-file"),
    "DER file read as UTF-8 with losses": (DER.decode("utf-8", "replace"), "der-file"),
    "PKCS#12": (store_p12(), "pkcs12"),
    "PKCS#12 as base64": (base64.b64encode(store_p12()).decode(), "pkcs12"),
    "JKS": (store_jks(), "jks"),
    "JKS read as Latin-1": (store_jks().decode("latin-1"), "jks"),
    "JKS as base64": (base64.b64encode(store_jks()).decode(), "jks"),
    "another binary file": (b"\x89PNG\r\n\x1a\n\x00\xff", "binary"),
    "END missing": (WORKED_PEM.split("-----END")[0], "truncated"),
    "BEGIN missing": ("\n".join(LINES[1:]), "truncated"),
    "second BEGIN before END": (WORKED_PEM.split("-----END")[0] + WORKED_PEM, "truncated"),
    "half a bundle": (BUNDLE[:-100], "truncated"),
    "base64 cut at an odd place": (BODY[:-5], "truncated"),
    "base64 cut at an even place": (BODY[:-8], "truncated"),
    "body with lines missing": ("\n".join([*LINES[:3], *LINES[5:]]), "truncated"),
    "body empty": (f"{LINES[0]}\n{LINES[-1]}", "damaged"),
    "body no base64": (f"{LINES[0]}\n§§§\n{LINES[-1]}", "damaged"),
    "body of a hole": (f"{LINES[0]}\n...\n{LINES[-1]}", "damaged"),
    "web page": ("<!DOCTYPE html><html><body>Not found</body></html>", "web-page"),
    "JSON": ('{"credentialsType": "ACCESS_TOKEN", "credentialsId": "x"}', "json"),
    "printed certificate": ("Certificate:\n    Data:\n        Version: 3 (0x2)\n", "printed-certificate"),
    "fingerprint": ("SHA256 Fingerprint=" + ":".join(["AB"] * 32), "fingerprint"),
    "bare fingerprint": ("ab" * 32, "fingerprint"),
    "file name": ("mqttclient.pub.pem", "file-name"),
    "access token": ("A1_TEST_TOKEN", "unknown"),
    "prose": ("please register my device\nit is the red pump\n" * 5, "unknown"),
    "PGP": ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----", "pgp"),
    "two devices": (issue("a", key(0)).pem + issue("b", key(1)).pem, "ambiguous"),
    "too many": ("".join(issue(f"d{n}", key()).pem for n in range(21)), "too-many"),
    "too large": (" " * pasted.LARGEST_TEXT + WORKED_PEM, "too-large"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "found"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_certificate_is_refused_by_name(text: str | bytes, found: str) -> None:
    with pytest.raises(NotACertificate) as refusal:
        read_certificates(text)
    assert refusal.value.found == found
    assert refusal.value.sentence.endswith(".")
    assert refusal.value.mend
    assert_repeats_nothing(refusal.value, text)


def assert_repeats_nothing(error: NotACertificate, text: str | bytes) -> None:
    """No run of base64 of the input stands in the error: it could be a key."""
    runs = re.findall("[A-Za-z0-9+/]{24,}", text if isinstance(text, str) else text.decode("latin-1"))
    said = f"{error} {error.mend} {error!r}"
    assert not any(run[:16] in said for run in runs)


def test_every_kind_says_what_it_is_and_what_to_do() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.phrase for kind in KINDS}) == len(KINDS)
    assert all(kind.mend and not kind.mend.endswith(".") for kind in KINDS)


def test_time_for_hostile_text_is_linear() -> None:
    size = pasted.LARGEST_TEXT
    hostile = (
        "-----BEGIN " * (size // 11),
        "-----BEGIN CERTIFICATE-----" * (size // 27),
        ("A" + " " * 200_000 + "!"),
        "AB:" * (size // 3),
        "-----BEGIN A-----\n-----END A-----\n" * (size // 36),
        "MI" + "A" * (size - 3) + "=",
        "[" * size,
    )
    for text in hostile:  # each would take minutes if it were quadratic; the test's own time limit ends that
        with pytest.raises(NotACertificate):
            read_certificates(text)


@UNHURRIED
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_only_its_own_error_is_raised(text: str | bytes) -> None:
    try:
        read_certificates(text)
    except NotACertificate:
        pass


@UNHURRIED
@given(st.data())
def test_only_its_own_error_is_raised_for_nearly_right_text(data: st.DataObject) -> None:
    pieces = st.sampled_from(
        [*LINES, BODY, key_pem(), "-----BEGIN ", "-----END ", "-----", "\\n", "\r\n", " ", "\x00", "é", "="]
    )
    text = "".join(data.draw(st.lists(pieces, max_size=12)))
    cut = data.draw(st.integers(0, len(text)))
    for one in (text, text[:cut], text.encode(), text.encode("utf-16")):
        try:
            read_certificates(one)
        except NotACertificate as error:
            assert_repeats_nothing(error, text)


@UNHURRIED
@given(
    before=st.text(max_size=50).filter(lambda text: "-----" not in text and "PRIVATE" not in text),
    breaks=st.sampled_from(["\n", "\r\n", "\r", " ", "\n\n", "\\n", "\n\t"]),
    indent=st.sampled_from(["", "  ", "\t", "\u00a0"]),
)
def test_certificate_is_found_whatever_surrounds_it(before: str, breaks: str, indent: str) -> None:
    text = before + "\n" + breaks.join(indent + line for line in LINES)
    assert read_certificates(text)[0].credentials_id == WORKED_ID
