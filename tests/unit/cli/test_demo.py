from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from thingpass.cli import demo, demo_processes
from thingpass.cli.demo import find_client
from thingpass.cli.demo_processes import DemoServer, StepFailed, Workshop
from thingpass.x509.keygen_properties import SAMPLE

ROOT = Path(__file__).parents[3]


def test_properties_are_those_of_the_walk_through() -> None:
    assert f"<<'EOF'\n{SAMPLE}EOF\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_client_is_found() -> None:
    assert find_client().name == "two-way-ssl-mqtt-client.py"


def test_client_that_is_nowhere_is_told_with_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CLIENT", "missing.py")
    with pytest.raises(
        StepFailed, match=r"missing\.py is neither in .*thingpass/examples nor in .*examples\."
    ):
        find_client()


def test_missing_client_library_is_told_before_anything_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("demo")
    assert result.exit_code == 1
    assert "Mend: pip install 'thingpass[demo]'" in result.stderr


def test_workshop_keeps_the_users_settings_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGPASS_TOKEN", "x")
    workshop = Workshop(tmp_path)
    assert "THINGPASS_TOKEN" not in workshop.environ
    assert workshop.environ["THINGPASS_DATA_DIR"] == str(tmp_path / "data")


def test_failing_command_is_told_with_its_sentence_and_mend(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    with pytest.raises(StepFailed) as raised:
        workshop.thingpass("config", "show", "--config", "missing.toml")
    command, ended, reason = raised.value.reason.partition(" ended with 1: ")
    assert (command, bool(ended)) == ("`thingpass config show --config missing.toml`", True)
    assert reason.startswith("missing.toml: cannot be read: No such file")
    with pytest.raises(StepFailed) as raised:
        workshop.python("python x", "-c", "import sys; sys.exit('Error: a\\nMend: b')")
    assert (raised.value.reason, raised.value.mend) == ("`python x` ended with 1: a", "b")


def test_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_processes, "COMMAND_TIMEOUT_S", 0.2)
    with pytest.raises(StepFailed, match=r"`python x` did not end within 0\.2 s\."):
        Workshop(tmp_path).python("python x", "-c", "import time; time.sleep(60)")


FAKE_UP = """
import json, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
print("a line of the log", file=sys.stderr, flush=True)
print({line!r}, flush=True)
time.sleep({seconds})
"""


@pytest.fixture
def fake_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop in which `python -m thingpass` is a program that the test writes."""
    workshop = Workshop(tmp_path)
    workshop.environ["PYTHONPATH"] = str(tmp_path)
    return workshop


def write_fake(workshop: Workshop, line: str, *, seconds: float = 60, code: int = 0) -> None:
    program = FAKE_UP.format(line=line, seconds=seconds, code=code)
    (workshop.directory / "thingpass.py").write_text(program)


READY = json.dumps({"event": "ready", "http": "http://127.0.0.1:1", "mqtts": {"host": "h", "port": 8884}})


def test_server_is_started_used_and_stopped(fake_up: Workshop) -> None:
    write_fake(fake_up, READY)
    server = DemoServer(fake_up)
    try:
        assert server.start("--server-cert", "a.pem") == "thingpass up --server-cert a.pem"
        assert server.mqtts_port == 8884
        assert fake_up.environ["THINGPASS_URL"] == "http://127.0.0.1:1"
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("line", "seconds", "reason"),
    [
        ("not json", 60, "the server said 'not json\\\\n' instead of where it is"),
        ("{}", 60, "instead of where it is"),
    ],
)
def test_server_that_says_something_else_is_told(
    fake_up: Workshop, line: str, seconds: float, reason: str
) -> None:
    write_fake(fake_up, line, seconds=seconds)
    server = DemoServer(fake_up)
    try:
        with pytest.raises(StepFailed, match=reason):
            server.start()
    finally:
        server.kill()


def test_server_that_ends_or_stays_silent_is_told(fake_up: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake_up.directory / "thingpass.py").write_text("import sys; sys.exit(3)")
    server = DemoServer(fake_up)
    with pytest.raises(StepFailed, match="the server ended with exit code 3 before it was ready"):
        server.start()
    server.kill()
    (fake_up.directory / "thingpass.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(demo_processes, "START_TIMEOUT_S", 0.3)
    server = DemoServer(fake_up)
    with pytest.raises(StepFailed, match=r"the server was not ready within 0\.3 s"):
        server.start()
    started = time.monotonic()
    server.kill()
    assert time.monotonic() - started < 5


def test_server_that_ends_badly_is_told_and_its_log_is_shown(
    fake_up: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fake(fake_up, READY, code=4)
    server = DemoServer(fake_up)
    server.start()
    with pytest.raises(StepFailed, match="the server ended with exit code 4"):
        server.stop()
    server.explain()
    assert "  a line of the log" in capsys.readouterr().err
    server.kill()


def test_failed_step_is_named_and_nothing_is_left_behind(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(self: Workshop, *words: str) -> tuple[str, str]:
        raise StepFailed("it rained", "Take an umbrella.")

    monkeypatch.setattr(Workshop, "thingpass", fail)
    result = run("demo")
    assert result.exit_code == 1
    assert "✓ Write keygen.properties" in result.stdout
    assert "✗ Make the server's keys" in result.stdout
    assert result.stderr == "Error: Make the server's keys: it rained\nMend: Take an umbrella.\n"
    assert list(tmp_path.glob("thingpass-demo-*")) == []
    document = json.loads(run("demo", "--json", "--keep").stdout)
    assert (document["ok"], document["error"]) == (False, "Make the server's keys: it rained")
    assert [step["step"] for step in document["steps"]] == ["Write keygen.properties"]
    assert (Path(document["directory"]) / "keygen.properties").read_text() == SAMPLE
