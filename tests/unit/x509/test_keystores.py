"""A server's identity from whatever files hold it; faults are told with the file's name and the mend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.unit.x509.material import NOW, WORKED_PEM, chain, issue, key, key_pem, signing_request_pem
from thingpass.x509 import jks, pkcs12
from thingpass.x509.errors import IdentityUnusable
from thingpass.x509.keystore_entries import KeyEntry, TrustedEntry
from thingpass.x509.keystores import load_identity, read_certificate_file
from thingpass.x509.private_keys import (
    pkcs8_der,
    pkcs8_pem,
    public_key_der,
    read_private_key,
    traditional_pem,
)

PASSWORD = b"key password"
ENTRY = KeyEntry("serveralias", key(), chain())
LEAF, AUTHORITY, ROOT = chain()
BUNDLE = "".join(certificate.pem for certificate in chain()).encode()


def jks_store(store_password: str = "store password") -> bytes:
    return jks.write(
        [TrustedEntry("root", ROOT), ENTRY, KeyEntry("second", key(3), (issue("second", key(3)),))],
        store_password=store_password,
        key_password=PASSWORD.decode(),
        created_at=NOW,
    )


def traditional_encrypted() -> bytes:
    return key().private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSWORD)
    )


ONE_FILE: dict[str, bytes] = {
    "key first": key_pem().encode() + BUNDLE,
    "certificate first": BUNDLE + key_pem().encode(),
    "encrypted PKCS#8, as keygen writes .pem": pkcs8_pem(key(), PASSWORD) + BUNDLE,
    "traditional key": traditional_pem(key()) + BUNDLE,
    "traditional key, encrypted": traditional_encrypted() + BUNDLE,
    "CRLF and a byte order mark": b"\xef\xbb\xbf" + (key_pem().encode() + BUNDLE).replace(b"\n", b"\r\n"),
    "bag attributes": b"Bag Attributes\n  localKeyID: 01\n" + pkcs8_pem(key(), PASSWORD) + BUNDLE,
    "chain in another order": (ROOT.pem + LEAF.pem + AUTHORITY.pem + key_pem()).encode(),
    "PKCS#12": pkcs12.write(ENTRY, PASSWORD),
    "JKS, opened by the key's password": jks_store(),
    "JKS, one password": jks_store(PASSWORD.decode()),
}  # fmt: skip


@pytest.mark.parametrize("content", ONE_FILE.values(), ids=ONE_FILE.keys())
def test_identity_is_read_from_one_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "server"  # what it is does not hang on its name
    path.write_bytes(content)
    identity = load_identity(path, None, PASSWORD, None)
    assert identity.chain == chain()
    assert public_key_der(read_private_key(identity.private_key_pem, None)) == public_key_der(key())
    assert "PRIVATE KEY" not in repr(identity)


KEY_FILES: dict[str, bytes] = {
    "PKCS#8": pkcs8_pem(key()),
    "PKCS#8, DER": pkcs8_der(key()),
    "encrypted PKCS#8": pkcs8_pem(key(), PASSWORD),
    "traditional": traditional_pem(key()),
    "key in a PKCS#12": pkcs12.write(ENTRY, PASSWORD),
    "key in a JKS": jks_store(),
}


@pytest.mark.parametrize("content", KEY_FILES.values(), ids=KEY_FILES.keys())
@pytest.mark.parametrize("certificate", [LEAF.der, LEAF.pem.encode()], ids=["DER", "PEM"])
def test_identity_is_read_from_two_files(content: bytes, certificate: bytes, tmp_path: Path) -> None:
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(content)
    identity = load_identity(tmp_path / "cert", tmp_path / "key", PASSWORD, None)
    assert identity.chain == (LEAF,)


def test_alias_picks_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "server.jks"
    path.write_bytes(jks_store())
    assert load_identity(path, None, PASSWORD, "Second").chain[0].common_name == "second"
    path.write_bytes(pkcs12.write(ENTRY, PASSWORD))
    assert load_identity(path, None, PASSWORD, "serveralias").chain[0] == LEAF


Faulty = tuple[bytes, bytes | None, bytes | None, str | None, str]
FAULTS: dict[str, Faulty] = {
    # certificate file, key file, password, alias -> a piece of the sentence
    "empty": (b"", None, None, None, "cert is empty"),
    "no key anywhere": (BUNDLE, None, None, None, "no private key, and no key file is named"),
    "no key, DER": (LEAF.der, None, None, None, "no private key, and no key file is named"),
    "a key only": (pkcs8_pem(key()), None, None, None, "a private key"),
    "a request": (signing_request_pem().encode(), pkcs8_pem(key()), None, None, "signing request"),
    "damaged certificate": (LEAF.pem.replace("MII", "MIA").encode(), pkcs8_pem(key()), None, None, "cert: "),
    "key file without a key": (BUNDLE, WORKED_PEM.encode(), None, None, "key: There is no private key"),
    "another key": (BUNDLE, pkcs8_pem(key(3)), None, None, "does not belong to the certificate"),
    "password missing": (BUNDLE, pkcs8_pem(key(), PASSWORD), None, None, "no password was given"),
    "password wrong": (BUNDLE, pkcs8_pem(key(), PASSWORD), b"hunter2", None, "does not open"),
    "PKCS#12, password missing": (pkcs12.write(ENTRY, PASSWORD), None, None, None, "needs a password"),
    "PKCS#12, password wrong": (pkcs12.write(ENTRY, PASSWORD), None, b"hunter2", None, "does not open"),
    "PKCS#12, other alias": (pkcs12.write(ENTRY, PASSWORD), None, PASSWORD, "x", "aliases are: serveralias"),
    "JKS, password missing": (jks_store(), None, None, None, "needs a password"),
    "JKS, password wrong": (jks_store(), None, b"hunter2", None, "does not open"),
    "JKS, the store's password": (jks_store(), None, b"store password", None, "opens the Java key store"),
    "JKS, other alias": (jks_store(), None, PASSWORD, "x", "aliases are: serveralias, second"),
    "JKS without a key": (
        jks.write([], store_password="password", key_password="x", created_at=NOW), None, PASSWORD, None,
        "no private key, only trusted",
    ),
    "JKS cut off": (jks_store()[:200], None, PASSWORD, None, "damaged"),
    "JCEKS": (b"\xce\xce\xce\xce" + bytes(40), None, PASSWORD, None, "JCEKS"),
    "too large": (b"x" * (jks.LARGEST_STORE + 1), None, None, None, "larger than"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("cert", "key_file", "password", "alias", "sentence"), FAULTS.values(), ids=FAULTS.keys()
)
def test_fault_is_one_sentence_with_the_file_and_the_mend(
    cert: bytes,
    key_file: bytes | None,
    password: bytes | None,
    alias: str | None,
    sentence: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "cert").write_bytes(cert)
    if key_file is not None:
        (tmp_path / "key").write_bytes(key_file)
    key_path = None if key_file is None else tmp_path / "key"
    with pytest.raises(IdentityUnusable) as refusal:
        load_identity(tmp_path / "cert", key_path, password, alias)
    assert sentence in refusal.value.sentence
    assert str(tmp_path) in refusal.value.sentence
    assert refusal.value.mend
    assert "\n" not in refusal.value.sentence
    assert "hunter2" not in f"{refusal.value} {refusal.value.mend}"


def remove(path: Path) -> None:
    path.unlink()


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [(remove, "no such file"), (make_directory, "is a directory")],
)
def test_unreadable_file_is_named(spoil: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "cert"
    path.write_bytes(ONE_FILE["key first"])
    spoil(path)
    with pytest.raises(IdentityUnusable, match=f"{path}.*{sentence}"):
        load_identity(path, None, None, None)


def test_forbidden_file_is_named_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, who may run the tests, reads every file
    with pytest.raises(IdentityUnusable, match="may not be read by this user") as refusal:
        load_identity(tmp_path / "cert")
    assert "0600" in str(refusal.value.mend)


def test_certificate_file_is_read_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "mqttserver.cer"
    for content, expected in ((LEAF.der, (LEAF,)), (BUNDLE, chain())):
        path.write_bytes(content)
        assert read_certificate_file(path) == expected
    path.write_bytes(pkcs8_pem(key()))
    with pytest.raises(IdentityUnusable, match=r"mqttserver\.cer: This is a private key"):
        read_certificate_file(path)


def test_warnings_tell_what_clients_will_refuse(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    path.write_text(key_pem() + LEAF.pem)
    identity = load_identity(path)
    assert len(identity.warnings(NOW)) == 1  # no subjectAltName
    for at, word in (
        (LEAF.not_after + timedelta(seconds=1), "ended on"),
        (LEAF.not_before - timedelta(seconds=1), "begins on"),
        (LEAF.not_after - timedelta(days=3), "ends on"),
    ):
        assert word in identity.warnings(at)[0]
