"""Logging of the whole process, set up once: structlog and the standard library's through one handler.

Readable lines on a terminal, one JSON object per line otherwise (`log.format` decides differently). What may
not be in a log is masked by its key's name in one place here, whoever wrote the record; tracebacks show no
local variables.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from thingpass.log_floods import FLOODS
from thingpass.setting_kinds import MASK, Secret
from thingpass.settings import LogSettings

_SECRET_WORDS = frozenset(
    {"authorization", "body", "cookie", "credential", "passphrase", "passwd", "password", "payload"}
    | {"passwords", "secret", "secrets", "token", "tokens"}
)
_SECRET_KEYS = frozenset({"private_key", "private_key_pem", "key_pem", "credentials_value", "api_key"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_PLAIN_KINDS = (bool, int, float)  # `payload_bytes=120` and `token_known=False` tell nothing


class _OurHandler(logging.StreamHandler[TextIO]):
    """So that a second set-up finds and replaces the first one's handler."""


def configure_logging(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Send all records to `stream` (stderr). May be called again; the last call holds."""
    output = sys.stderr if stream is None else stream
    on_terminal = output.isatty()
    as_text = settings.format == "text" or (settings.format == "auto" and on_terminal)
    stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if as_text else "iso", utc=not as_text)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        stamp,
        _drop_coloured_copy,
        mask_secrets,
    ]
    renderers: list[Processor]
    if as_text:
        colours = on_terminal and not os.environ.get("NO_COLOR")
        renderers = [
            structlog.dev.ConsoleRenderer(
                colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    else:
        # A text, not a dictionary: structlog's dictionary of a traceback carries local variables.
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    handler = _OurHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            FLOODS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # logging is rare here, and a later set-up must hold for all
    )
    _take_over_standard_logging(handler, settings.level)


def mask_secrets(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
    """Replace values under names such as `password`, `accessToken` or `payload`, at any depth."""
    return {key: _masked(key, value) for key, value in event_dict.items()}


def _drop_coloured_copy(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
    """uvicorn's records carry their text a second time, with escape sequences."""
    event_dict.pop("color_message", None)
    return event_dict


def _masked(key: str, value: object) -> object:
    if isinstance(value, Secret):
        return MASK
    if _names_a_secret(key) and value is not None and not isinstance(value, _PLAIN_KINDS):
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields") and key != "exc_info":
        return [_masked("", item) for item in value]
    return value


def _names_a_secret(key: str) -> bool:
    if key.lower() in _SECRET_KEYS:
        return True
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key))


def _take_over_standard_logging(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _OurHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # An access log line holds the query, which may hold a token; and it is one line per request.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    # asyncio's debug lines and selector notices are for people who work on event loops.
    logging.getLogger("asyncio").setLevel(max(root.level, logging.INFO))
