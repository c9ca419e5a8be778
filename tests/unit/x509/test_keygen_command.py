"""`thingpass keygen`: what it writes, says and refuses. Java and OpenSSL read its files in tests/interop."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from thingpass.cli.keygen import CERTIFICATE_PATH
from thingpass.cli.main import main
from thingpass.x509 import jks
from thingpass.x509.certificate import Certificate
from thingpass.x509.keygen_properties import SAMPLE
from thingpass.x509.keystore_entries import TrustedEntry
from thingpass.x509.keystores import ServerIdentity, load_identity
from thingpass.x509.pasted import read_certificates
from thingpass.x509.self_signed import make_server_certificate

ROOT = Path(__file__).parents[3]
SERVER_FILES = ["mqttserver" + end for end in (".jks", ".p12", ".pem", ".pk8.pem", ".pub.pem", ".cer")]
CLIENT_FILES = ["mqttclient" + end for end in (".jks", ".p12", ".pem", ".pk8.pem", ".nopass.pem", ".pub.pem")]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keygen.properties").write_text(SAMPLE)
    return tmp_path


def keygen(*arguments: str, **options: str) -> Result:
    """The command with a standard input that would say yes to everything."""
    result = CliRunner().invoke(main, ["keygen", *arguments], input="yes\n" * 10, **options)  # type: ignore[arg-type]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def must(*arguments: str) -> Result:
    result = keygen(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str, exit_code: int = 1) -> str:
    result = keygen(*arguments)
    assert result.exit_code == exit_code, result.output
    return result.stderr


def written(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"keygen.properties"}


def certificate_of(path: Path) -> Certificate:
    return read_certificates(path.read_bytes())[0]


def test_server_writes_the_files_of_the_script_with_their_modes(directory: Path) -> None:
    output = must("server").stdout
    assert written(directory) == set(SERVER_FILES)
    for name in SERVER_FILES:
        public = name.endswith((".pub.pem", ".cer"))
        assert stat.S_IMODE((directory / name).stat().st_mode) == (0o644 if public else 0o600)
        assert f"{name} " in output
    assert "thingpass up --server-cert mqttserver.pub.pem --server-key mqttserver.pk8.pem" in output
    certificate = certificate_of(directory / "mqttserver.pub.pem")
    assert certificate.der == (directory / "mqttserver.cer").read_bytes()
    assert {socket.gethostname(), "localhost", "127.0.0.1", "::1"} <= set(certificate.alternative_names)


def test_client_writes_the_files_of_the_script_and_names_the_next_command(directory: Path) -> None:
    must("server")
    output = must("client").stdout
    assert written(directory) == {*SERVER_FILES, *CLIENT_FILES}
    certificate = certificate_of(directory / "mqttclient.pub.pem")
    assert certificate.credentials_id in output
    assert "thingpass device credentials NAME --x509 mqttclient.pub.pem" in output
    combined = (directory / "mqttclient.nopass.pem").read_text()
    assert combined.startswith("-----BEGIN EC PRIVATE KEY-----")
    assert combined.endswith((directory / "mqttclient.pub.pem").read_text())


@pytest.mark.parametrize("name", ["mqttserver.pub.pem", "mqttserver.cer"])
def test_client_trusts_the_server_whose_certificate_lies_beside(name: str, directory: Path) -> None:
    must("server")
    for other in {"mqttserver.pub.pem", "mqttserver.cer"} - {name}:
        (directory / other).unlink()
    must("client")
    assert trusted_by_client(directory) == certificate_of_any(directory / name)


def certificate_of_any(path: Path) -> Certificate:
    return Certificate.from_der(path.read_bytes()) if path.suffix == ".cer" else certificate_of(path)


def trusted_by_client(directory: Path) -> Certificate:
    entry = jks.read((directory / "mqttclient.jks").read_bytes(), "password").entries[1]
    assert isinstance(entry, TrustedEntry)
    assert entry.alias == "serveralias"
    return entry.certificate


def test_client_takes_the_server_certificate_from_a_file(directory: Path) -> None:
    (directory / "elsewhere").mkdir()
    identity = make_server_certificate(["other.example"], now=datetime.now(UTC))
    (directory / "elsewhere/ca.pem").write_text(identity.chain_pem)
    must("client", "--server-cert", "elsewhere/ca.pem")
    assert trusted_by_client(directory) == identity.chain[0]


def test_client_without_the_server_certificate_writes_nothing(directory: Path) -> None:
    said = refused("client")
    assert "neither mqttserver.pub.pem nor mqttserver.cer" in said
    assert "--server-cert FILE" in said
    assert written(directory) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--server-cert", "nowhere.pem"], "nowhere.pem: there is no such file"),
        (["--server-cert", "keygen.properties"], "keygen.properties: There is no certificate in this text"),
        (["--server", "http://127.0.0.1:1"], "gave no answer: [Errno"),
        (["--server", "mqtts://127.0.0.1:1"], "127.0.0.1:1 did not show a certificate"),
    ],
)
def test_unusable_source_of_the_server_certificate_is_named(
    arguments: list[str], said: str, directory: Path
) -> None:
    assert said in refused("client", *arguments)
    assert written(directory) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--server", "ftp://x"],
        ["--server", "127.0.0.1:8080"],
        ["--server", "http://x:notaport"],
        ["--server-cert", "a", "--server", "http://x"],
        ["--days", "0"],
        ["--unknown"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    refused("client", *arguments, exit_code=2)


@pytest.mark.parametrize("side", ["server", "client"])
def test_nothing_is_overwritten_without_force_and_nothing_is_asked(side: str, directory: Path) -> None:
    must("server")
    must("client")
    before = {name: (directory / name).read_bytes() for name in written(directory)}
    said = refused(side)
    names = SERVER_FILES if side == "server" else CLIENT_FILES
    assert all(name in said for name in names)
    assert "--force" in said
    assert {name: (directory / name).read_bytes() for name in written(directory)} == before
    must(side, "--force")
    assert all((directory / name).read_bytes() != before[name] for name in names)
    assert written(directory) == set(before)


@pytest.mark.parametrize("flags", [["-o"], ["-d"], ["--dir"], ["--directory"]])
def test_files_go_where_they_are_asked_for(flags: list[str], directory: Path) -> None:
    output = must("server", *flags, "new dir/keys").stdout
    assert written(directory / "new dir/keys") == set(SERVER_FILES)
    assert "--server-cert 'new dir/keys/mqttserver.pub.pem'" in output
    must("client", *flags, "new dir/keys")


@pytest.mark.parametrize("flag", ["-p", "--props", "--properties"])
def test_properties_file_is_named(flag: str, directory: Path) -> None:
    (directory / "keygen.properties").rename(directory / "my.properties")
    must("server", flag, "my.properties")


def test_missing_properties_file_says_how_to_write_one() -> None:
    said = refused("server", "-p", "my.properties")
    assert said.count("\n") == 1
    assert (
        "my.properties: there is no such file; write one with `thingpass keygen properties my.properties`"
        in said
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CTY=Bonn", "keygen.properties:20: the variable CTY is not known; did you mean CITY?"),
        ("CITY=$(id)", "keygen.properties:20: CITY contains $(id), but nothing is run or looked up here"),
    ],
)
def test_faulty_line_is_one_line_of_output(line: str, said: str, directory: Path) -> None:
    (directory / "keygen.properties").write_text(SAMPLE + line)
    output = refused("server")
    assert said in output
    assert output.count("\n") == 1
    assert written(directory) == set()


def test_missing_password_is_named(directory: Path) -> None:
    (directory / "keygen.properties").write_text("CITY=Bonn\n")
    assert "SERVER_KEYSTORE_PASSWORD is missing" in refused("server")
    assert "CLIENT_KEYSTORE_PASSWORD is missing" in refused("client")


def test_copy_goes_to_the_keystore_directory_only_when_asked(directory: Path) -> None:
    text = SAMPLE.replace("/etc/thingsboard/conf/", str(directory / "conf"))
    (directory / "keygen.properties").write_text(text)
    must("server", "-c", "false")
    assert not (directory / "conf").exists()
    assert "already" in refused("server", "-c", "true")
    must("server", "--copy", "true", "--force")
    for name in SERVER_FILES:
        assert (directory / "conf" / name).read_bytes() == (directory / name).read_bytes()
    must("server", "-o", "other")
    assert "conf" in refused("server", "-o", "third", "-c", "true")
    assert not (directory / "third").exists()


def test_common_name_of_a_device_can_be_given(directory: Path) -> None:
    must("server")
    must("client", "--common-name", "pump 7", "--days", "30")
    certificate = certificate_of(directory / "mqttclient.pub.pem")
    assert certificate.common_name == "pump 7"
    assert (certificate.not_after - certificate.not_before).days == 30
    assert "cannot be written" in refused("client", "--common-name", "x" * 65, "--force")


def test_json_names_files_and_identity(directory: Path) -> None:
    answer = json.loads(must("server", "--json").stdout)
    assert [file["path"] for file in answer["files"]] == [
        "mqttserver" + end for end in (".jks", ".p12", ".pem", ".pk8.pem", ".pub.pem", ".cer")
    ]
    client = json.loads(must("client", "--json").stdout)
    assert client["credentialsId"] == certificate_of(directory / "mqttclient.pub.pem").credentials_id
    assert client["trustedFingerprintsSha256"] == [answer["fingerprintSha256"]]
    assert client["next"].startswith("thingpass device credentials NAME --x509 ")


def test_passwords_are_never_printed_and_the_guides_are_noted(directory: Path) -> None:
    result = must("server")
    assert "server_key_password" not in result.output
    assert "Note: the passwords are the ones that ThingsBoard's guide prints" in result.stderr
    text = SAMPLE.replace("=password", "=5ecret-one").replace("_password\n", "_5ecret\n")
    (directory / "keygen.properties").write_text(text)
    result = must("client")
    assert "5ecret" not in result.output
    assert "Note" not in result.stderr


def test_sample_is_written_as_the_guide_prints_it(directory: Path) -> None:
    must("properties", "sub/my.properties")
    path = directory / "sub/my.properties"
    assert path.read_text() == SAMPLE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "--force" in refused("properties", "sub/my.properties")


@pytest.mark.parametrize("name", ["mqttserver.pem", "mqttserver.p12", "mqttserver.jks"])
def test_server_takes_each_form_with_the_key_password(name: str, directory: Path) -> None:
    must("server")
    identity = load_identity(directory / name, None, b"server_key_password", None)
    assert identity.chain == (certificate_of(directory / "mqttserver.pub.pem"),)


@pytest.mark.parametrize("side", ["server", "client"])
def test_wrapper_script_runs_as_the_guide_prints_it(side: str, directory: Path) -> None:
    must("server", "-o", ".")
    wrapper = ROOT / f"tools/{side}.keygen.sh"
    assert os.access(wrapper, os.X_OK)
    assert len(wrapper.read_text().splitlines()) == 2
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        [wrapper, "--force"], cwd=directory, capture_output=True, text=True, check=False, env=environment,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"mqtt{side}.pub.pem" in result.stdout


@pytest.fixture
def identity() -> ServerIdentity:
    return make_server_certificate(["running.example"], now=datetime.now(UTC))


@pytest.fixture
def http_port(identity: ServerIdentity) -> Iterator[int]:
    """A server that gives its certificate where ThingsBoard does, and nothing elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == CERTIFICATE_PATH
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(identity.chain_pem.encode() if found else b"nothing")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def tls_port(identity: ServerIdentity, tmp_path: Path) -> Iterator[int]:
    """A port that shows the certificate in one handshake."""
    path = tmp_path / "shown.pem"
    path.write_bytes(identity.private_key_pem + identity.chain_pem.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    def shake_hands(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=shake_hands, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
    path.unlink()


def assert_trusts(identity: ServerIdentity, result: Result, directory: Path) -> None:
    assert trusted_by_client(directory) == identity.chain[0]
    assert identity.chain[0].fingerprint_sha256 in result.stderr  # as `thingpass up` prints it, to compare


@pytest.mark.parametrize("ending", ["", "/"])
def test_client_gets_the_certificate_from_a_running_server(
    ending: str, identity: ServerIdentity, http_port: int, directory: Path
) -> None:
    assert_trusts(identity, must("client", "--server", f"http://127.0.0.1:{http_port}{ending}"), directory)


def test_client_gets_the_certificate_from_the_handshake(
    identity: ServerIdentity, tls_port: int, directory: Path
) -> None:
    assert_trusts(identity, must("client", "--server", f"mqtts://127.0.0.1:{tls_port}"), directory)


def test_address_that_answers_otherwise_is_named(http_port: int, directory: Path) -> None:
    assert "answered 404" in refused("client", "--server", f"http://127.0.0.1:{http_port}/wrong")
    assert written(directory) == set()
