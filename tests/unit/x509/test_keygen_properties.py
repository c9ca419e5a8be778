"""keygen.properties: the guide's file, the newer variables, and one clear line for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import UNHURRIED
from thingpass.x509.errors import PropertiesInvalid
from thingpass.x509.keygen_properties import (
    SAMPLE,
    VARIABLES,
    KeygenProperties,
    KeySettings,
    Subject,
    read_properties,
)
from thingpass.x509.private_keys import KeyKind

ROOT = Path(__file__).parents[3]


def read(content: str | bytes) -> KeygenProperties:
    data = content.encode() if isinstance(content, str) else content
    return read_properties(data, "my.properties", host_name=lambda: "vm", full_host_name=lambda: "vm.example")


def with_lines(*lines: str) -> KeygenProperties:
    return read(SAMPLE + "\n".join(lines))


def server_key(*lines: str) -> KeyKind:
    server = with_lines(*lines).server
    assert server is not None
    return server.key_kind


def test_file_is_read_exactly_as_the_guide_prints_it() -> None:
    properties = read((ROOT / "keygen.properties").read_bytes())
    assert properties.subject == Subject("vm", "ThingsBoard", "ThingsBoard", "San Francisco", "CA", "US")
    assert properties.server == KeySettings(
        "serveralias", "mqttserver", KeyKind("EC"), "server_ks_password", "server_key_password"
    )
    assert properties.client == KeySettings(
        "clientalias", "mqttclient", KeyKind("EC"), "password", "password"
    )
    assert properties.server_keystore_dir == "/etc/thingsboard/conf/"


def test_sample_is_the_file_at_the_root() -> None:
    assert (ROOT / "keygen.properties").read_text() == SAMPLE


def test_passwords_stay_out_of_reprs() -> None:
    assert "password" not in repr(read(SAMPLE)).replace("_password", "")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["SERVER_KEY_ALG=RSA"], KeyKind("RSA", 2048)),
        (["SERVER_KEY_ALG=rsa", "SERVER_KEY_SIZE=3072"], KeyKind("RSA", 3072)),
        (["SERVER_KEY_ALG=RSA", "SERVER_KEY_GROUP_NAME=secp256r1"], KeyKind("RSA", 2048)),
        (["SERVER_KEY_ALG=EC", 'SERVER_KEY_GROUP_NAME="secp384r1"'], KeyKind("EC", curve="secp384r1")),
        (["SERVER_KEY_GROUP_NAME=prime256v1"], KeyKind("EC", curve="secp256r1")),
        (["SERVER_KEY_GROUP_NAME=P-521"], KeyKind("EC", curve="secp521r1")),
        (["SERVER_KEY_SIZE=384"], KeyKind("EC", curve="secp384r1")),
        (["SERVER_KEY_SIZE=384", "SERVER_KEY_GROUP_NAME=secp384r1"], KeyKind("EC", curve="secp384r1")),
        (["SERVER_KEY_ALG=", "SERVER_KEY_SIZE=", "SERVER_KEY_GROUP_NAME="], KeyKind("EC")),
        (["SERVER_KEY_ALG=Ed25519"], KeyKind("Ed25519")),
        (["SERVER_KEY_ALG=Ed25519", "SERVER_KEY_SIZE=255"], KeyKind("Ed25519")),
    ],
)
def test_newer_variables_choose_the_key(lines: list[str], kind: KeyKind) -> None:
    assert server_key(*lines) == kind


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ()),
        ("ip:127.0.0.1", ("127.0.0.1",)),
        ("dns:mqtt.example.com,ip:192.0.2.7", ("mqtt.example.com", "192.0.2.7")),
        ("DNS: a.example , IP: ::1 ,", ("a.example", "::1")),
        ("dns:*.example.com", ("*.example.com",)),
    ],
)
def test_alternative_names_are_read_in_keytools_syntax(value: str, names: tuple[str, ...]) -> None:
    assert with_lines(f'SUBJECT_ALTERNATIVE_NAMES="{value}"').subject_alternative_names == names


def test_what_is_missing_has_a_default() -> None:
    properties = read("CLIENT_KEYSTORE_PASSWORD=secret-1")
    assert properties.subject == Subject("vm")
    assert properties.server is None
    assert properties.client == KeySettings("clientalias", "mqttclient", KeyKind(), "secret-1", "secret-1")
    assert (properties.server_alias, properties.server_file_prefix) == ("serveralias", "mqttserver")


def test_country_code_is_written_in_capitals() -> None:
    assert with_lines("TWO_LETTER_COUNTRY_CODE=de").subject.country_code == "DE"


FAULTS = {
    "SERVER_KEY_ALGO=EC": "the variable SERVER_KEY_ALGO is not known; did you mean SERVER_KEY_ALG?",
    "city=Bonn": "the variable city is not known; did you mean CITY?",
    "PATH=/bin": "the variable PATH is not known; remove it; known are DOMAIN_SUFFIX",
    "TWO_LETTER_COUNTRY_CODE=USA": "TWO_LETTER_COUNTRY_CODE is 'USA', not a country code; write the two",
    "TWO_LETTER_COUNTRY_CODE=U1": "not a country code",
    "SERVER_KEY_GROUP_NAME=secp111r1": "SERVER_KEY_GROUP_NAME is 'secp111r1', an unknown curve; write one of",
    "SERVER_KEY_ALG=DSA": "SERVER_KEY_ALG is 'DSA', an unknown algorithm; write one of EC, RSA, Ed25519",
    "SERVER_KEY_SIZE=big": "SERVER_KEY_SIZE is 'big', not a number of bits",
    "SERVER_KEY_SIZE=2048": "SERVER_KEY_SIZE is 2048, which no curve has; remove the line",
    "CLIENT_KEY_PASSWORD=short": "CLIENT_KEY_PASSWORD has fewer than 6 characters; choose a longer one",
    "CLIENT_KEY_PASSWORD=": "fewer than 6 characters",
    "CLIENT_KEY_PASSWORD=pässword": "characters outside ASCII",
    f"CLIENT_KEY_PASSWORD={'x' * 256}": "longer than 255 characters",
    "SERVER_FILE_PREFIX=../x": "SERVER_FILE_PREFIX is '../x', which cannot begin the name of a file",
    "SERVER_FILE_PREFIX=-rf": "cannot begin the name of a file",
    "SERVER_FILE_PREFIX=.hidden": "cannot begin the name of a file",
    "SERVER_FILE_PREFIX=": "cannot begin the name of a file",
    'SERVER_KEY_ALIAS=""': "SERVER_KEY_ALIAS is empty",
    f"CITY={'x' * 129}": "CITY is longer than 128 bytes; shorten it",
    f"DOMAIN_SUFFIX={'x' * 65}": "DOMAIN_SUFFIX is longer than 64 bytes",
    f"SERVER_KEYSTORE_DIR={'x' * 1025}": "longer than 1024",
    "SUBJECT_ALTERNATIVE_NAMES=a.example": "'a.example', which is neither dns:NAME nor ip:ADDRESS",
    "SUBJECT_ALTERNATIVE_NAMES=ip:a.example": "'a.example' as an address",
    "SUBJECT_ALTERNATIVE_NAMES=ip:fe80::1%eth0": "'fe80::1%eth0' as an address",
    "SUBJECT_ALTERNATIVE_NAMES=dns:zürich.example": "'zürich.example' as a host name",
    "SUBJECT_ALTERNATIVE_NAMES=email:a@b": "neither dns:NAME nor ip:ADDRESS",
    "DOMAIN_SUFFIX=$(dnsdomainname)": "DOMAIN_SUFFIX contains $(dnsdomainname), but nothing is run",
}


@pytest.mark.parametrize(("line", "sentence"), FAULTS.items())
def test_fault_is_one_line_with_file_line_and_mend(line: str, sentence: str) -> None:
    number = SAMPLE.count("\n") + 1
    with pytest.raises(PropertiesInvalid) as refusal:
        with_lines(line)
    assert str(refusal.value).startswith(f"my.properties:{number}: ")
    assert sentence in str(refusal.value)
    assert "; " in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "short\n" not in str(refusal.value)


@pytest.mark.parametrize("size", ["1024", "16384"])
def test_rsa_of_another_size_is_refused(size: str) -> None:
    with pytest.raises(PropertiesInvalid, match=f"SERVER_KEY_SIZE is {size}"):
        server_key("SERVER_KEY_ALG=RSA", f"SERVER_KEY_SIZE={size}")


def test_size_and_curve_that_disagree_are_refused() -> None:
    with pytest.raises(PropertiesInvalid, match="256, but the group name is secp384r1"):
        server_key("SERVER_KEY_SIZE=256", "SERVER_KEY_GROUP_NAME=secp384r1")


def test_reference_page_names_every_variable() -> None:
    page = (ROOT / "docs/reference/keygen-properties.md").read_text()
    assert [name for name in VARIABLES if f"`{name}`" not in page] == []


LINES = st.one_of(
    st.sampled_from(SAMPLE.splitlines()),
    st.builds("{}={}".format, st.sampled_from([*VARIABLES, "OTHER"]), st.text(max_size=20)),
    st.builds(
        "{}={}".format,
        st.sampled_from(list(VARIABLES)),
        st.sampled_from(["RSA", "2048", "ip:::1", "secp256r1"]),
    ),
    st.text(max_size=30),
)


@UNHURRIED
@given(
    st.one_of(
        st.binary(max_size=100), st.lists(LINES, max_size=8).map(lambda lines: "\n".join(lines).encode())
    )
)
def test_only_its_own_error_is_raised(content: bytes) -> None:
    try:
        read(content)
    except PropertiesInvalid as error:
        refusal = error
    else:
        return
    assert str(refusal).startswith("my.properties")
    assert refusal.mend
