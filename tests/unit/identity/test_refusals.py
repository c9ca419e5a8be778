from __future__ import annotations

import re
from pathlib import Path

import pytest

from thingpass.identity import refusals
from thingpass.identity.refusals import REFUSALS, Refusal, Stage, fields, say
from thingpass.identity.refusals_page import refusals_page
from thingpass.identity.tls_alerts import ALERTS, find_alert
from thingpass.mqtt.reason_codes import REASONS, PacketType

PAGE = Path(__file__).parents[3] / "docs/reference/refusals.md"
NAMED_BY_THE_ISSUE = (
    *("certificate-unknown", "certificate-differs", "certificate-expired", "certificate-not-yet-valid"),
    *("credentials-missing", "token-unknown", "password-wrong", "plain-mqtt-on-tls-port"),
    *("tls-on-plain-port", "http-on-mqtt-port", "tls-version-too-old", "server-not-trusted"),
    *("no-shared-cipher", "malformed-packet", "protocol-level-unsupported", "handshake-took-too-long"),
    *("connect-took-too-long", "connection-limit-reached", "handshake-failed", "store-unavailable"),
)
OWN_FACTS = {"fingerprint", "not_before", "not_after", "now"}
"""What a stranger knows anyway: its certificate, and the time."""


def each(row: Refusal) -> str:
    return row.code


def test_codes_and_sentences_are_unique() -> None:
    assert len({row.code for row in REFUSALS}) == len(REFUSALS)
    assert len({row.sentence for row in REFUSALS}) == len(REFUSALS)
    assert len({row.mend for row in REFUSALS}) == len(REFUSALS)


def test_every_row_of_the_module_is_in_the_table() -> None:
    rows = {name: value for name, value in vars(refusals).items() if isinstance(value, Refusal)}
    assert set(rows.values()) == set(REFUSALS)
    assert all(name == row.code.upper().replace("-", "_") for name, row in rows.items())


def test_the_reasons_that_were_asked_for_are_there() -> None:
    assert set(NAMED_BY_THE_ISSUE) <= {row.code for row in REFUSALS}


@pytest.mark.parametrize("row", REFUSALS, ids=each)
class TestEveryRow:
    def test_says_what_and_how_to_mend_it(self, row: Refusal) -> None:
        for text in (row.sentence, row.mend, row.for_peer):
            assert text[0].isupper()
            assert text.rstrip("]}")[-1] in ".:}" or text.endswith(("]", "}"))
            assert "  " not in text
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.code)

    def test_reads_well_with_all_its_values_and_with_none(self, row: Refusal) -> None:
        for template in (row.sentence, row.mend, row.for_peer):
            full = say(template, {name: f"<{name}>" for name in fields(template)})
            assert not re.search(r"[\[\]{}]", full)
            empty = say(template, {})
            assert not re.search(r"[\[\]{}]|  | \.| ,", empty), empty

    def test_tells_a_stranger_nothing_but_its_own_facts(self, row: Refusal) -> None:
        assert fields(row.for_peer) <= OWN_FACTS
        assert len(row.for_peer) < 120

    def test_its_codes_may_stand_in_a_connack_and_mean_a_refusal(self, row: Refusal) -> None:
        reason = next(reason for reason in REASONS if reason.code == row.mqtt5)
        assert row.mqtt5 >= 0x80
        assert row.stage is Stage.BEFORE_CONNECT or PacketType.CONNACK in reason.packets
        assert row.mqtt3 in (1, 2, 3, 5)  # 4 is never used (device API reference, 1.5)

    def test_is_on_the_page(self, row: Refusal) -> None:
        assert f"`{row.code}`" in PAGE.read_text("utf-8")


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text("utf-8") == refusals_page(), (
        "python -m thingpass.identity.refusals_page > docs/reference/refusals.md"
    )


def test_optional_parts_go_when_a_value_is_missing() -> None:
    template = "A[ of {device}][ ({a}, {b})] is {c}."
    assert say(template, {"device": "D", "a": "1", "b": "2", "c": "x"}) == "A of D (1, 2) is x."
    assert say(template, {"device": "", "a": "1"}) == "A is (not known)."


def test_values_are_never_read_as_templates() -> None:
    assert say("{a}", {"a": "{b}[{c}]", "b": "secret"}) == "{b}[{c}]"


class TestAlerts:
    def test_names_and_numbers_are_unique(self) -> None:
        assert len({alert.name for alert in ALERTS}) == len({alert.number for alert in ALERTS}) == len(ALERTS)

    @pytest.mark.parametrize(
        "name", ["unknown ca", "certificate unknown", "bad certificate", "certificate expired"]
    )
    def test_alerts_about_our_certificate_mean_that_it_is_not_trusted(self, name: str) -> None:
        assert find_alert(name).refusal is refusals.SERVER_NOT_TRUSTED

    @pytest.mark.parametrize("name", ["UNKNOWN_CA", "unknown-ca", " unknown ca "])
    def test_names_are_found_in_any_spelling(self, name: str) -> None:
        assert find_alert(name).number == 48

    def test_an_alert_that_nobody_knows_is_a_failed_handshake(self) -> None:
        assert find_alert("from the future").refusal is refusals.HANDSHAKE_FAILED
        assert find_alert("user cancelled").number == 90
