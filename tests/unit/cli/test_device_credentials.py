from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

PATH = f"/api/device/{DEVICE_ID}/credentials"
SAVE = "/api/device/credentials"
TOKEN = {
    "id": {"id": "c"},
    "deviceId": {"entityType": "DEVICE", "id": DEVICE_ID},
    "credentialsType": "ACCESS_TOKEN",
    "credentialsId": "A1",
    "credentialsValue": None,
    "version": 3,
}


@pytest.fixture(autouse=True)
def _known_device(stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("GET", PATH, TOKEN)


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    """A certificate and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pump-1")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def saved(stub: Stub) -> dict[str, object]:
    body = stub.asked("POST", SAVE).json()
    assert isinstance(body, dict)
    return body


def save_answers(stub: Stub, kind: str, credentials_id: str, value: str | None) -> None:
    stub.answer(
        "POST",
        SAVE,
        {**TOKEN, "credentialsType": kind, "credentialsId": credentials_id, "credentialsValue": value},
    )


def test_without_options_they_are_shown(run: Run, stub: Stub) -> None:
    result = run("device", "credentials", "Pump 1")
    assert result.stdout == "credentials  ACCESS_TOKEN\ntoken        A1\n"
    assert json.loads(run("device", "credentials", "Pump 1", "--json").stdout) == TOKEN
    assert {request.method for request in stub.requests} == {"GET"}


def test_certificate_is_saved_with_the_rest_of_what_was_read(
    run: Run, stub: Stub, tmp_path: Path, pair: tuple[str, str]
) -> None:
    certificate, _ = pair
    (tmp_path / "a.pem").write_text(certificate)
    save_answers(stub, "X509_CERTIFICATE", "hash", "".join(certificate.splitlines()[1:-1]))
    result = run("device", "credentials", "Pump 1", "--x509", str(tmp_path / "a.pem"))
    assert result.exit_code == 0, result.output
    assert saved(stub) == {
        **TOKEN,
        "credentialsType": "X509_CERTIFICATE",
        "credentialsId": None,
        "credentialsValue": certificate,
    }
    for part in (
        "Device Pump 1 proves itself with this from now on:",
        "CN=pump-1",
        "EC secp256r1",
        "SHA-256 ",
        "hash",
    ):
        assert part in result.stdout
    assert "2026-01-01 00:00 to 2027-01-01 00:00 UTC" in result.stdout


def test_certificate_is_read_from_standard_input(run: Run, stub: Stub, pair: tuple[str, str]) -> None:
    save_answers(stub, "X509_CERTIFICATE", "hash", None)
    assert run("device", "credentials", "Pump 1", "--x509", "-", stdin=pair[0]).exit_code == 0
    assert saved(stub)["credentialsValue"] == pair[0]


def test_private_key_never_leaves_the_machine(run: Run, stub: Stub, pair: tuple[str, str]) -> None:
    for text in (pair[1], pair[1] + pair[0]):
        result = run("device", "credentials", "Pump 1", "--x509", "-", stdin=text)
        assert not any(b"PRIVATE KEY" in request.body for request in stub.requests)
        if result.exit_code == 0:
            continue
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert "private key" in result.stderr
        assert "\nMend: " in result.stderr


def test_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    result = run("device", "credentials", "Pump 1", "--x509", str(tmp_path / "missing.pem"))
    assert (result.exit_code, "missing.pem cannot be read: No such file" in result.stderr) == (1, True)


@pytest.mark.parametrize("words", [["--token", "T1"], ["--token", "-"], ["--token-file", "-"]])
def test_token_is_set(run: Run, stub: Stub, words: list[str]) -> None:
    save_answers(stub, "ACCESS_TOKEN", "T1", None)
    result = run("device", "credentials", "Pump 1", *words, stdin="T1\r\nrest\n")
    assert result.exit_code == 0, result.output
    assert (saved(stub)["credentialsType"], saved(stub)["credentialsId"]) == ("ACCESS_TOKEN", "T1")


def test_token_file_without_text_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("\nT1\n")
    result = run("device", "credentials", "Pump 1", "--token-file", str(tmp_path / "t"))
    assert result.exit_code == 1
    assert "There is no text on the first line" in result.stderr


def test_mqtt_basic_takes_its_password_from_a_file_and_does_not_show_it(
    run: Run, stub: Stub, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("swordfish\n")
    value = {"clientId": "c", "userName": "u", "password": "swordfish"}
    save_answers(stub, "MQTT_BASIC", "hash", json.dumps(value))
    words = ["--mqtt-basic", "--user", "u", "--client-id", "c", "--password-file", str(tmp_path / "password")]
    result = run("device", "credentials", "Pump 1", *words)
    assert result.exit_code == 0, result.output
    assert json.loads(str(saved(stub)["credentialsValue"])) == value
    assert "user name       u" in result.stdout
    assert "swordfish" not in result.stdout
    assert "swordfish" in run("device", "credentials", "Pump 1", *words, "--json").stdout


def test_mqtt_basic_with_a_client_id_alone_has_no_password(run: Run, stub: Stub) -> None:
    save_answers(stub, "MQTT_BASIC", "hash", '{"clientId":"c"}')
    assert run("device", "credentials", "Pump 1", "--mqtt-basic", "--client-id", "c").exit_code == 0
    assert saved(stub)["credentialsValue"] == '{"clientId":"c"}'


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--token", "a", "--x509", "f"], "--x509 and --token exclude each other."),
        (["--token", "a", "--user", "u"], "belong to --mqtt-basic"),
        (["--mqtt-basic"], "--mqtt-basic needs --user, --client-id or both."),
        (["--mqtt-basic", "--user", "u"], "the password comes from --password-file"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    run: Run, stub: Stub, words: list[str], sentence: str
) -> None:
    result = run("device", "credentials", "Pump 1", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr.replace("\n", " ")
    assert stub.requests == []


def test_stored_text_that_is_no_certificate_is_told(run: Run, stub: Stub) -> None:
    stub.answers.pop(("GET", PATH))
    stub.answer("GET", PATH, {**TOKEN, "credentialsType": "X509_CERTIFICATE", "credentialsValue": "bm90IGE="})
    result = run("device", "credentials", "Pump 1")
    assert result.exit_code == 0
    assert "certificate     " in result.stdout
