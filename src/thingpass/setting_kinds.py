"""The kinds of values that settings have: how each is read from text or TOML, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from thingpass.rate_limits import ALLOWED, parse_rate_limit

MASK = "********"


class Secret:
    """A text that must not be seen by accident: masked in `repr`, `str` and therefore in logs and errors."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


def _anything(_: object) -> bool:
    return True


def _as_it_is(value: object) -> object:
    return value


class Kind(msgspec.Struct, frozen=True):
    """One kind. A value is taken if it is of `types`; text of variables and flags goes through `parse`.

    `accepts` then holds the limits and `wrap` makes the value that the rooms see. `parse` may raise
    ValueError.
    """

    allowed: str  # ends the sentence "it must be ..."
    types: tuple[type, ...]
    parse: Callable[[str], object]
    accepts: Callable[[object], bool] = _anything
    wrap: Callable[[object], object] = _as_it_is

    def read(self, raw: object, *, text: bool) -> object:
        """The value that `raw` means. `text`: the source knows only text. Raises ValueError without words."""
        value: object = raw
        # In TOML a text is parsed only where a text may stand: a quoted port is a mistake to be told about.
        if isinstance(raw, str) and (text or str in self.types):
            value = self.parse(raw)
        elif not isinstance(raw, self.types) or isinstance(raw, bool) is not (bool in self.types):
            raise ValueError
        if not self.accepts(value):
            raise ValueError
        return self.wrap(value)


def whole(minimum: int, maximum: int | None = None, *, note: str = "") -> Kind:
    def accepts(value: object) -> bool:
        return isinstance(value, int) and minimum <= value and (maximum is None or value <= maximum)

    upper = f"to {maximum}" if maximum is not None else "or more"
    return Kind(f"a whole number, {minimum} {upper}{note}", (int,), int, accepts)


def number(minimum: float, maximum: float) -> Kind:
    def accepts(value: object) -> bool:
        return isinstance(value, int | float) and minimum <= value <= maximum  # false for nan, too

    return Kind(f"a number, {minimum:g} to {maximum:g}", (int, float), float, accepts, _as_float)


def one_of(*choices: str) -> Kind:
    def lower(value: object) -> str:
        return str(value).strip().lower()

    def accepts(value: object) -> bool:
        return lower(value) in choices

    # float: people write `minimum_version = 1.2` without quotes, and mean the only thing it can mean
    return Kind(" or ".join(choices), (str, float), str, accepts, lower)


def port(*, or_off: bool = False) -> Kind:
    """A TCP port; 0 is any free one. `or_off`: the word off, read as None, is allowed too."""
    inner = whole(0, 65_535, note=" (0: any free port)")
    if not or_off:
        return inner

    def parse(text: str) -> int | None:
        return None if text.strip().lower() == "off" else int(text)

    def accepts(value: object) -> bool:
        return value is None or inner.accepts(value)

    return Kind(f"{inner.allowed}, or off", (int, str), parse, accepts)


def _as_float(value: object) -> float:
    return float(str(value))


def _boolean(text: str) -> bool:
    if text.strip().lower() in ("true", "yes", "on", "1"):
        return True
    if text.strip().lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _not_blank(value: object) -> bool:
    return bool(str(value).strip())


def _as_path(value: object) -> Path:
    return Path(str(value)).expanduser()


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part.strip()]


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name.strip() for name in value)


def _as_names(value: object) -> tuple[str, ...]:
    return tuple(str(name).strip() for name in value) if isinstance(value, list | tuple) else ()


def _not_empty(value: object) -> bool:
    return bool(value.reveal() if isinstance(value, Secret) else value)


def _as_secret(value: object) -> Secret:
    return value if isinstance(value, Secret) else Secret(str(value))


def _as_rate_limit(value: object) -> str:
    return parse_rate_limit(str(value)).text


BOOLEAN = Kind("true or false", (bool,), _boolean)
TEXT = Kind("a text that is not empty", (str,), str.strip, _not_blank)
PATH = Kind("a path", (str, Path), str, _not_blank, _as_path)
NAMES = Kind("a list of host names or addresses", (list, tuple), _split, _are_names, _as_names)
SECRET = Kind("a text that is not empty", (str, Secret), str, _not_empty, _as_secret)
RATE_LIMIT = Kind(ALLOWED, (str,), _as_rate_limit)
