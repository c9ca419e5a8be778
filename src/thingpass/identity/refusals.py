"""Every reason for which a connection is refused: one row each.

Rules: codes are published and stay; a row that is no longer used is retired, not renamed. `sentence` says
what was seen, in plain words with the values; `mend` what to do next; both are for the people who run the
server. `for_peer` is all that a stranger may be told (MQTT 5 Reason String): facts about what it sent itself,
never whether a name or token exists nor what a device is called. A part in [brackets] is left out when one of
its values is not there.

CONNACK codes: device API reference, 1.5. Rows of the stage BEFORE_CONNECT have no CONNACK; their codes are
never sent and say "unspecified" all the same, so that none can mean success.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import msgspec

from thingpass.mqtt.reason_codes import ReasonCode

MQTT3_PROTOCOL_VERSION = 1
MQTT3_IDENTIFIER_REJECTED = 2
MQTT3_SERVER_UNAVAILABLE = 3
MQTT3_NOT_AUTHORIZED = 5  # 4 (bad user name or password) is never used, as in ThingsBoard


class Stage(enum.Enum):
    """How far the connection had come."""

    BEFORE_CONNECT = "before CONNECT"  # nothing can be said to the client but a TLS alert or a close
    CONNECT = "CONNECT"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One row. The three texts are templates over what was seen."""

    code: str
    sentence: str
    mend: str
    for_peer: str
    mqtt5: int = ReasonCode.UNSPECIFIED_ERROR
    mqtt3: int = MQTT3_SERVER_UNAVAILABLE
    http: int | None = None  # status on the HTTP device API; None: cannot happen there
    stage: Stage = Stage.CONNECT


_OPTIONAL_PART = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")


def fields(template: str) -> frozenset[str]:
    """The names of the values that a template takes."""
    return frozenset(_FIELD.findall(template))


def say(template: str, seen: Mapping[str, str]) -> str:
    """A template with its values. A missing value leaves out its [part], or stands as `(not known)`."""
    kept = _OPTIONAL_PART.sub(
        lambda part: part[1] if all(seen.get(name) for name in _FIELD.findall(part[1])) else "", template
    )
    return _FIELD.sub(lambda name: seen.get(name[1]) or "(not known)", kept)


# What the certificate itself shows

CERTIFICATE_UNREADABLE = Refusal(
    code="certificate-unreadable",
    sentence="The client's certificate cannot be read as X.509: {problem}",
    mend="Make the device a new certificate; OpenSSL took this one, but its fields do not follow RFC 5280.",
    for_peer="The certificate cannot be read.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CERTIFICATE_EXPIRED = Refusal(
    code="certificate-expired",
    sentence="Certificate {subject}[ of device {device}] ended {ago} ago, on {not_after}.",
    mend="Make the device a new certificate and register it: "
    "thingpass device credentials {name} --x509 FILE. This server's clock says {now}. "
    "The setting identity.skip_certificate_validity lets ended certificates in.",
    for_peer="The certificate ended on {not_after}.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CERTIFICATE_NOT_YET_VALID = Refusal(
    code="certificate-not-yet-valid",
    sentence="Certificate {subject}[ of device {device}] begins on {not_before}, "
    "{ahead} ahead of this server's clock, which says {now}.",
    mend="Compare the clock of this server with that of the machine that made the certificate: one of them "
    "is wrong by {ahead} or more. If both are right, wait, or make the certificate anew.",
    for_peer="The certificate begins on {not_before}; this server's clock says {now}.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)

# Whom the certificate belongs to

CERTIFICATE_UNKNOWN = Refusal(
    code="certificate-unknown",
    sentence="No device has certificate {subject} (SHA-256 {fingerprint}).",
    mend="If it is yours: thingpass device add {name}, then "
    "thingpass device credentials {name} --x509 FILE, where FILE is the certificate with this fingerprint."
    "[ {token_note}]",
    for_peer="This certificate is registered for no device here (SHA-256 {fingerprint}).",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CERTIFICATE_DIFFERS = Refusal(
    code="certificate-differs",
    sentence="Certificate {subject} (SHA-256 {fingerprint}) names device {device}, "
    "but the device has another certificate: {stored}.",
    mend="If the new one is right, put it in the place of the stored one: "
    "thingpass device credentials {name} --x509 FILE; else give the device its registered certificate and "
    "key.[ {token_note}]",
    for_peer="This certificate is registered for no device here (SHA-256 {fingerprint}).",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CERTIFICATE_NOT_THE_CREDENTIALS = Refusal(
    code="certificate-not-the-credentials",
    sentence="Certificate {subject} (SHA-256 {fingerprint}) names device {device}, "
    "which proves itself by {stored} and not by a certificate.",
    mend="To let it in by this certificate: thingpass device credentials {name} --x509 FILE. Else connect "
    "without a client certificate.[ {token_note}]",
    for_peer="This certificate is registered for no device here (SHA-256 {fingerprint}).",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CERTIFICATE_STORED_AS_ANOTHER_KIND = Refusal(
    code="certificate-stored-as-another-kind",
    sentence="The id of certificate {subject} is stored with device {device}, but as {stored}.",
    mend="Somebody gave the certificate's hash instead of the certificate; register the file itself: "
    "thingpass device credentials {name} --x509 FILE.",
    for_peer="This certificate is registered for no device here (SHA-256 {fingerprint}).",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)

# What CONNECT says

CREDENTIALS_MISSING = Refusal(
    code="credentials-missing",
    sentence="The client sent no certificate and no token: no user name, no password and no client id.",
    mend="Connect to the TLS port with the device's certificate and key (mosquitto_pub: --cert and --key; "
    "paho: tls_set(certfile=, keyfile=)), or send the device's access token as the user name.",
    for_peer="Send a client certificate, or an access token as the user name.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
CLIENT_ID_UNKNOWN = Refusal(
    code="client-id-unknown",
    sentence="The client sent no certificate and no token, and no device is known by the client id "
    "{client_id} alone.",
    mend="Connect to the TLS port with the device's certificate and key, or send its access token as the "
    "user name; a client id alone is enough only for MQTT basic credentials that say so.",
    for_peer="Send a client certificate, or an access token as the user name.",
    mqtt5=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    mqtt3=MQTT3_IDENTIFIER_REJECTED,
    http=401,
)
USER_NAME_MISSING = Refusal(
    code="user-name-missing",
    sentence="The client sent a password, but neither a certificate nor a user name"
    "[ (client id {client_id})].",
    mend="Send the user name too. An access token goes into the user name, not into the password.",
    for_peer="A password without a user name; an access token goes into the user name.",
    mqtt5=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
TOKEN_UNKNOWN = Refusal(
    code="token-unknown",
    sentence="No device has the access token (or MQTT user name) {user_name}"
    "[ with the client id {client_id}].",
    mend="Compare it with what the device has: thingpass device credentials NAME. Upper and lower case "
    "matter. MQTT basic credentials with a client id hold only with that client id.",
    for_peer="User name, password and client id belong to no device here.",
    mqtt5=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
TOKEN_OF_ANOTHER_KIND = Refusal(
    code="token-of-another-kind",
    sentence="The user name {user_name} is the id of the credentials of device {device}, "
    "which proves itself by {stored}.",
    mend="Connect as these credentials ask, or give the device an access token.",
    for_peer="User name, password and client id belong to no device here.",
    mqtt5=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
PASSWORD_WRONG = Refusal(
    code="password-wrong",
    sentence="User name and client id are those of device {device}, but the MQTT password is wrong.",
    mend="Put the right password into the device, or set a new one in the device's credentials.",
    for_peer="User name, password and client id belong to no device here.",
    mqtt5=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
PASSWORD_MISSING = Refusal(
    code="password-missing",
    sentence="User name and client id are those of device {device}, which has an MQTT password; the client "
    "sent none.",
    mend="Send the password with CONNECT, or take it out of the device's credentials.",
    for_peer="User name, password and client id belong to no device here.",
    mqtt5=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=401,
)
STORE_UNAVAILABLE = Refusal(
    code="store-unavailable",
    sentence="The store did not answer, so that nobody could be identified[: {problem}]",
    mend="See the server's log and GET /readyz; is the disk full, or the database away? Clients try again.",
    for_peer="Devices cannot be looked up at the moment; try again.",
    mqtt5=ReasonCode.SERVER_UNAVAILABLE,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
    http=503,
)

# Devices that ask for an identity

PROVISION_KEY_UNKNOWN = Refusal(
    code="provision-key-unknown",
    sentence="A device asked to be provisioned with a key that no device profile has.",
    mend="Compare the device's provisionDeviceKey with that of the profile that it is meant to get.",
    for_peer="Provision data was not found.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=200,
)
PROVISION_SECRET_WRONG = Refusal(
    code="provision-secret-wrong",
    sentence="A device asked to be provisioned with the key of profile {profile} and a wrong secret.",
    mend="Compare the device's provisionDeviceSecret with that of the profile.",
    for_peer="Provision data was not found.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=200,
)
PROVISION_DISABLED = Refusal(
    code="provision-disabled",
    sentence="A device asked to be provisioned with the key of profile {profile}, which provisions nobody "
    "who asks.",
    mend="Set the profile's provision type to ALLOW_CREATE_NEW_DEVICES or CHECK_PRE_PROVISIONED_DEVICES.",
    for_peer="Provision data was not found.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=200,
)
PROVISIONING_FAILED = Refusal(
    code="provisioning-failed",
    sentence="A device[ named {device}] asked for profile {profile} and was not provisioned: {problem}",
    mend="With ALLOW_CREATE_NEW_DEVICES name and credentials must be new; with CHECK_PRE_PROVISIONED_DEVICES "
    "the device must be registered with this profile, and have no server attribute provisionState yet.",
    for_peer="The device was not provisioned.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
    http=200,
)
PROVISIONING_TRIED_TOO_OFTEN = Refusal(
    code="provisioning-tried-too-often",
    sentence="An address has sent too many wrong provision keys or secrets and has to wait[ {wait}].",
    mend="Look for provision-key-unknown and provision-secret-wrong of the same address. A device that "
    "guesses is stopped by this; one with an old key needs the new one.",
    for_peer="Too many wrong provision keys; try again later.",
    mqtt5=ReasonCode.CONNECTION_RATE_EXCEEDED,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
    http=200,
)
TOO_MANY_PROVISIONING = Refusal(
    code="too-many-provisioning",
    sentence="As many devices were waiting to be provisioned as the server takes at a time[: {limit}].",
    mend="Devices try again by themselves. If it lasts, find out who connects as provision and asks nothing: "
    "such connections end after a minute.",
    for_peer="This server is busy; try again.",
    mqtt5=ReasonCode.SERVER_BUSY,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
)

# What is wrong with the MQTT

PROTOCOL_LEVEL_UNSUPPORTED = Refusal(
    code="protocol-level-unsupported",
    sentence="The client asked for a version of MQTT that is not spoken here[: {seen}]",
    mend="Set the client to MQTT 3.1, 3.1.1 or 5.0.",
    for_peer="MQTT 3.1, 3.1.1 and 5.0 are spoken here.",
    mqtt5=ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    mqtt3=MQTT3_PROTOCOL_VERSION,
)
MALFORMED_PACKET = Refusal(
    code="malformed-packet",
    sentence="The client[ of device {device}] sent a packet that is not valid MQTT[: {seen}]",
    mend="This is a fault of the client's MQTT library, or of something between it and this server that "
    "changes the bytes. What was seen names the place in the specification.",
    for_peer="A packet is not valid MQTT.",
    mqtt5=ReasonCode.MALFORMED_PACKET,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
)
RATE_LIMIT_EXCEEDED = Refusal(
    code="rate-limit-exceeded",
    sentence="Messages came faster than a rate limit allows[: limits.{name} is {limit}].",
    mend="Let the device send less often, or several values in one message[; or raise limits.{name}]. "
    "More of the same within a minute is counted in the metric thingpass_rate_limited_total, but not shown.",
    for_peer="Messages come faster than is allowed.",
    mqtt5=ReasonCode.QUOTA_EXCEEDED,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
    http=429,
)
CONNECT_TOOK_TOO_LONG = Refusal(
    code="connect-took-too-long",
    sentence="The client opened the connection and sent no complete CONNECT[ within {limit}].",
    mend="Health checks and port scanners do this. A device on a slow link needs a larger "
    "mqtt.connect_timeout_s.",
    for_peer="CONNECT did not arrive in time.",
    stage=Stage.BEFORE_CONNECT,
)
CONNECTION_LIMIT_REACHED = Refusal(
    code="connection-limit-reached",
    sentence="The server has as many connections as it takes[: {limit}].",
    mend="Raise mqtt.max_connections or http.max_connections (and the limit of open files), or find out who "
    "connects so often: thingpass connections.",
    for_peer="This server takes no more connections at the moment.",
    mqtt5=ReasonCode.QUOTA_EXCEEDED,
    mqtt3=MQTT3_SERVER_UNAVAILABLE,
    http=503,
)

# The wrong protocol for the port

PLAIN_MQTT_ON_TLS_PORT = Refusal(
    code="plain-mqtt-on-tls-port",
    sentence="A client spoke MQTT without TLS to the TLS port[ {port}][ (client id {client_id})].",
    mend="Turn TLS on in the client (mosquitto_pub: --cafile FILE; paho: tls_set()), or use the port for "
    "plain MQTT, which is off unless the server is started with --mqtt-port.",
    for_peer="This port expects TLS.",
    mqtt5=ReasonCode.NOT_AUTHORIZED,
    mqtt3=MQTT3_NOT_AUTHORIZED,
)
TLS_ON_PLAIN_PORT = Refusal(
    code="tls-on-plain-port",
    sentence="A client spoke TLS to the port for plain MQTT[ {port}].",
    mend="Use the port for MQTT over TLS (8883 unless set otherwise), or turn TLS off in the client.",
    for_peer="This port expects MQTT without TLS.",
    stage=Stage.BEFORE_CONNECT,
)
HTTP_ON_MQTT_PORT = Refusal(
    code="http-on-mqtt-port",
    sentence="A client spoke HTTP to the MQTT port[ {port}][: {seen}]",
    mend="Use the HTTP port (8080 unless set otherwise) for the web, REST and HTTP device API.",
    for_peer="This port speaks MQTT, not HTTP.",
    stage=Stage.BEFORE_CONNECT,
)
PLAIN_HTTP_ON_TLS_PORT = Refusal(
    code="plain-http-on-tls-port",
    sentence="A client spoke HTTP without TLS to a TLS port[: {seen}]",
    mend="Write https:// (for MQTT over WebSocket wss://) in the client's URL, or use the port for plain "
    "HTTP (8080 unless set otherwise).",
    for_peer="This port expects TLS.",
    stage=Stage.BEFORE_CONNECT,
)
MQTT_ON_HTTP_PORT = Refusal(
    code="mqtt-on-http-port",
    sentence="A client spoke MQTT to the HTTP port.",
    mend="Use the port for MQTT over TLS (8883 unless set otherwise).",
    for_peer="This port speaks HTTP, not MQTT.",
    stage=Stage.BEFORE_CONNECT,
)
MQTT_ON_WEBSOCKET_PORT = Refusal(
    code="mqtt-on-websocket-port",
    sentence="A client spoke MQTT without WebSocket to the port for MQTT over WebSocket.",
    mend='Tell the client to use WebSocket (paho: transport="websockets"; MQTT.js: wss://), or use the port '
    "for MQTT over TLS (8883 unless set otherwise).",
    for_peer="This port speaks MQTT over WebSocket.",
    stage=Stage.BEFORE_CONNECT,
)
WEBSOCKET_HANDSHAKE_INVALID = Refusal(
    code="websocket-handshake-invalid",
    sentence="A client's request for a WebSocket was refused[: {seen}]",
    mend="Connect to the path /mqtt with the subprotocol mqtt, as MQTT libraries do by themselves. A proxy "
    "in front must pass the headers Upgrade and Connection on.",
    for_peer="This port speaks MQTT over WebSocket at /mqtt.",
    stage=Stage.BEFORE_CONNECT,
)
UNKNOWN_PROTOCOL = Refusal(
    code="unknown-protocol",
    sentence="The first bytes were neither TLS nor MQTT nor HTTP[: {seen}]",
    mend="Port scanners do this. If it is your client, check host and port; if a load balancer stands in "
    "front, turn its PROXY protocol header off.",
    for_peer="This port speaks MQTT.",
    stage=Stage.BEFORE_CONNECT,
)

# What ended the TLS handshake

TLS_VERSION_TOO_OLD = Refusal(
    code="tls-version-too-old",
    sentence="The client speaks only TLS versions that are too old here"
    "[: it offers {offered} at most][; {floor} is the oldest that this server takes].",
    mend="Update the client's TLS library. For boards that cannot be updated, lower the setting "
    "tls.minimum_version[ to {offered}].",
    for_peer="The TLS version is too old.",
    stage=Stage.BEFORE_CONNECT,
)
SERVER_NOT_TRUSTED = Refusal(
    code="server-not-trusted",
    sentence="The client does not trust this server's certificate: it ended the handshake with the alert "
    "{alert}, which means: {meaning}",
    mend="Give the client this server's trust file, GET /api/device-connectivity/mqtts/certificate/download "
    "on the HTTP port, as its CA file, and connect by a name that stands in the server's certificate"
    "[ ({server_names})]. A client with a wrong clock finds every certificate invalid.",
    for_peer="The client ended the handshake.",
    stage=Stage.BEFORE_CONNECT,
)
NO_SHARED_CIPHER = Refusal(
    code="no-shared-cipher",
    sentence="The client and this server have no cipher, group or signature algorithm in common[: {seen}]",
    mend="Turn on TLS 1.2 ECDHE with AES-GCM, or TLS 1.3, in the client. A server key of another kind (RSA "
    "instead of EC, or the reverse) helps clients that know only one.",
    for_peer="No cipher in common.",
    stage=Stage.BEFORE_CONNECT,
)
HANDSHAKE_TOOK_TOO_LONG = Refusal(
    code="handshake-took-too-long",
    sentence="The client did not finish the TLS handshake[ within {limit}].",
    mend="Health checks and port scanners do this. A device on a slow link or with a slow processor needs a "
    "larger tls.handshake_timeout_s.",
    for_peer="The TLS handshake did not end in time.",
    stage=Stage.BEFORE_CONNECT,
)
HANDSHAKE_ABANDONED = Refusal(
    code="handshake-abandoned",
    sentence="The client closed the connection during the TLS handshake and gave no reason.",
    mend="Look into the client's own log. Most often it does not trust the server's certificate, or expects "
    "another name in it: GET /api/device-connectivity/mqtts/certificate/download gives the file to trust.",
    for_peer="The client closed the connection.",
    stage=Stage.BEFORE_CONNECT,
)
CLIENT_KEY_NOT_PROVEN = Refusal(
    code="client-key-not-proven",
    sentence="The client did not prove that it holds its certificate's key[: {seen}]",
    mend="Certificate and key of the client do not belong together; make both anew, or find the right pair.",
    for_peer="The key does not belong to the certificate.",
    stage=Stage.BEFORE_CONNECT,
)
TOO_MANY_HANDSHAKES = Refusal(
    code="too-many-handshakes",
    sentence="As many TLS handshakes were under way as the server takes at a time[: {limit}].",
    mend="Clients try again by themselves. If it lasts, raise tls.max_handshakes or add processor cores.",
    for_peer="This server is busy; try again.",
    stage=Stage.BEFORE_CONNECT,
)
HANDSHAKE_FAILED = Refusal(
    code="handshake-failed",
    sentence="The TLS handshake failed[: {seen}]",
    mend="Try openssl s_client -connect HOST:PORT with the client's files; it shows the failing step.",
    for_peer="The TLS handshake failed.",
    stage=Stage.BEFORE_CONNECT,
)

REFUSALS: tuple[Refusal, ...] = tuple(row for row in list(globals().values()) if isinstance(row, Refusal))
