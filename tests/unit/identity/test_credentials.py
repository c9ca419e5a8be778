"""Worked values: device API reference, 1.2."""

from __future__ import annotations

import pytest

from thingpass.identity.credentials import (
    BasicCredentials,
    BasicMatch,
    basic_id,
    match_basic,
    read_basic,
    text_id,
)

H_DEV_1 = "39f860618baa074012bd5caadb00a406d5dba006171d387e389c3ef461650c18"
H_DEV_1_ALICE = "98a30013a595130fbf29cdb35fef92d6fe1d5587c3a5764bebd3f51fd7cb4ec7"


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("dev-1", H_DEV_1),
        ("dev-1|alice", H_DEV_1_ALICE),
        ("", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
        ("dev\r\n-1", H_DEV_1),
        ("-----BEGIN CERTIFICATE-----dev-1-----END CERTIFICATE-----", H_DEV_1),
    ],
)
def test_ids_are_hashed_as_thingsboard_does(text: str, id_: str) -> None:
    assert text_id(text) == id_


@pytest.mark.parametrize(
    ("client_id", "user_name", "id_"),
    [
        ("dev-1", None, H_DEV_1),
        ("dev-1", "", H_DEV_1),
        ("dev-1", "alice", H_DEV_1_ALICE),
        (None, "alice", "alice"),
        ("", "alice", "alice"),
    ],
)
def test_basic_credentials_have_one_of_three_ids(
    client_id: str | None, user_name: str | None, id_: str
) -> None:
    assert basic_id(client_id, user_name) == id_


VALID, NAMES, PASSWORD = BasicMatch.VALID, BasicMatch.NAMES_DIFFER, BasicMatch.PASSWORD_DIFFERS


@pytest.mark.parametrize(
    ("stored", "client_id", "user_name", "password", "match"),
    [
        (("c", "u", "p"), "c", "u", b"p", VALID),
        (("c", "u", "p"), "c", "u", b"q", PASSWORD),
        (("c", "u", "p"), "c", "u", b"", PASSWORD),
        (("c", "u", "p"), "c", "u", None, PASSWORD),
        (("c", "u", "p"), "C", "u", b"p", NAMES),
        (("c", "u", "p"), "c", "U", b"p", NAMES),
        (("c", "u", "p"), "c", None, b"p", NAMES),
        (("c", None, None), "c", "anybody", b"anything", VALID),
        ((None, "u", None), "any", "u", None, VALID),
        ((None, "u", "pässwörd"), "any", "u", "pässwörd".encode(), VALID),
        ((None, "u", ""), "any", "u", b"x", VALID),
    ],
)
def test_only_what_is_stored_is_compared(
    stored: tuple[str | None, str | None, str | None],
    client_id: str,
    user_name: str | None,
    password: bytes | None,
    match: BasicMatch,
) -> None:
    assert match_basic(BasicCredentials(*stored), client_id, user_name, password) is match


def test_stored_json_is_read_and_other_text_is_nobodys() -> None:
    stored = '{"clientId":"c","userName":null,"password":"p","more":1}'
    assert read_basic(stored) == BasicCredentials("c", None, "p")
    for text in (None, "", "[]", "{", '{"clientId":5}'):
        assert read_basic(text) is None


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(BasicCredentials("c", "u", "secret"))
