from __future__ import annotations

import json
import time

import pytest

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

TWO_WAY, ONE_WAY = f"/api/rpc/twoway/{DEVICE_ID}", f"/api/rpc/oneway/{DEVICE_ID}"


@pytest.fixture(autouse=True)
def _known_device(stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/devices", DEVICE)


def test_answer_is_shown_as_json(run: Run, stub: Stub) -> None:
    stub.answer("POST", TWO_WAY, {"value": "ü"})
    result = run("rpc", "Pump 1", "setGpio", '{"pin": 7}', "--timeout", "7.5")
    assert (result.exit_code, result.stdout) == (0, '{"value": "ü"}\n')
    assert stub.asked("POST", TWO_WAY).json() == {"method": "setGpio", "params": {"pin": 7}, "timeout": 7500}


@pytest.mark.parametrize(
    ("words", "params"), [([], None), (["7"], 7), (["fast"], "fast"), (['"7"'], "7"), (["-1.5"], -1.5)]
)
def test_params_are_json_or_a_text(run: Run, stub: Stub, words: list[str], params: object) -> None:
    stub.answer("POST", TWO_WAY, 1)
    result = run("rpc", "Pump 1", "setSpeed", "--", *words)
    assert result.exit_code == 0, result.output
    assert stub.asked("POST", TWO_WAY).json()["params"] == params  # type: ignore[index]


def test_what_was_meant_to_be_json_and_is_not(run: Run, stub: Stub) -> None:
    result = run("rpc", "Pump 1", "setGpio", "{pin: 7}")
    assert result.exit_code == 2
    assert "PARAMS is not JSON" in result.stderr


def test_one_way_says_that_the_device_has_it(run: Run, stub: Stub) -> None:
    stub.answer("POST", ONE_WAY)
    assert run("rpc", "Pump 1", "reboot", "--oneway").stdout == "Device Pump 1 has the call.\n"
    assert run("rpc", "Pump 1", "reboot", "--oneway", "--json").stdout == "null\n"


def test_persistent_call_is_kept_for_the_timeout(run: Run, stub: Stub) -> None:
    stub.answer("POST", TWO_WAY, {"rpcId": DEVICE_ID})
    words = ["rpc", "Pump 1", "reboot", "--persistent", "--timeout", "3600"]
    assert run(*words).stdout == f"The call is kept for 3600 s (id {DEVICE_ID}).\n"
    asked = stub.asked("POST", TWO_WAY).json()
    assert isinstance(asked, dict)
    assert asked["persistent"] is True
    assert abs(asked["expirationTime"] - (time.time() + 3600) * 1000) < 60_000
    assert json.loads(run(*words, "--json").stdout) == {"rpcId": DEVICE_ID}


def test_silence_of_the_device_is_a_failure(run: Run, stub: Stub) -> None:
    stub.answer("POST", TWO_WAY, b"The device did not answer the call within 10 s.", 504)
    result = run("rpc", "Pump 1", "setGpio")
    assert result.exit_code == 1
    assert result.stderr == "Error: The device did not answer the call within 10 s.\n"


def test_timeout_must_be_a_time(run: Run) -> None:
    assert run("rpc", "Pump 1", "setGpio", "--timeout", "0").exit_code == 2
