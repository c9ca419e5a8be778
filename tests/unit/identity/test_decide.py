"""Every way through the decision: device API reference, 1.1, 1.2 and 1.5."""

from __future__ import annotations

import binascii
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.identity.examples import (
    NOW_MS,
    TOKEN,
    attempt,
    basic_row,
    certificate_row,
    evidence,
    make_device,
    make_leaf,
    make_row,
    token_row,
)
from thingpass.identity import refusals
from thingpass.identity.credentials import text_id
from thingpass.identity.decide import Found, decide, lookups
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused
from thingpass.identity.refusals import REFUSALS, Refusal
from thingpass.store.rows import CREDENTIALS_ACCESS_TOKEN, CREDENTIALS_X509, DeviceCredentials
from thingpass.x509.fingerprints import credentials_id, credentials_value, fingerprint_sha256

CERTIFICATE_CODES = (0x87, 5)
WRONG_CODES = (0x86, 5)


def found(*rows: DeviceCredentials, namesake: DeviceCredentials | None = None) -> Found:
    return Found({row.credentials.credentials_id: row for row in rows}, namesake)


def refused(decision: Allowed | Refused, refusal: Refusal, codes: tuple[int, int]) -> Refused:
    assert isinstance(decision, Refused), decision
    assert decision.refusal is refusal
    assert (decision.mqtt5, decision.mqtt3) == codes
    for text in (decision.sentence, decision.mend, decision.for_peer):
        assert "(not known)" not in text, text
    return decision


def allowed(decision: Allowed | Refused, row: DeviceCredentials) -> Allowed:
    assert isinstance(decision, Allowed), decision
    assert (decision.device, decision.credentials) == (row.device, row.credentials)
    return decision


class TestCertificate:
    leaf = make_leaf()

    def test_a_registered_certificate_is_its_device(self) -> None:
        row = certificate_row(self.leaf)
        decision = allowed(decide(evidence(self.leaf), attempt(), found(row), NOW_MS), row)
        assert decision.fingerprint_sha256 == fingerprint_sha256(self.leaf)
        assert [step.check for step in decision.steps] == ["certificate", "validity", "registered for"]

    def test_only_the_leaf_counts(self) -> None:
        row, issuer = certificate_row(self.leaf), make_leaf("Some CA")
        told = msgspec.structs.replace(evidence(), chain_der=(self.leaf, issuer))
        allowed(decide(told, attempt(), found(row), NOW_MS), row)
        told = msgspec.structs.replace(evidence(), chain_der=(issuer, self.leaf))
        assert isinstance(decide(told, attempt(), found(row), NOW_MS), Refused)

    def test_it_goes_before_a_token_which_is_not_looked_at(self) -> None:
        told = attempt(user_name=TOKEN)
        row = certificate_row(self.leaf)
        allowed(decide(evidence(self.leaf), told, found(row, token_row(device="Other")), NOW_MS), row)
        decision = refused(
            decide(evidence(self.leaf), told, found(token_row(device="Other")), NOW_MS),
            refusals.CERTIFICATE_UNKNOWN,
            CERTIFICATE_CODES,
        )
        assert "not looked at" in decision.mend
        assert lookups(evidence(self.leaf), told).credentials_ids == (credentials_id(self.leaf),)

    def test_an_unknown_one_is_refused_with_the_commands_that_register_it(self) -> None:
        decision = refused(
            decide(evidence(self.leaf), attempt(), found(), NOW_MS),
            refusals.CERTIFICATE_UNKNOWN,
            CERTIFICATE_CODES,
        )
        assert "thingpass device credentials 'Pump 1' --x509 FILE" in decision.mend
        assert fingerprint_sha256(self.leaf) in decision.sentence
        assert "CN=Pump 1" in decision.sentence
        assert "Pump" not in decision.for_peer
        assert (decision.subject, decision.device) == ("CN=Pump 1", None)

    def test_a_name_that_is_no_argument_is_left_out_of_the_command(self) -> None:
        for name in ("--force", "a\x1b[31mb", None):
            leaf = make_leaf(name)
            decision = decide(evidence(leaf), attempt(), found(), NOW_MS)
            assert isinstance(decision, Refused)
            assert "thingpass device credentials NAME --x509 FILE" in decision.mend
            assert decision.sentence.isprintable()
        decision = decide(evidence(make_leaf("$(reboot); x")), attempt(), found(), NOW_MS)
        assert isinstance(decision, Refused)
        assert "'$(reboot); x'" in decision.mend

    def test_a_device_of_its_name_with_another_certificate_is_named_to_us_only(self) -> None:
        stored = certificate_row(make_leaf())
        decision = refused(
            decide(evidence(self.leaf), attempt(), found(namesake=stored), NOW_MS),
            refusals.CERTIFICATE_DIFFERS,
            CERTIFICATE_CODES,
        )
        assert "another certificate" in decision.sentence
        assert fingerprint_sha256(_der(stored)) in decision.sentence
        assert fingerprint_sha256(self.leaf) in decision.sentence
        assert decision.device == stored.device
        unknown = decide(evidence(self.leaf), attempt(), found(), NOW_MS)
        assert isinstance(unknown, Refused)
        assert decision.for_peer == unknown.for_peer

    def test_an_unreadable_stored_certificate_is_said(self) -> None:
        for value in ("no base64!", "AAAA", "é", None):
            stored = make_row(CREDENTIALS_X509, "id", value)
            decision = decide(evidence(self.leaf), attempt(), found(namesake=stored), NOW_MS)
            refused(decision, refusals.CERTIFICATE_DIFFERS, CERTIFICATE_CODES)

    def test_a_device_of_its_name_with_a_token_is_said(self) -> None:
        decision = refused(
            decide(evidence(self.leaf), attempt(), found(namesake=token_row()), NOW_MS),
            refusals.CERTIFICATE_NOT_THE_CREDENTIALS,
            CERTIFICATE_CODES,
        )
        assert "an access token" in decision.sentence

    def test_its_id_stored_as_a_token_lets_nobody_in(self) -> None:
        row = make_row(CREDENTIALS_ACCESS_TOKEN, credentials_id(self.leaf))
        refused(
            decide(evidence(self.leaf), attempt(), found(row), NOW_MS),
            refusals.CERTIFICATE_STORED_AS_ANOTHER_KIND,
            CERTIFICATE_CODES,
        )

    def test_what_cannot_be_read_is_refused(self) -> None:
        for der in (b"", b"\x30\x03\x02\x01\x01", b"x" * 10_000):
            refused(
                decide(evidence(der), attempt(), found(), NOW_MS),
                refusals.CERTIFICATE_UNREADABLE,
                CERTIFICATE_CODES,
            )
            assert lookups(evidence(der), attempt()).credentials_ids == ()


class TestValidity:
    ended = make_leaf(begins=timedelta(days=-400), ends=timedelta(days=-12, hours=-3))
    ahead = make_leaf(begins=timedelta(days=3), ends=timedelta(days=400))

    def test_an_ended_one_is_refused_with_its_end(self) -> None:
        row = certificate_row(self.ended)
        decision = refused(
            decide(evidence(self.ended), attempt(), found(row), NOW_MS),
            refusals.CERTIFICATE_EXPIRED,
            CERTIFICATE_CODES,
        )
        assert decision.sentence == (
            "Certificate CN=Pump 1 of device Pump 1 ended 12 days ago, on 2026-05-20 09:00:00 UTC."
        )
        assert decision.device == row.device
        assert "2026-06-01 12:00:00 UTC" in decision.mend

    def test_one_that_begins_later_is_refused_with_the_clocks_difference(self) -> None:
        decision = refused(
            decide(evidence(self.ahead), attempt(), found(certificate_row(self.ahead)), NOW_MS),
            refusals.CERTIFICATE_NOT_YET_VALID,
            CERTIFICATE_CODES,
        )
        assert "3 days ahead of this server's clock, which says 2026-06-01 12:00:00 UTC" in decision.sentence
        assert "2026-06-04 12:00:00 UTC" in decision.for_peer

    def test_an_ended_one_that_nobody_knows_is_ended_first(self) -> None:
        for namesake in (None, token_row()):
            decision = refused(
                decide(evidence(self.ended), attempt(), found(namesake=namesake), NOW_MS),
                refusals.CERTIFICATE_EXPIRED,
                CERTIFICATE_CODES,
            )
            assert decision.device is None
            assert decision.sentence.startswith("Certificate CN=Pump 1 ended")

    @pytest.mark.parametrize("leaf", [ended, ahead])
    def test_the_setting_skips_the_dates_and_nothing_else(self, leaf: bytes) -> None:
        row = certificate_row(leaf)
        allowed(decide(evidence(leaf), attempt(), found(row), NOW_MS, skip_certificate_validity=True), row)
        refused(
            decide(evidence(leaf), attempt(), found(), NOW_MS, skip_certificate_validity=True),
            refusals.CERTIFICATE_UNKNOWN,
            CERTIFICATE_CODES,
        )

    @pytest.mark.parametrize(
        ("offset_ms", "valid"),
        [(-1, False), (0, True), (86_400_000, True), (86_400_999, True), (86_401_000, False)],
    )
    def test_both_ends_belong_to_the_validity(self, offset_ms: int, valid: bool) -> None:
        leaf = make_leaf(begins=timedelta(0), ends=timedelta(days=1))
        decision = decide(evidence(leaf), attempt(), found(certificate_row(leaf)), NOW_MS + offset_ms)
        assert isinstance(decision, Allowed) is valid


class TestToken:
    def test_the_token_is_its_device_whatever_password_and_client_id(self) -> None:
        row = token_row()
        for told in (
            attempt(user_name=TOKEN),
            attempt("any", TOKEN),
            attempt("any", TOKEN, b"any"),
        ):
            allowed(decide(evidence(), told, found(row), NOW_MS), row)
            assert TOKEN in lookups(evidence(), told).credentials_ids

    def test_an_unknown_one_is_refused_and_not_shown(self) -> None:
        decision = refused(
            decide(evidence(), attempt("sensor", TOKEN), found(), NOW_MS), refusals.TOKEN_UNKNOWN, WRONG_CODES
        )
        assert "A1b... (20 characters)" in decision.sentence
        assert "sensor" in decision.sentence
        assert_secret_is_nowhere(decision, TOKEN)

    def test_a_user_name_that_is_a_certificates_id_lets_nobody_in(self) -> None:
        leaf = make_leaf()
        row = certificate_row(leaf)
        told = attempt(user_name=credentials_id(leaf))
        refused(decide(evidence(), told, found(row), NOW_MS), refusals.TOKEN_OF_ANOTHER_KIND, WRONG_CODES)


class TestBasic:
    both = basic_row(text_id("c|u"), '{"clientId":"c","userName":"u","password":"secret"}')
    user_only = basic_row("u", '{"clientId":null,"userName":"u","password":"secret"}')
    client_only = basic_row(text_id("c"), '{"clientId":"c"}')

    def test_client_id_user_name_and_password(self) -> None:
        allowed(decide(evidence(), attempt("c", "u", b"secret"), found(self.both), NOW_MS), self.both)

    def test_the_wrong_password_ends_it_without_a_second_try(self) -> None:
        token = make_row(CREDENTIALS_ACCESS_TOKEN, "u", device="Other")
        decision = refused(
            decide(evidence(), attempt("c", "u", b"notright"), found(self.both, token), NOW_MS),
            refusals.PASSWORD_WRONG,
            WRONG_CODES,
        )
        assert decision.device == make_device()
        assert_secret_is_nowhere(decision, "secret", "notright")

    def test_no_password_where_one_is_stored(self) -> None:
        for password in (None, b""):
            refused(
                decide(evidence(), attempt("c", "u", password), found(self.both), NOW_MS),
                refusals.PASSWORD_MISSING,
                WRONG_CODES,
            )

    def test_another_device_whose_id_collides_is_passed_over_for_the_token(self) -> None:
        collides = basic_row(text_id("c|u"), '{"clientId":"c|u"}')
        token = make_row(CREDENTIALS_ACCESS_TOKEN, "u")
        allowed(decide(evidence(), attempt("c", "u"), found(collides, token), NOW_MS), token)

    def test_user_name_alone(self) -> None:
        for client_id in ("", "any"):
            told = attempt(client_id, "u", b"secret")
            allowed(decide(evidence(), told, found(self.user_only), NOW_MS), self.user_only)
            told = attempt(client_id, "u", b"wrong")
            decision = decide(evidence(), told, found(self.user_only), NOW_MS)
            refused(decision, refusals.PASSWORD_WRONG, WRONG_CODES)

    def test_a_hash_as_user_name_lets_nobody_in(self) -> None:
        """The raw user name is an id too, and may be another's hash."""
        told = attempt("x", text_id("c|u"), b"secret")
        refused(decide(evidence(), told, found(self.both), NOW_MS), refusals.TOKEN_UNKNOWN, WRONG_CODES)

    def test_client_id_alone(self) -> None:
        allowed(decide(evidence(), attempt("c"), found(self.client_only), NOW_MS), self.client_only)
        allowed(decide(evidence(), attempt("c", ""), found(self.client_only), NOW_MS), self.client_only)
        allowed(
            decide(evidence(), attempt("c", None, b"x"), found(self.client_only), NOW_MS), self.client_only
        )

    def test_a_client_id_that_imitates_both_lets_nobody_in(self) -> None:
        refused(
            decide(evidence(), attempt("c|u"), found(self.both), NOW_MS),
            refusals.CLIENT_ID_UNKNOWN,
            (0x85, 2),
        )

    def test_a_client_id_with_a_stored_password(self) -> None:
        row = basic_row(text_id("c"), '{"clientId":"c","password":"secret"}')
        refused(
            decide(evidence(), attempt("c", None, b"x"), found(row), NOW_MS),
            refusals.PASSWORD_WRONG,
            WRONG_CODES,
        )

    def test_unreadable_credentials_are_nobodys(self) -> None:
        rows = (basic_row("u", "{"), basic_row(text_id("c"), "{"), basic_row(text_id("c|u"), "{"))
        for told in (attempt("c"), attempt("c", "u"), attempt("", "u")):
            assert isinstance(decide(evidence(), told, found(*rows), NOW_MS), Refused)

    def test_a_token_with_the_hash_of_a_client_id_is_no_client_id(self) -> None:
        row = make_row(CREDENTIALS_ACCESS_TOKEN, text_id("c"))
        refused(decide(evidence(), attempt("c"), found(row), NOW_MS), refusals.CLIENT_ID_UNKNOWN, (0x85, 2))


class TestNothing:
    """Device API reference, 1.5: the codes depend on what CONNECT held."""

    @pytest.mark.parametrize(
        ("told", "refusal", "codes"),
        [
            (attempt(), refusals.CREDENTIALS_MISSING, (0x87, 5)),
            (attempt("  "), refusals.CREDENTIALS_MISSING, (0x87, 5)),
            (attempt("", "", b""), refusals.CREDENTIALS_MISSING, (0x87, 5)),
            (attempt("c"), refusals.CLIENT_ID_UNKNOWN, (0x85, 2)),
            (attempt("", None, b"p"), refusals.USER_NAME_MISSING, (0x86, 5)),
            (attempt("c", None, b"p"), refusals.USER_NAME_MISSING, (0x86, 5)),
            (attempt("c", "u"), refusals.TOKEN_UNKNOWN, (0x86, 5)),
            (attempt("", "u", b"p"), refusals.TOKEN_UNKNOWN, (0x86, 5)),
        ],
    )
    def test_codes(self, told: ConnectAttempt, refusal: Refusal, codes: tuple[int, int]) -> None:
        refused(decide(evidence(), told, found(), NOW_MS), refusal, codes)

    def test_nothing_is_looked_up_for_nothing(self) -> None:
        assert lookups(evidence(), attempt()).credentials_ids == ()


@pytest.mark.parametrize("decision", ["allowed", "refused"])
def test_a_decision_is_neither_true_nor_false(decision: str) -> None:
    row = token_row()
    rows = found(row) if decision == "allowed" else found()
    with pytest.raises(TypeError, match="match on Allowed and Refused"):
        bool(decide(evidence(), attempt(user_name=TOKEN), rows, NOW_MS))


def test_an_attempt_shows_neither_token_nor_password() -> None:
    assert_no_part_of(repr(attempt("c", TOKEN, b"secret")), TOKEN, "secret")


names = st.one_of(
    st.sampled_from(["", "c", "u", "c|u", TOKEN, text_id("c"), text_id("c|u")]), st.text(max_size=8)
)
_LEAF = make_leaf()
rows_there = st.lists(
    st.sampled_from(
        [
            TestBasic.both,
            TestBasic.user_only,
            TestBasic.client_only,
            token_row(),
            make_row(CREDENTIALS_ACCESS_TOKEN, text_id("c")),
            make_row(CREDENTIALS_X509, "u", credentials_value(_LEAF)),
            certificate_row(_LEAF),
            make_row("LWM2M_CREDENTIALS", TOKEN),
            basic_row("u", "junk"),
        ]
    )
)


@settings(deadline=None)
@given(
    chain=st.sampled_from([(), (_LEAF,), (b"junk",)]),
    client_id=names,
    user_name=st.none() | names,
    password=st.none() | st.sampled_from([b"", b"secret"]) | st.binary(max_size=5),
    rows=rows_there,
    namesake=st.none() | st.sampled_from([token_row(), certificate_row(_LEAF)]),
    at_ms=st.integers(-(10**13), 10**14),
)
def test_it_is_total_and_allows_only_what_a_row_proves(
    chain: tuple[bytes, ...],
    client_id: str,
    user_name: str | None,
    password: bytes | None,
    rows: list[DeviceCredentials],
    namesake: DeviceCredentials | None,
    at_ms: int,
) -> None:
    told = attempt(client_id, user_name, password)
    there = msgspec.structs.replace(evidence(), chain_der=chain)
    decision = decide(there, told, found(*rows, namesake=namesake), at_ms)
    if isinstance(decision, Allowed):
        assert decision.credentials.credentials_id in lookups(there, told).credentials_ids
        assert (decision.credentials.kind == CREDENTIALS_X509) is bool(chain)
        assert any(decision.device == row.device for row in rows)
    else:
        assert decision.refusal in REFUSALS
        assert all(text.isprintable() for text in (decision.sentence, decision.mend, decision.for_peer))
        assert all(isinstance(value, str) for value in decision.seen.values())


def _der(row: DeviceCredentials) -> bytes:
    return binascii.a2b_base64(row.credentials.credentials_value or "")


def assert_secret_is_nowhere(decision: Refused, *secrets: str) -> None:
    told = [decision.sentence, decision.mend, decision.for_peer, *decision.seen.values()]
    told += [step.seen for step in decision.steps]
    assert_no_part_of("\n".join(told), *secrets)


def assert_no_part_of(text: str, *secrets: str) -> None:
    for secret in secrets:
        assert secret not in text
