"""JKS stores without Java: round trips, foreign passwords, damage. Java reads them in tests/interop."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import NOW, UNHURRIED, chain, issue, key
from thingpass.x509 import jks
from thingpass.x509.errors import KeyStoreUnusable
from thingpass.x509.keystore_entries import Entry, KeyEntry, TrustedEntry
from thingpass.x509.private_keys import KeyKind, public_key_der

# pytest sets filters of its own; outside of it certificate.py silences this one (serial number 0 and below).
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

STORE_PASSWORD, KEY_PASSWORD = "store password", "another, for the key"
PASSWORDS = st.text(st.characters(codec="utf-16"), min_size=6, max_size=12)


@functools.cache
def key_entry(alias: str = "clientalias", kind: KeyKind | None = None) -> KeyEntry:
    if kind is None:
        return KeyEntry(alias, key(), chain())
    return KeyEntry(alias, key(0, kind), (issue("device", key(0, kind)),))


def written(*entries: Entry, store_password: str = STORE_PASSWORD, key_password: str = KEY_PASSWORD) -> bytes:
    return jks.write(entries, store_password=store_password, key_password=key_password, created_at=NOW)


def assert_same_key(one: KeyEntry, other: KeyEntry) -> None:
    assert (one.alias, one.chain) == (other.alias, other.chain)
    assert public_key_der(one.private_key) == public_key_der(other.private_key)


@pytest.mark.parametrize("kind", [None, KeyKind("RSA"), KeyKind("Ed25519"), KeyKind("EC", curve="secp521r1")])
def test_entries_come_back(kind: KeyKind | None) -> None:
    trusted = TrustedEntry("serveralias", chain()[2])
    store = jks.read(written(key_entry(kind=kind), trusted), STORE_PASSWORD)
    locked, second = store.entries
    assert isinstance(locked, jks.LockedKey)
    assert store.is_intact
    assert_same_key(locked.unlock(KEY_PASSWORD), key_entry(kind=kind))
    assert second == trusted


def test_file_begins_as_java_writes_it() -> None:
    assert written(key_entry())[:12].hex() == "feedfeed0000000200000001"


def test_empty_store_is_a_store() -> None:
    assert jks.read(written(), STORE_PASSWORD).entries == ()


def test_wrong_store_password_is_seen_and_the_entries_still_read() -> None:
    store = jks.read(written(key_entry()), "wrong")
    assert store.is_intact is False
    assert len(store.entries) == 1
    assert jks.read(written(key_entry()), None).is_intact is None


def test_wrong_key_password_opens_no_key() -> None:
    locked = jks.read(written(key_entry()), None).entries[0]
    assert isinstance(locked, jks.LockedKey)
    with pytest.raises(KeyStoreUnusable, match="does not open"):
        locked.unlock(STORE_PASSWORD)


def test_aliases_are_written_in_lower_case_as_java_looks_them_up() -> None:
    assert jks.read(written(key_entry("ClientAlias")), None).entries[0].alias == "clientalias"


def test_aliases_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(KeyStoreUnusable, match="alias 'same'"):
        written(key_entry("Same"), TrustedEntry("same", chain()[2]))


def test_key_is_protected_anew_each_time() -> None:
    assert written(key_entry()) != written(key_entry())


def test_reprs_show_no_key() -> None:
    locked = jks.read(written(key_entry()), None).entries[0]
    assert isinstance(locked, jks.LockedKey)
    assert "protected" not in repr(locked)
    assert "private_key" not in repr(locked.unlock(KEY_PASSWORD))


def test_forged_counts_and_sizes_cost_nothing() -> None:
    for count in (0x7FFFFFFF, 0xFFFFFFFF, jks.MOST_ENTRIES + 1):
        forged = jks.MAGIC + (2).to_bytes(4) + count.to_bytes(4) + bytes(20)
        with pytest.raises(KeyStoreUnusable):
            jks.read(forged, None)
    with pytest.raises(KeyStoreUnusable):
        jks.read(bytes(jks.LARGEST_STORE + 1), None)


@UNHURRIED
@given(alias=st.text(st.characters(codec="utf-16"), max_size=20))
def test_any_alias_comes_back(alias: str) -> None:
    store = jks.read(written(TrustedEntry(alias, chain()[2])), STORE_PASSWORD)
    assert store.entries == (TrustedEntry(alias.lower(), chain()[2]),)


@UNHURRIED
@given(store_password=PASSWORDS, key_password=PASSWORDS)
def test_any_passwords_open_what_they_closed(store_password: str, key_password: str) -> None:
    data = written(key_entry(), store_password=store_password, key_password=key_password)
    store = jks.read(data, store_password)
    assert store.is_intact
    assert isinstance(store.entries[0], jks.LockedKey)
    assert_same_key(store.entries[0].unlock(key_password), key_entry())


WHOLE = written(key_entry(), TrustedEntry("serveralias", chain()[2]))


@UNHURRIED
@given(st.data())
def test_damaged_store_is_refused_or_known_to_be_changed(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    damaged = damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))]
    try:
        store = jks.read(bytes(damaged), STORE_PASSWORD)
    except KeyStoreUnusable:
        return
    assert store.is_intact == (bytes(damaged) == WHOLE)
    for entry in store.entries:
        try:
            if isinstance(entry, jks.LockedKey):
                entry.unlock(KEY_PASSWORD)
        except KeyStoreUnusable:
            pass


@UNHURRIED
@given(st.binary(max_size=200))
def test_only_its_own_error_is_raised(data: bytes) -> None:
    for one in (data, jks.MAGIC + data, jks.MAGIC + (2).to_bytes(4) + (1).to_bytes(4) + data):
        try:
            jks.read(one, STORE_PASSWORD)
        except KeyStoreUnusable:
            pass
