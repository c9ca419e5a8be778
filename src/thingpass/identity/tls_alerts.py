"""TLS alerts in plain words (RFC 8446 6), and the refusal that a client's alert stands for.

Names are as RFC 8446 writes them but with spaces, which is how OpenSSL reports them ("unknown ca").
"""

from __future__ import annotations

import msgspec

from thingpass.identity import refusals
from thingpass.identity.refusals import Refusal


class Alert(msgspec.Struct, frozen=True):
    """One row: what a client means by sending this alert to a server."""

    name: str
    number: int
    meaning: str
    refusal: Refusal


_NOT_TRUSTED = refusals.SERVER_NOT_TRUSTED
_OTHER = refusals.HANDSHAKE_FAILED

ALERTS = (
    Alert(
        "unknown ca", 48, "it was given no CA file by which this server's certificate is valid", _NOT_TRUSTED
    ),
    Alert(
        "certificate unknown",
        46,
        "something about this server's certificate did not please it; Java says this for every fault, "
        "an unknown CA or a wrong host name most of all",
        _NOT_TRUSTED,
    ),
    Alert(
        "bad certificate",
        42,
        "this server's certificate did not pass its checks; the host name it connected to is often not in it",
        _NOT_TRUSTED,
    ),
    Alert(
        "certificate expired",
        45,
        "by its clock this server's certificate is outside its dates",
        _NOT_TRUSTED,
    ),
    Alert("certificate revoked", 44, "it holds this server's certificate for revoked", _NOT_TRUSTED),
    Alert(
        "unsupported certificate",
        43,
        "this server's certificate or its key is of a kind that it does not take",
        _NOT_TRUSTED,
    ),
    Alert("access denied", 49, "it does not want to talk to this server's certificate", _NOT_TRUSTED),
    Alert(
        "decrypt error",
        51,
        "a signature in the handshake did not hold for it; it may pin an older certificate of this name",
        _NOT_TRUSTED,
    ),
    Alert(
        "bad certificate status response",
        113,
        "the OCSP answer that it wants did not please it",
        _NOT_TRUSTED,
    ),
    Alert("protocol version", 70, "it does not speak the TLS version chosen", refusals.TLS_VERSION_TOO_OLD),
    Alert("handshake failure", 40, "it found nothing in common to agree on", refusals.NO_SHARED_CIPHER),
    Alert(
        "insufficient security",
        71,
        "it wants stronger ciphers than were chosen",
        refusals.NO_SHARED_CIPHER,
    ),
    Alert("illegal parameter", 47, "a value in the handshake made no sense to it", _OTHER),
    Alert("decode error", 50, "it could not read a message of the handshake", _OTHER),
    Alert("unexpected message", 10, "a message came that it did not expect", _OTHER),
    Alert("bad record mac", 20, "a record was changed on the way", _OTHER),
    Alert("record overflow", 22, "a record was too long for it", _OTHER),
    Alert("internal error", 80, "it failed inside", _OTHER),
    Alert("inappropriate fallback", 86, "it retried with an older version than both can speak", _OTHER),
    Alert("user canceled", 90, "it gave up by itself", refusals.HANDSHAKE_ABANDONED),
    Alert("close notify", 0, "it closed in the middle of the handshake", refusals.HANDSHAKE_ABANDONED),
    Alert("missing extension", 109, "it misses an extension that it needs", _OTHER),
    Alert("unsupported extension", 110, "an extension came that it did not ask for", _OTHER),
    Alert("unrecognized name", 112, "it does not know the server name", _OTHER),
    Alert(
        "no application protocol", 120, "it wants an application protocol by ALPN that is not offered", _OTHER
    ),
)

_BY_NAME = {alert.name: alert for alert in ALERTS}
_BY_NAME["user cancelled"] = _BY_NAME["user canceled"]  # OpenSSL's spelling


def find_alert(name: str) -> Alert:
    """The row of an alert by OpenSSL's name (any case, `_` for space); one that nobody knows is a failure."""
    wanted = name.lower().replace("_", " ").replace("-", " ").strip()
    return _BY_NAME.get(wanted) or Alert(wanted, -1, "nothing that this server knows", _OTHER)
