"""`keygen.properties` of ThingsBoard's key generation scripts: which variables there are and what they mean.

The scripts *source* the file, so that it is executed; here `shell_assignments` reads it and nothing runs. One
row of VARIABLES per name says what its value must be; what values mean together is decided below.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from thingpass.x509.errors import PropertiesInvalid
from thingpass.x509.private_keys import (
    ALGORITHMS,
    CURVE_ALIASES,
    CURVES,
    EC_SIZES,
    LARGEST_RSA,
    SMALLEST_RSA,
    KeyKind,
)
from thingpass.x509.shell_assignments import Assignment, read_assignments

SHORTEST_PASSWORD = 6  # keytool refuses shorter ones
_FILE_PREFIX = re.compile(r"[A-Za-z0-9_@+][A-Za-z0-9._@+-]{0,99}")
_CURVE_NAMES = ", ".join(CURVES)

SAMPLE = """\
DOMAIN_SUFFIX="$(hostname)"
ORGANIZATIONAL_UNIT=ThingsBoard
ORGANIZATION=ThingsBoard
CITY=San Francisco
STATE_OR_PROVINCE=CA
TWO_LETTER_COUNTRY_CODE=US

SERVER_KEYSTORE_PASSWORD=server_ks_password
SERVER_KEY_PASSWORD=server_key_password

SERVER_KEY_ALIAS="serveralias"
SERVER_FILE_PREFIX="mqttserver"
SERVER_KEYSTORE_DIR="/etc/thingsboard/conf/"

CLIENT_KEYSTORE_PASSWORD=password
CLIENT_KEY_PASSWORD=password

CLIENT_KEY_ALIAS="clientalias"
CLIENT_FILE_PREFIX="mqttclient"
"""
"""The file as ThingsBoard's guide prints it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The parts of a distinguished name; an empty part is left out of it."""

    common_name: str
    organizational_unit: str = ""
    organization: str = ""
    city: str = ""
    state: str = ""
    country_code: str = ""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What the key set of one side is made with: its names, its kind of key and its passwords."""

    alias: str
    file_prefix: str
    key_kind: KeyKind
    keystore_password: str = field(repr=False)
    key_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeygenProperties:
    """A whole file, checked. `server` or `client` is None where that side has no store password."""

    subject: Subject
    subject_alternative_names: tuple[str, ...]
    server: KeySettings | None
    client: KeySettings | None
    server_alias: str
    server_file_prefix: str
    server_keystore_dir: str


class _Fault(Exception):
    """What is wrong with one value: the sentence goes on after the variable's name."""

    def __init__(self, sentence: str, mend: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.mend = mend


def _check_name_part(most: int) -> Callable[[str], None]:
    def check(value: str) -> None:
        if len(value.encode()) > most:  # upper bounds of RFC 5280 appendix A.1
            raise _Fault(f"is longer than {most} bytes", "shorten it")

    return check


def _check_country_code(value: str) -> None:
    if value and not re.fullmatch(r"[A-Za-z]{2}", value):
        raise _Fault(
            f"is {value[:20]!r}, not a country code", "write the two letters of ISO 3166, such as US or DE"
        )


def _check_password(value: str) -> None:
    if len(value) < SHORTEST_PASSWORD:
        raise _Fault(f"has fewer than {SHORTEST_PASSWORD} characters", "choose a longer one, as Java demands")
    if len(value) > 255:  # cryptography's and OpenSSL's PEM encryption end at 1023 bytes
        raise _Fault("is longer than 255 characters", "choose a shorter one")
    if not value.isascii():
        raise _Fault("contains characters outside ASCII", "use ASCII, because Java 8 opens no .p12 otherwise")


def _check_alias(value: str) -> None:
    if not 1 <= len(value) <= 255:
        raise _Fault("is empty or longer than 255 characters", "write a short name such as serveralias")


def _check_file_prefix(value: str) -> None:
    if not _FILE_PREFIX.fullmatch(value):
        raise _Fault(
            f"is {value[:40]!r}, which cannot begin the name of a file",
            "use letters, digits, dots, dashes and underscores (-o chooses the directory)",
        )


def _check_algorithm(value: str) -> None:
    if value and _algorithm(value) is None:
        raise _Fault(f"is {value[:40]!r}, an unknown algorithm", f"write one of {', '.join(ALGORITHMS)}")


def _check_key_size(value: str) -> None:
    if value and not re.fullmatch(r"[0-9]{1,6}", value):
        raise _Fault(f"is {value[:20]!r}, not a number of bits", "write a number such as 2048")


def _check_curve(value: str) -> None:
    if value and _curve(value) is None:
        raise _Fault(f"is {value[:40]!r}, an unknown curve", f"write one of {_CURVE_NAMES}")


def _check_alternative_names(value: str) -> None:
    _alternative_names(value)


def _check_directory(value: str) -> None:
    if len(value) > 1024:
        raise _Fault("is longer than 1024 characters", "name a directory")


_OF_EACH_SIDE: dict[str, Callable[[str], None]] = {
    "KEYSTORE_PASSWORD": _check_password,
    "KEY_PASSWORD": _check_password,
    "KEY_ALIAS": _check_alias,
    "FILE_PREFIX": _check_file_prefix,
    "KEY_ALG": _check_algorithm,
    "KEY_SIZE": _check_key_size,
    "KEY_GROUP_NAME": _check_curve,
}

VARIABLES: dict[str, Callable[[str], None]] = {
    "DOMAIN_SUFFIX": _check_name_part(64),
    "SUBJECT_ALTERNATIVE_NAMES": _check_alternative_names,
    "ORGANIZATIONAL_UNIT": _check_name_part(64),
    "ORGANIZATION": _check_name_part(64),
    "CITY": _check_name_part(128),
    "STATE_OR_PROVINCE": _check_name_part(128),
    "TWO_LETTER_COUNTRY_CODE": _check_country_code,
    "SERVER_KEYSTORE_DIR": _check_directory,
    **{f"{side}_{name}": check for side in ("SERVER", "CLIENT") for name, check in _OF_EACH_SIDE.items()},
}


def read_properties(
    content: bytes, file: str, *, host_name: Callable[[], str], full_host_name: Callable[[], str]
) -> KeygenProperties:
    """The settings in a keygen.properties file; raises PropertiesInvalid with the line and the mend.

    `host_name` and `full_host_name` answer `$(hostname)` and `$(hostname -f)`; the first also stands in for a
    missing DOMAIN_SUFFIX.
    """
    substitutions = {"hostname": host_name, "hostname -f": full_host_name}
    values = _checked(read_assignments(content, file, substitutions), file)
    return KeygenProperties(
        subject=Subject(
            common_name=_text(values, "DOMAIN_SUFFIX") or host_name()[:64],
            organizational_unit=_text(values, "ORGANIZATIONAL_UNIT"),
            organization=_text(values, "ORGANIZATION"),
            city=_text(values, "CITY"),
            state=_text(values, "STATE_OR_PROVINCE"),
            country_code=_text(values, "TWO_LETTER_COUNTRY_CODE").upper(),
        ),
        subject_alternative_names=_alternative_names(_text(values, "SUBJECT_ALTERNATIVE_NAMES")),
        server=_side("SERVER", "serveralias", "mqttserver", values, file),
        client=_side("CLIENT", "clientalias", "mqttclient", values, file),
        server_alias=_text(values, "SERVER_KEY_ALIAS", "serveralias"),
        server_file_prefix=_text(values, "SERVER_FILE_PREFIX", "mqttserver"),
        server_keystore_dir=_text(values, "SERVER_KEYSTORE_DIR"),
    )


def is_host_name(name: str) -> bool:
    """Whether a text can be a dNSName: ASCII labels of up to 63; `_` and a leading `*.` are let pass."""
    labels = name.removeprefix("*.").removesuffix(".").split(".")
    return len(name) <= 253 and all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in labels)


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone means something on one machine only


_Values = Mapping[str, Assignment]


def _checked(assignments: Iterable[Assignment], file: str) -> _Values:
    """Every assignment by its name, each checked by its row; the last of a name counts, as in a shell."""
    values: dict[str, Assignment] = {}
    for assignment in assignments:
        name = assignment.name
        if name not in VARIABLES:
            near = difflib.get_close_matches(name.upper()[:64], VARIABLES, n=1)
            mend = f"did you mean {near[0]}?" if near else f"remove it; known are {', '.join(VARIABLES)}"
            raise PropertiesInvalid(file, assignment.line, f"the variable {name[:64]} is not known", mend)
        try:
            VARIABLES[name](assignment.value)
        except _Fault as fault:
            raise PropertiesInvalid(file, assignment.line, f"{name} {fault.sentence}", fault.mend) from None
        values[name] = assignment
    return values


def _text(values: _Values, name: str, default: str = "") -> str:
    assignment = values.get(name)
    return default if assignment is None or not assignment.value else assignment.value


def _side(side: str, alias: str, file_prefix: str, values: _Values, file: str) -> KeySettings | None:
    keystore_password = _text(values, f"{side}_KEYSTORE_PASSWORD")
    if not keystore_password:
        return None
    return KeySettings(
        alias=_text(values, f"{side}_KEY_ALIAS", alias),
        file_prefix=_text(values, f"{side}_FILE_PREFIX", file_prefix),
        key_kind=_key_kind(side, values, file),
        keystore_password=keystore_password,
        key_password=_text(values, f"{side}_KEY_PASSWORD", keystore_password),
    )


def _key_kind(side: str, values: _Values, file: str) -> KeyKind:
    """The kind of key that three variables ask for together.

    A group name beside RSA is left aside: ThingsBoard's newer file has one, and its script fails on it
    (device API reference, 8.5, defect 2). So is a size beside Ed25519 and Ed448, which have one size
    each.
    """
    algorithm = _algorithm(_text(values, f"{side}_KEY_ALG", "EC")) or "EC"
    curve = _curve(_text(values, f"{side}_KEY_GROUP_NAME"))
    size_name = f"{side}_KEY_SIZE"
    size_text = _text(values, size_name)
    if not size_text or algorithm not in ("RSA", "EC"):
        return KeyKind(algorithm, curve=curve or "secp256r1")
    size, line = int(size_text), values[size_name].line
    if algorithm == "RSA":
        if not SMALLEST_RSA <= size <= LARGEST_RSA:
            mend = f"write a number from {SMALLEST_RSA} to {LARGEST_RSA}"
            raise PropertiesInvalid(file, line, f"{size_name} is {size}, too short or too long for RSA", mend)
        return KeyKind("RSA", size_bits=size)
    of_size = EC_SIZES.get(size)
    mend = f"remove the line and write {side}_KEY_GROUP_NAME as one of {_CURVE_NAMES}"
    if of_size is None:
        raise PropertiesInvalid(file, line, f"{size_name} is {size}, which no curve has", mend)
    if curve is not None and curve != of_size:
        raise PropertiesInvalid(file, line, f"{size_name} is {size}, but the group name is {curve}", mend)
    return KeyKind("EC", curve=of_size)


def _algorithm(value: str) -> str | None:
    return next((known for known in ALGORITHMS if known.lower() == value.lower()), None)


def _curve(value: str) -> str | None:
    name = value.lower()
    return name if name in CURVES else CURVE_ALIASES.get(name)


def _alternative_names(value: str) -> tuple[str, ...]:
    """keytool's `dns:a,ip:b` as plain names; raises _Fault."""
    names = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        kind, _, name = part.partition(":")
        kind, name = kind.strip().lower(), name.strip()
        if kind not in ("dns", "ip"):
            raise _Fault(
                f"has the part {part[:60]!r}, which is neither dns:NAME nor ip:ADDRESS",
                "write it as dns:mqtt.example.com,ip:192.0.2.7",
            )
        if kind == "ip" and not is_address(name):
            raise _Fault(f"has {name[:60]!r} as an address", "write an IPv4 or IPv6 address after ip:")
        if kind == "dns" and not is_host_name(name):
            raise _Fault(
                f"has {name[:60]!r} as a host name",
                "write a host name in ASCII after dns: (an international one as xn--...)",
            )
        names.append(name)
    return tuple(names)
