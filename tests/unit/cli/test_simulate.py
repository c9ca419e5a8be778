from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Run, Stub
from thingpass.cli.simulate_display import block, log_line, summary_document, summary_lines
from thingpass.simulation.tally import Problem, Snapshot

COUNTS = Snapshot(
    wanted=10_000,
    connected=9_990,
    connects=10_005,
    connects_failed=3,
    lost=15,
    sent=50_000,
    acknowledged=49_990,
    unacknowledged=10,
    latencies={100: 10},
    problems={
        "refused: no.": Problem(3, "Nobody \x1b[31mknows you."),
        "nobody listens there (connection refused)": Problem(15),
    },
)
BEFORE = Snapshot(wanted=10_000, connects=10_000, sent=40_000, acknowledged=40_000)


def test_block_shows_rates_since_before_and_problems_by_their_number() -> None:
    lines = block("mqtts://h:8883", COUNTS, BEFORE, 2.0, 3_725)
    assert lines[0] == "10,000 devices at mqtts://h:8883, 1:02:05"
    assert lines[1] == "connected   9,990 of 10,000, 2 connects/s, 3 failed, 15 lost"
    assert lines[2] == "messages    5,000/s sent, 4,995/s acknowledged, 10 on their way, 49,990 in all"
    assert lines[3].startswith("latency     p50 ")
    assert lines[-2] == "       15 x nobody listens there (connection refused)"
    assert "\x1b" not in lines[-1], "a server's words do not reach the terminal as they are"


def test_nothing_counted_yet_is_no_error() -> None:
    assert "latency     unknown" in block("t", Snapshot(), Snapshot(), 0.0, 0.0)
    assert log_line(Snapshot(), Snapshot(), 0.0).startswith("connected 0/0")
    assert summary_document(Snapshot(), 0.0, "t")["latency_ms"] == {"p50": None, "p99": None}


def test_summary_has_every_count() -> None:
    document = summary_document(COUNTS, 10.0, "mqtts://h:8883")
    assert document["acknowledged_per_s"] == 4999.0
    assert document["connects"] == 10_005
    assert [row["count"] for row in document["problems"]] == [15, 3]  # type: ignore[attr-defined]
    assert any("49,990 acknowledged" in line for line in summary_lines(COUNTS, 10.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--devices", "0"], "--devices"),
        (["--rate", "0"], "--rate"),
        (["--prefix", "../x"], "--prefix"),
        (["--to", "http://h"], "is not for --protocol mqtt"),
        (["--x509", "--to", "mqtt://h"], "--x509 needs TLS"),
        (["--to", "h:8883"], "is not an address of devices"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_asked(
    run: Run, stub: Stub, words: list[str], said: str
) -> None:
    result = run("simulate", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not stub.requests


def test_server_that_refuses_the_registration_ends_it(run: Run, stub: Stub) -> None:
    stub.refuse("GET", "/api/tenant/devices", 401, "Authentication failed", code=10)
    result = run("simulate", "--devices", "3")
    assert result.exit_code == 1
    assert "Authentication failed" in result.stderr


def test_server_that_is_another_program_is_said(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", {"what": "is this"})
    result = run("simulate", "--devices", "3")
    assert result.exit_code == 1
    assert "Error:" in result.stderr
