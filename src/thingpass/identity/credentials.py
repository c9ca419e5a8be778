"""The kinds of credentials as values, and the ids they are stored under (device API reference, 1.2, 1.3).

    access token          id = the token itself
    MQTT basic            id = H(client id), the user name as it is, or H(client id | user name)
    X.509 certificate     id = H(certificate), made in `x509.fingerprints`

H is SHA3-256 in hexadecimal. A token and a user name share one name space, as in ThingsBoard.
"""

from __future__ import annotations

import enum
import hashlib
import hmac

import msgspec

from thingpass.store.rows import CREDENTIALS_ACCESS_TOKEN, CREDENTIALS_MQTT_BASIC, CREDENTIALS_X509

KIND_WORDS = {
    CREDENTIALS_ACCESS_TOKEN: "an access token",
    CREDENTIALS_X509: "an X.509 certificate",
    CREDENTIALS_MQTT_BASIC: "MQTT basic credentials",
}
"""The kinds as a person says them; a kind that is not here cannot be stored."""

# ThingsBoard deletes these from whatever it hashes, client ids too.
_ARMOUR = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "\n", "\r")


class BasicCredentials(msgspec.Struct, frozen=True, rename="camel"):
    """MQTT basic credentials; what is empty is not compared. Stored as this JSON, the password in it."""

    client_id: str | None = None
    user_name: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"BasicCredentials(client_id={self.client_id!r}, user_name={self.user_name!r})"


class BasicMatch(enum.Enum):
    VALID = "valid"
    NAMES_DIFFER = "names differ"
    PASSWORD_DIFFERS = "password differs"  # noqa: S105 (an outcome, not a password)


def text_id(text: str) -> str:
    """H of the reference: 64 lowercase hexadecimal digits."""
    for armour in _ARMOUR:
        text = text.replace(armour, "")
    # A lone surrogate cannot come out of MQTT, but this function must not raise for it either.
    return hashlib.sha3_256(text.encode("utf-8", "surrogatepass")).hexdigest()


def basic_id(client_id: str | None, user_name: str | None) -> str:
    """The `credentialsId` of MQTT basic credentials; at least one of the two must not be empty."""
    if not client_id:
        return user_name or ""
    return text_id(f"{client_id}|{user_name}" if user_name else client_id)


def read_basic(credentials_value: str | None) -> BasicCredentials | None:
    """The stored JSON as a value; None when it is not such JSON (another program wrote it)."""
    if credentials_value is None:
        return None
    try:
        return msgspec.json.decode(credentials_value, type=BasicCredentials)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def match_basic(
    stored: BasicCredentials, client_id: str, user_name: str | None, password: bytes | None
) -> BasicMatch:
    """Compares what CONNECT said with what is stored; the password in constant time."""
    if stored.client_id and stored.client_id != client_id:
        return BasicMatch.NAMES_DIFFER
    if stored.user_name and stored.user_name != user_name:
        return BasicMatch.NAMES_DIFFER
    if stored.password and not hmac.compare_digest(stored.password.encode(), password or b""):
        return BasicMatch.PASSWORD_DIFFERS
    return BasicMatch.VALID
