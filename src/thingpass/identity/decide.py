"""The one place that says who a connection's peer is (device API reference, 1.1 and 1.2).

A certificate goes first: when one was presented, user name and password are never looked at. Then MQTT basic
credentials, then the access token. `lookups` says which rows are needed, somebody fetches them, `decide`
answers: pure, total, with the time as a value. The user `provision` does not come
here: it asks for an identity (`servers.provisioning_session`).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec

from thingpass.identity import refusals
from thingpass.identity.certificate_checks import Fault, Leaf, first_fault, read_leaf
from thingpass.identity.credentials import (
    KIND_WORDS,
    BasicMatch,
    basic_id,
    match_basic,
    read_basic,
    text_id,
)
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused, Step
from thingpass.identity.plain_words import as_argument, harmless, secret_hint
from thingpass.identity.refusals import Refusal
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    DeviceCredentials,
)
from thingpass.tls.evidence import Evidence
from thingpass.x509.fingerprints import fingerprint_sha256

LONGEST_NAMESAKE = 255
"""Characters; no device has a longer name."""

_TOKEN_NOTE = "The user name was not looked at: a certificate goes before an access token."  # noqa: S105


class Lookups(msgspec.Struct, frozen=True):
    """The rows that a decision needs."""

    credentials_ids: tuple[str, ...]  # in the order in which they are asked
    leaf: Leaf | None = None

    @property
    def namesake(self) -> str | None:
        """A device of this name explains why a certificate is refused that no row has (20 microseconds)."""
        return None if self.leaf is None else _namesake(self.leaf)


class Found(msgspec.Struct, frozen=True):
    """The rows that were there. `namesake` may be left out while a certificate's row was found."""

    credentials: Mapping[str, DeviceCredentials]
    namesake: DeviceCredentials | None = None


def lookups(evidence: Evidence, attempt: ConnectAttempt) -> Lookups:
    """What to fetch before `decide`; nothing when the answer does not depend on it."""
    if evidence.chain_der:
        leaf = read_leaf(evidence.chain_der[0])
        if isinstance(leaf, Fault):
            return Lookups(())
        return Lookups((leaf.credentials_id,), leaf)
    if attempt.user_name:
        return Lookups(_ids_by_user_name(attempt.client_id, attempt.user_name))
    return Lookups((text_id(attempt.client_id),) if attempt.client_id else ())


def decide(
    evidence: Evidence,
    attempt: ConnectAttempt,
    found: Found,
    at_ms: int,
    *,
    skip_certificate_validity: bool = False,
) -> Allowed | Refused:
    """Who it is, or why nobody. Raises nothing, whatever a stranger sent."""
    if evidence.chain_der:
        return _by_certificate(
            evidence.chain_der[0], attempt, found, at_ms, skip_certificate_validity=skip_certificate_validity
        )
    if attempt.user_name:
        return _by_user_name(attempt, attempt.user_name, found)
    return _by_client_id(attempt, found)


# By certificate


def _by_certificate(
    der: bytes, attempt: ConnectAttempt, found: Found, at_ms: int, *, skip_certificate_validity: bool
) -> Allowed | Refused:
    leaf = read_leaf(der)
    if isinstance(leaf, Fault):
        step = Step("certificate", "unreadable")
        return Refused(leaf.refusal, leaf.seen, (step,), fingerprint_sha256=fingerprint_sha256(der))
    row = found.credentials.get(leaf.credentials_id)
    fault = first_fault(leaf, at_ms, skip_certificate_validity=skip_certificate_validity)
    steps: tuple[Step, ...] = (
        Step("certificate", leaf.fingerprint_sha256),
        Step(
            "validity", "skipped" if skip_certificate_validity else "outside its dates" if fault else "valid"
        ),
    )
    if fault is not None:
        return _certificate_refused(leaf, fault.refusal, fault.seen, steps, row)
    if row is None:
        return _unknown_certificate(leaf, attempt, found, (*steps, Step("registered for", "no device")))
    steps = (*steps, Step("registered for", row.device.name))
    if row.credentials.kind != CREDENTIALS_X509:
        stored = {"stored": _kind_words(row)}
        return _certificate_refused(leaf, refusals.CERTIFICATE_STORED_AS_ANOTHER_KIND, stored, steps, row)
    return Allowed(row.device, row.credentials, steps, leaf.fingerprint_sha256)


def _unknown_certificate(
    leaf: Leaf, attempt: ConnectAttempt, found: Found, steps: tuple[Step, ...]
) -> Refused:
    seen = {"token_note": _TOKEN_NOTE if attempt.user_name else ""}
    other = found.namesake
    if other is None:
        return _certificate_refused(leaf, refusals.CERTIFICATE_UNKNOWN, seen, steps, None)
    steps = (*steps, Step("device of this name", _kind_words(other)))
    if other.credentials.kind != CREDENTIALS_X509:
        seen["stored"] = _kind_words(other)
        return _certificate_refused(leaf, refusals.CERTIFICATE_NOT_THE_CREDENTIALS, seen, steps, other)
    seen["stored"] = _stored_certificate(other)
    return _certificate_refused(leaf, refusals.CERTIFICATE_DIFFERS, seen, steps, other)


def _certificate_refused(
    leaf: Leaf,
    refusal: Refusal,
    seen: dict[str, str],
    steps: tuple[Step, ...],
    meant: DeviceCredentials | None,
) -> Refused:
    subject = harmless(leaf.certificate.subject) or "(without a name)"
    name = _namesake(leaf) if meant is None else meant.device.name
    values = {
        "subject": subject,
        "fingerprint": leaf.fingerprint_sha256,
        "device": "" if meant is None else harmless(meant.device.name),
        "name": as_argument(name, "NAME"),
        **seen,
    }
    device = None if meant is None else meant.device
    return Refused(refusal, values, steps, device, subject, leaf.fingerprint_sha256)


def _namesake(leaf: Leaf) -> str | None:
    name = leaf.certificate.common_name
    return name if name and len(name) <= LONGEST_NAMESAKE and name.isprintable() else None


def _stored_certificate(row: DeviceCredentials) -> str:
    """The certificate that a device has, as it is told beside one that it has not."""
    try:
        leaf = read_leaf(binascii.a2b_base64(row.credentials.credentials_value or ""))
    except ValueError:  # not base64, or not even ASCII: nobody looked at it when it was imported
        leaf = None
    if not isinstance(leaf, Leaf):
        return f"an unreadable one (credentials id {row.credentials.credentials_id})"
    return f"{harmless(leaf.certificate.subject)}, SHA-256 {leaf.fingerprint_sha256}"


# By what CONNECT says


def _by_client_id(attempt: ConnectAttempt, found: Found) -> Refused | Allowed:
    steps: tuple[Step, ...] = (_no_certificate(), Step("user name", "none"))
    if attempt.client_id:
        row = found.credentials.get(text_id(attempt.client_id))
        if row is not None and row.credentials.kind == CREDENTIALS_MQTT_BASIC:
            match _match(row, attempt):
                case BasicMatch.VALID:
                    return Allowed(row.device, row.credentials, (*steps, Step("client id", "known")))
                case BasicMatch.PASSWORD_DIFFERS:
                    return _password_refused(attempt, row, (*steps, Step("client id", "known")))
                case BasicMatch.NAMES_DIFFER:
                    pass
        steps = (*steps, Step("client id", "unknown"))
    seen = {"client_id": harmless(attempt.client_id)}
    if attempt.password:
        return Refused(refusals.USER_NAME_MISSING, seen, steps)
    if attempt.client_id.strip():
        return Refused(refusals.CLIENT_ID_UNKNOWN, seen, steps)
    return Refused(refusals.CREDENTIALS_MISSING, seen, steps)


def _ids_by_user_name(client_id: str, user_name: str) -> tuple[str, str]:
    both = basic_id(client_id, user_name) if client_id else text_id(user_name)
    return both, user_name


def _by_user_name(attempt: ConnectAttempt, user_name: str, found: Found) -> Allowed | Refused:
    steps: tuple[Step, ...] = (_no_certificate(),)
    basic, plain = (found.credentials.get(each) for each in _ids_by_user_name(attempt.client_id, user_name))
    if basic is not None and basic.credentials.kind == CREDENTIALS_MQTT_BASIC:
        match _match(basic, attempt):
            case BasicMatch.VALID:
                step = Step("client id and user name", "known")
                return Allowed(basic.device, basic.credentials, (*steps, step))
            case BasicMatch.PASSWORD_DIFFERS:
                # No second try by the user name alone (device API reference, 1.2).
                return _password_refused(attempt, basic, steps)
            case BasicMatch.NAMES_DIFFER:
                pass
    steps = (*steps, Step("client id and user name", "unknown"))
    seen = {"user_name": secret_hint(user_name), "client_id": harmless(attempt.client_id)}
    if plain is None:
        return Refused(refusals.TOKEN_UNKNOWN, seen, (*steps, Step("user name", "unknown")))
    if plain.credentials.kind == CREDENTIALS_ACCESS_TOKEN:
        return Allowed(plain.device, plain.credentials, (*steps, Step("access token", "known")))
    if plain.credentials.kind == CREDENTIALS_MQTT_BASIC:
        return _by_user_name_alone(attempt, plain, seen, steps)
    seen |= {"device": harmless(plain.device.name), "stored": _kind_words(plain)}
    step = Step("user name", f"id of {_kind_words(plain)}")
    return Refused(refusals.TOKEN_OF_ANOTHER_KIND, seen, (*steps, step), plain.device)


def _by_user_name_alone(
    attempt: ConnectAttempt, row: DeviceCredentials, seen: dict[str, str], steps: tuple[Step, ...]
) -> Allowed | Refused:
    match _match(row, attempt):
        case BasicMatch.VALID:
            return Allowed(row.device, row.credentials, (*steps, Step("user name", "known")))
        case BasicMatch.PASSWORD_DIFFERS:
            return _password_refused(attempt, row, steps)
        case BasicMatch.NAMES_DIFFER:
            return Refused(refusals.TOKEN_UNKNOWN, seen, (*steps, Step("user name", "of another client")))


def _match(row: DeviceCredentials, attempt: ConnectAttempt) -> BasicMatch:
    stored = read_basic(row.credentials.credentials_value)
    if stored is None:
        return BasicMatch.NAMES_DIFFER  # unreadable, so nobody's
    return match_basic(stored, attempt.client_id, attempt.user_name, attempt.password)


def _password_refused(attempt: ConnectAttempt, row: DeviceCredentials, steps: tuple[Step, ...]) -> Refused:
    refusal = refusals.PASSWORD_WRONG if attempt.password else refusals.PASSWORD_MISSING
    seen = {"device": harmless(row.device.name)}
    return Refused(refusal, seen, (*steps, Step("password", "differs")), row.device)


def _no_certificate() -> Step:
    return Step("certificate", "none presented")


def _kind_words(row: DeviceCredentials) -> str:
    return KIND_WORDS.get(row.credentials.kind, row.credentials.kind)
