from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
import structlog

from thingpass.logs import configure_logging, mask_secrets
from thingpass.settings import LogSettings, Secret


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(format: str = "auto", level: str = "info", stream: io.StringIO | None = None) -> io.StringIO:  # noqa: A002
    output = io.StringIO() if stream is None else stream
    configure_logging(LogSettings(format=format, level=level), stream=output)  # type: ignore[arg-type]
    return output


def test_into_a_file_each_record_is_one_json_object() -> None:
    stream = configured()
    structlog.get_logger("thingpass.x").info("device connected", device="pump", port=8883)
    (line,) = json_lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line.pop("timestamp")))
    assert line == {
        "event": "device connected",
        "device": "pump",
        "port": 8883,
        "level": "info",
        "logger": "thingpass.x",
    }


def test_on_a_terminal_records_are_coloured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = configured(stream=Terminal())
    structlog.get_logger("x").warning("slow disk", seconds=3)
    assert "\x1b[" in stream.getvalue()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[warning *\] slow disk +\[x\] seconds=3\n", plain)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = configured(stream=Terminal())
    structlog.get_logger("x").warning("slow disk")
    assert "\x1b[" not in stream.getvalue()


def test_format_setting_overrides_what_the_stream_is() -> None:
    stream = configured("json", stream=Terminal())
    structlog.get_logger("x").info("a")
    assert json_lines(stream)[0]["event"] == "a"
    stream = configured("text")
    structlog.get_logger("x").info("a")
    assert "\x1b[" not in stream.getvalue()
    assert "[info" in stream.getvalue()


def test_standard_library_records_go_the_same_way() -> None:
    stream = configured()
    logging.getLogger("uvicorn.error").warning(
        "bad request from %s", "192.0.2.1", extra={"password": "swordfish"}
    )
    (line,) = json_lines(stream)
    assert line["event"] == "bad request from 192.0.2.1"
    assert (line["level"], line["logger"], line["password"]) == ("warning", "uvicorn.error", "********")


def test_uvicorns_coloured_copy_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured()
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "level", logging.INFO)  # a server may have set it
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[36mstarted"})
    assert "color_message" not in json_lines(stream)[0]


def test_warnings_are_records() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "UserWarning: old" in str(json_lines(stream)[0]["event"])


def test_access_lines_of_uvicorn_are_off_because_queries_hold_tokens() -> None:
    stream = configured("json", "debug")
    logging.getLogger("uvicorn.access").info("GET /api/ws?token=abc")
    assert stream.getvalue() == ""


def test_level_holds_for_both_kinds_of_loggers() -> None:
    stream = configured(level="warning")
    structlog.get_logger("x").info("quiet")
    logging.getLogger("y").info("quiet")
    structlog.get_logger("x").error("loud")
    assert [line["event"] for line in json_lines(stream)] == ["loud"]


def test_second_set_up_replaces_the_first() -> None:
    first, second = configured(), configured()
    structlog.get_logger("x").info("once")
    assert first.getvalue() == ""
    assert len(json_lines(second)) == 1


@pytest.mark.parametrize("format", ["text", "json"])
def test_traceback_has_no_local_variables(format: str) -> None:  # noqa: A002
    stream = configured(format)

    def failing(password: str) -> None:
        raise ValueError("no such thing")

    try:
        failing("sword" + "fish")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert "no such thing" in stream.getvalue()
    assert "Traceback" in stream.getvalue()
    assert "swordfish" not in stream.getvalue()


def test_bound_context_is_in_the_record() -> None:
    stream = configured()
    with structlog.contextvars.bound_contextvars(connection=7):
        structlog.get_logger("x").info("a")
    assert json_lines(stream)[0]["connection"] == 7


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "accessToken",
        "refresh_token",
        "client_secret",
        "Authorization",
        "X-Authorization",
        "cookie",
        "payload",
        "request_body",
        "private_key_pem",
        "credentials_value",
    ],
)
def test_value_under_a_secret_name_is_masked(key: str) -> None:
    assert mask_secrets(None, "info", {key: "swordfish"}) == {key: "********"}


@pytest.mark.parametrize("key", ["device", "keyboard", "tokenizer", "payload_bytes", "event", "broken"])
def test_other_names_are_left_alone(key: str) -> None:
    assert mask_secrets(None, "info", {key: 12}) == {key: 12}


def test_secrets_are_masked_at_any_depth_and_by_type() -> None:
    event = {"a": [{"token": "x", "n": 1}], "b": {"c": {"secret": b"x"}}, "d": Secret("x"), "password": None}
    assert mask_secrets(None, "info", event) == {
        "a": [{"token": "********", "n": 1}],
        "b": {"c": {"secret": "********"}},
        "d": "********",
        "password": None,
    }
