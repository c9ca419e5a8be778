"""Credentials as a person gives them -> as they are stored: one row for each kind (REST reference, 3.4).

ThingsBoard's messages stand here word for word, because scripts match on them. Where it stores any text as a
certificate, this reads it first and refuses what is none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

import msgspec

from thingpass.errors import Invalid
from thingpass.identity.credentials import BasicCredentials, basic_id, read_basic
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    Credentials,
)
from thingpass.x509.errors import NotACertificate
from thingpass.x509.fingerprints import credentials_value
from thingpass.x509.pasted import read_certificates

LONGEST_ID: Final = 1_000
"""Characters of a token, client id, user name or password; ThingsBoard has no bound, MQTT 65,535 bytes."""


class NotACertificateText(Invalid):
    """The text given as a certificate is something else."""

    code = "not-a-certificate"


def stored_form(given: Credentials) -> Credentials:
    """What to store for what was given: ids computed, texts in their normal form. Raises Invalid."""
    if not given.kind:
        raise Invalid("Device credentials type should be specified")
    form = _FORMS.get(given.kind)
    if form is None:
        raise Invalid(
            f"Device credentials of the type {given.kind[:50]!r} are not supported!",
            mend=f"Use {', '.join(_FORMS)}.",
        )
    new_id, new_value = form(given)
    return msgspec.structs.replace(given, credentials_id=new_id, credentials_value=new_value)


def checked_token(token: str) -> str:
    """An access token that may be stored; raises Invalid."""
    if not token:
        raise Invalid("Device credentials id should be specified!")
    _refuse_control_characters("credentialsId", token)
    return token


_Form = Callable[[Credentials], tuple[str, str | None]]


def _access_token(given: Credentials) -> tuple[str, str | None]:
    return checked_token(given.credentials_id), None


def _x509(given: Credentials) -> tuple[str, str | None]:
    try:
        leaf = read_certificates(given.credentials_value or "")[0]
    except NotACertificate as error:
        raise NotACertificateText(error.sentence, mend=error.mend) from None
    # The id that was sent is ignored, as in ThingsBoard.
    return leaf.credentials_id, credentials_value(leaf.der)


def _mqtt_basic(given: Credentials) -> tuple[str, str | None]:
    basic = read_basic(given.credentials_value)
    if basic is None:
        raise Invalid("Invalid credentials body for simple mqtt credentials!")
    if not basic.client_id and not basic.user_name:
        raise Invalid("Both mqtt client id and user name are empty!")
    if basic.client_id and not basic.user_name and basic.password:
        raise Invalid("Password cannot be specified along with client id")
    for field, text in (
        ("clientId", basic.client_id),
        ("userName", basic.user_name),
        ("password", basic.password),
    ):
        _refuse_control_characters(field, text or "")
    normal = BasicCredentials(basic.client_id or None, basic.user_name or None, basic.password or None)
    return basic_id(normal.client_id, normal.user_name), msgspec.json.encode(normal).decode()


_FORMS: Final[dict[str, _Form]] = {
    CREDENTIALS_ACCESS_TOKEN: _access_token,
    CREDENTIALS_X509: _x509,
    CREDENTIALS_MQTT_BASIC: _mqtt_basic,
}


def _refuse_control_characters(field: str, text: str) -> None:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise Invalid(f"{field} must not contain control characters!")
    if len(text) > LONGEST_ID:
        raise Invalid(f"Validation error: {field} length must be equal or less than {LONGEST_ID}")
