"""The Java example with Debian's MQTT library, and key stores that `keygen` and Java's keytool wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device import Device
from tests.running_server import RunningServer, clean_environ
from tests.tools import MQTT_CLIENT_JAR

JARS = ":".join(
    f"/usr/share/java/{name}.jar"
    for name in ("mqtt-client", "hawtbuf", "hawtdispatch", "hawtdispatch-transport")
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "java" / "MqttSslClient.java"

pytestmark = pytest.mark.needs("java", "javac", "keytool", MQTT_CLIENT_JAR)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("classes")
    run("javac", "-Xlint:all", "-Werror", "-cp", JARS, "-d", str(directory), str(EXAMPLE))
    return directory


def run(*command: str, cwd: Path | None = None, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environ(environ),
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def run_client(
    classes: Path, server: RunningServer, store: Path, password: str = "password"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *("java", "-cp", f"{classes}:{JARS}", "MqttSslClient"),
            *("127.0.0.1", str(server.mqtts_port), str(store), "2"),
        ],
        capture_output=True,
        text=True,
        env=clean_environ({"CLIENT_KEYSTORE_PASSWORD": password, "CLIENT_KEY_PASSWORD": password}),
        timeout=60,
        check=False,
    )


def assert_sent_telemetry(
    done: subprocess.CompletedProcess[str], server: RunningServer, device_id: str
) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(
        r"Connected with result code 0\n"
        r"Topic: v1/devices/me/attributes/response/1\nMessage: \{\}\n"
        r'(Topic: v1/devices/me/telemetry\nMessage: \{"temperature":[0-9.]+,"humidity":[0-9]+\}\n){2}',
        done.stdout,
    ), done.stdout
    url = f"/api/plugins/telemetry/DEVICE/{device_id}/values/timeseries"
    assert server.rest.get(url).json().keys() == {"temperature", "humidity"}


def test_store_made_by_keygen_works_in_java(server: RunningServer, classes: Path, tmp_path: Path) -> None:
    (tmp_path / "keygen.properties").write_text(
        "DOMAIN_SUFFIX=java-device\nCLIENT_FILE_PREFIX=mqttclient\n"
        "CLIENT_KEYSTORE_PASSWORD=password\nCLIENT_KEY_PASSWORD=password\nCLIENT_KEY_ALIAS=clientalias\n"
    )
    keygen = [sys.executable, "-m", "thingpass", "keygen", "client"]
    run(*keygen, "--server-cert", str(server.certificate_file()), cwd=tmp_path)
    device_id = server.add_device("java by keygen", (tmp_path / "mqttclient.pub.pem").read_text())
    done = run_client(classes, server, tmp_path / "mqttclient.jks")
    assert_sent_telemetry(done, server, device_id)


@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
@pytest.mark.parametrize(
    "key", [("EC", "-groupname", "secp256r1"), ("RSA", "-keysize", "2048")], ids=["EC", "RSA"]
)
def test_store_made_by_keytool_works(
    server: RunningServer, classes: Path, tmp_path: Path, kind: str, key: tuple[str, str, str]
) -> None:
    store, password = tmp_path / "keytool.jks", "keytool password"
    shared = ("-keystore", str(store), "-storetype", kind, "-storepass:env", "STORE_PASSWORD")
    environ = {"STORE_PASSWORD": password}
    run(
        *(
            "keytool",
            "-genkeypair",
            "-alias",
            "device",
            "-keyalg",
            *key,
            "-dname",
            f"CN=keytool {kind} {key[0]}",
        ),
        *("-keypass:env", "STORE_PASSWORD", "-validity", "30", *shared),
        environ=environ,
    )
    run(
        *("keytool", "-importcert", "-noprompt", "-alias", "server", "-file", str(server.certificate_file())),
        *shared,
        environ=environ,
    )
    pem = run("keytool", "-exportcert", "-rfc", "-alias", "device", *shared, environ=environ)
    device_id = server.add_device(f"keytool {kind} {key[0]}", pem)
    assert_sent_telemetry(run_client(classes, server, store, password), server, device_id)


@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
def test_server_runs_on_a_store_made_by_keytool(
    start: Callable[..., RunningServer], tmp_path: Path, kind: str
) -> None:
    store = tmp_path / "server.jks"
    run(
        *("keytool", "-genkeypair", "-alias", "serveralias", "-keyalg", "EC", "-groupname", "secp256r1"),
        *("-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1", "-validity", "30", "-keystore", str(store)),
        *("-storetype", kind, "-storepass:env", "STORE_PASSWORD", "-keypass:env", "STORE_PASSWORD"),
        environ={"STORE_PASSWORD": "server_ks_password"},
    )
    server = start(
        "--server-cert", str(store), environ={"THINGPASS_SERVER_KEY_PASSWORD": "server_ks_password"}
    )
    listed = run(
        *("keytool", "-exportcert", "-rfc", "-alias", "serveralias", "-keystore", str(store)),
        *("-storepass:env", "STORE_PASSWORD"),
        environ={"STORE_PASSWORD": "server_ks_password"},
    )
    assert "".join(server.certificate_file().read_text().split()) == "".join(listed.split())


def test_refusal_is_shown_with_where_to_look(
    classes: Path, device_with_certificate: Callable[..., Device], tmp_path: Path
) -> None:
    device = device_with_certificate(registered=False)
    store = tmp_path / "stranger.jks"
    environ = {"STORE_PASSWORD": "password"}
    p12 = tmp_path / "stranger.p12"
    run(
        *("openssl", "pkcs12", "-export", "-in", str(device.combined_file), "-name", "device"),
        *("-out", str(p12), "-passout", "env:STORE_PASSWORD"),
        environ=environ,
    )
    p12.rename(store)
    run(
        *("keytool", "-importcert", "-noprompt", "-alias", "server", "-file", str(device.ca_file)),
        *("-keystore", str(store), "-storepass:env", "STORE_PASSWORD"),
        environ=environ,
    )
    done = run_client(classes, device.server, store)
    assert done.returncode == 1
    assert done.stdout == "Connected with result code 5\n"
    assert "Refused: " in done.stderr
    assert "thingpass connections --refused" in done.stderr
