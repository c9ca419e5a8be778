"""The files of `thingpass keygen`, read by the programs they are for: keytool, openssl, Java, Mosquitto."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from thingpass.cli.main import main
from thingpass.x509.keystores import load_identity
from thingpass.x509.pasted import read_certificates

STORE_PASSWORDS = {"mqttserver": "store of the server", "mqttclient": "store of the client"}
KEY_PASSWORDS = {"mqttserver": "key of the server", "mqttclient": "key of the client"}
ALIASES = {"mqttserver": "serveralias", "mqttclient": "clientalias"}
PREFIXES = ("mqttserver", "mqttclient")
KINDS = {
    "default": "",
    "RSA": "{0}_KEY_ALG=RSA\n{0}_KEY_SIZE=2048\n{0}_KEY_GROUP_NAME=secp256r1\n",
    "secp384r1": "{0}_KEY_ALG=EC\n{0}_KEY_GROUP_NAME=secp384r1\n",
    "Ed25519": "{0}_KEY_ALG=Ed25519\n",
}
PROPERTIES = """\
DOMAIN_SUFFIX="$(hostname)"
CITY=San Francisco
TWO_LETTER_COUNTRY_CODE=US
SERVER_KEYSTORE_PASSWORD=store of the server
SERVER_KEY_PASSWORD="key of the server"
CLIENT_KEYSTORE_PASSWORD='store of the client'
CLIENT_KEY_PASSWORD=key of the client
"""

pytestmark = pytest.mark.needs("openssl", "keytool")


def make_keys(directory: Path, kind: str) -> Path:
    properties = PROPERTIES + "".join(KINDS[kind].format(side) for side in ("SERVER", "CLIENT"))
    (directory / "keygen.properties").write_text(properties)
    for side in ("server", "client"):
        arguments = ["keygen", side, "-p", str(directory / "keygen.properties"), "-o", str(directory)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    return directory


@pytest.fixture(scope="module", params=KINDS)
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets, with a key of each kind."""
    return make_keys(tmp_path_factory.mktemp("keys"), str(request.param))


@pytest.fixture(scope="module")
def default_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys"), "default")


def run(*command: str, cwd: Path, fails: bool = False) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result.stdout + result.stderr


def keytool(*arguments: str, cwd: Path, fails: bool = False) -> str:
    return run(
        "keytool", "-J-Duser.language=en", "-J-XX:TieredStopAtLevel=1", *arguments, cwd=cwd, fails=fails
    )


def fingerprint_of(path: Path) -> str:
    return read_certificates(path.read_bytes())[0].fingerprint_sha256.upper()


class TestKeytool:
    def test_lists_the_java_store_with_all_its_entries(self, keys: Path) -> None:
        output = keytool(
            "-list",
            "-v",
            "-keystore",
            "mqttclient.jks",
            "-storepass",
            STORE_PASSWORDS["mqttclient"],
            cwd=keys,
        )
        assert "Keystore type: JKS" in output
        assert re.findall(r"Alias name: (\S+)", output) == ["clientalias", "serveralias"]
        assert re.findall(r"Entry type: (\S+)", output) == ["PrivateKeyEntry", "trustedCertEntry"]
        seen = [text.replace(":", "") for text in re.findall(r"SHA256: ([0-9A-F:]+)", output)]
        assert seen == [fingerprint_of(keys / f"{prefix}.pub.pem") for prefix in reversed(PREFIXES)]

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_decrypts_the_key_of_the_java_store_by_its_own_password(
        self, prefix: str, keys: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "converted.p12"
        keytool(
            "-importkeystore", "-srckeystore", f"{prefix}.jks", "-srcstorepass", STORE_PASSWORDS[prefix],
            "-srcalias", ALIASES[prefix], "-srckeypass", KEY_PASSWORDS[prefix],
            "-destkeystore", str(target), "-deststoretype", "PKCS12", "-deststorepass", "converted", cwd=keys,
        )  # fmt: skip
        key = run(
            "openssl",
            "pkcs12",
            "-in",
            str(target),
            "-passin",
            "pass:converted",
            "-nodes",
            "-nocerts",
            cwd=keys,
        )
        (tmp_path / "key.pem").write_text(key)
        (tmp_path / "key.pem").chmod(0o600)
        public = run("openssl", "pkey", "-in", str(tmp_path / "key.pem"), "-pubout", cwd=keys)
        assert public == run("openssl", "pkey", "-in", f"{prefix}.pk8.pem", "-pubout", cwd=keys)

    def test_refuses_a_wrong_store_password(self, default_keys: Path) -> None:
        output = keytool(
            "-list",
            "-keystore",
            "mqttclient.jks",
            "-storepass",
            "wrong password",
            cwd=default_keys,
            fails=True,
        )
        assert "password was incorrect" in output

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_lists_the_pkcs12_store(self, prefix: str, keys: Path) -> None:
        output = keytool(
            "-list", "-v", "-keystore", f"{prefix}.p12", "-storepass", KEY_PASSWORDS[prefix], cwd=keys
        )
        assert "Keystore type: PKCS12" in output
        assert re.findall(r"Alias name: (\S+)", output) == [ALIASES[prefix]]
        assert "PrivateKeyEntry" in output

    def test_prints_the_binary_certificate(self, default_keys: Path) -> None:
        output = keytool("-printcert", "-file", "mqttserver.cer", cwd=default_keys)
        for name in (socket.gethostname(), "localhost", "127.0.0.1"):
            assert name in output

    @pytest.mark.parametrize("store_type", ["JKS", "PKCS12"])
    @pytest.mark.parametrize("algorithm", [["EC", "-groupname", "secp256r1"], ["RSA", "-keysize", "2048"]])
    def test_store_that_keytool_made_is_read(
        self, store_type: str, algorithm: list[str], tmp_path: Path
    ) -> None:
        key_password = ["-keypass", "key password"] if store_type == "JKS" else []
        keytool(
            "-genkeypair", "-keystore", "made", "-storetype", store_type, "-storepass", "store password",
            *key_password, "-alias", "Made By Java", "-dname", "CN=a\\, b,O=Plant", "-keyalg", *algorithm,
            cwd=tmp_path,
        )  # fmt: skip
        password = b"key password" if key_password else b"store password"
        identity = load_identity(tmp_path / "made", None, password, "made by java")
        assert identity.chain[0].subject == "CN=a\\, b,O=Plant"


class TestOpenSSL:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_reads_the_certificate_and_verifies_it_as_its_own_anchor(self, prefix: str, keys: Path) -> None:
        name = f"{prefix}.pub.pem"
        purpose = "sslserver" if prefix == "mqttserver" else "sslclient"
        output = run("openssl", "x509", "-in", name, "-noout", "-fingerprint", "-sha256", cwd=keys)
        assert output.strip().split("=")[1].replace(":", "") == fingerprint_of(keys / name)
        for flags in ([], ["-x509_strict"], ["-x509_strict", "-partial_chain"], ["-check_ss_sig"]):
            run("openssl", "verify", "-purpose", purpose, *flags, "-CAfile", name, name, cwd=keys)

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_reads_every_form_of_the_key(self, prefix: str, keys: Path) -> None:
        public = run("openssl", "x509", "-in", f"{prefix}.pub.pem", "-noout", "-pubkey", cwd=keys)
        password = f"pass:{KEY_PASSWORDS[prefix]}"
        forms = [[f"{prefix}.pk8.pem"], [f"{prefix}.pem", "-passin", password]]
        if prefix == "mqttclient":
            forms.append([f"{prefix}.nopass.pem"])
        for form in forms:
            assert run("openssl", "pkey", "-pubout", "-in", *form, cwd=keys) == public
        run(
            "openssl", "pkey", "-noout", "-in", f"{prefix}.pem", "-passin", "pass:wrong", cwd=keys, fails=True
        )

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_opens_the_pkcs12_store(self, prefix: str, keys: Path) -> None:
        command = ["openssl", "pkcs12", "-in", f"{prefix}.p12", "-noout", "-info", "-passin"]
        output = run(*command, f"pass:{KEY_PASSWORDS[prefix]}", cwd=keys)
        assert "sha256" in output
        assert "AES-256-CBC" in output
        assert "invalid password" in run(*command, "pass:wrong", cwd=keys, fails=True)

    def test_names_the_forms_as_the_scripts_do(self, default_keys: Path) -> None:
        first_lines = {
            "mqttserver.pem": "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "mqttserver.pk8.pem": "-----BEGIN PRIVATE KEY-----",
            "mqttserver.pub.pem": "-----BEGIN CERTIFICATE-----",
            "mqttclient.nopass.pem": "-----BEGIN EC PRIVATE KEY-----",
        }
        for name, line in first_lines.items():
            assert (default_keys / name).read_text().splitlines()[0] == line


JAVA_CLIENT = """
import java.io.FileInputStream;
import java.security.KeyStore;
import javax.net.ssl.*;

/** Opens the store by its two passwords, connects, checks the host name, proves its own key. */
public class Probe {
    public static void main(String[] arguments) throws Exception {
        KeyStore store = KeyStore.getInstance("JKS");
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            store.load(file, arguments[1].toCharArray());
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, arguments[2].toCharArray());
        KeyStore trusted = KeyStore.getInstance("JKS");
        trusted.load(null, null);
        trusted.setCertificateEntry("server", store.getCertificate("serveralias"));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        int port = Integer.parseInt(arguments[3]);
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", port);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        System.out.println("accepted: " + new String(socket.getInputStream().readAllBytes()));
    }
}
"""


@pytest.mark.needs("java", "javac")
def test_java_client_trusts_the_server_and_proves_itself_by_the_store(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "Probe.java").write_text(JAVA_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "mqttserver.pub.pem", keys / "mqttserver.pk8.pem")
    context.load_verify_locations(keys / "mqttclient.pub.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    seen = []

    def answer(listener: socket.socket) -> None:
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as connection:
            seen.append(connection.getpeercert(binary_form=True))
            connection.sendall(b"hello")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        output = run(
            "java", "-XX:TieredStopAtLevel=1", "Probe.java", str(keys / "mqttclient.jks"),
            STORE_PASSWORDS["mqttclient"], KEY_PASSWORDS["mqttclient"], str(listener.getsockname()[1]),
            cwd=tmp_path,
        )  # fmt: skip
        thread.join()
    assert "accepted: hello" in output
    assert seen == [read_certificates((keys / "mqttclient.pub.pem").read_bytes())[0].der]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found
    return found


@pytest.fixture
def broker_port(default_keys: Path, tmp_path: Path) -> Iterator[int]:
    """Mosquitto with the server's files, which admits only the client's certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\ncertfile {default_keys}/mqttserver.pub.pem\n"
        f"keyfile {default_keys}/mqttserver.pk8.pem\ncafile {default_keys}/mqttclient.pub.pem\n"
        f"require_certificate true\nallow_anonymous true\nuser root\n"
    )
    broker = subprocess.Popen([program("mosquitto"), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    broker.terminate()
    broker.wait()


@pytest.mark.needs("mosquitto", "mosquitto_pub")
def test_mosquitto_and_its_client_take_the_files(default_keys: Path, broker_port: int) -> None:
    command = [
        program("mosquitto_pub"), "-h", "localhost", "-p", str(broker_port), "-t", "a", "-m", "b", "-q", "1",
        "--cafile", "mqttserver.pub.pem",
    ]  # fmt: skip
    combined = ["--cert", "mqttclient.nopass.pem", "--key", "mqttclient.nopass.pem"]
    run(*command, *combined, cwd=default_keys)
    run(*command, "--cert", "mqttclient.pub.pem", "--key", "mqttclient.pk8.pem", cwd=default_keys)
    run(*command, cwd=default_keys, fails=True)
