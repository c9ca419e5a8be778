"""Values as a person reads them, and strangers' texts made harmless for a terminal, a log and a web page."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

LONGEST_TEXT = 200
"""Characters of a stranger's text that are kept: more than any name that is meant to be read."""

SHOWN_OF_A_SECRET = 3
"""At most so many first characters of a token are shown: enough to recognise, too few to guess the rest."""

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))


def duration_text(duration_ms: int) -> str:
    """A length of time in its largest unit that gives 2 or more: `12 days`, `36 hours`, `90 seconds`."""
    for name, unit_ms in _UNITS:
        if duration_ms >= 2 * unit_ms:
            return f"{duration_ms // unit_ms} {name}s"
    return "1 second" if duration_ms >= 1_000 else "less than a second"


def time_text(moment: datetime | int) -> str:
    """A moment (aware, or milliseconds since 1970) in UTC: `2026-11-11 09:00:00 UTC`."""
    if isinstance(moment, int):
        moment = datetime.fromtimestamp(moment / 1000, UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def harmless(text: str) -> str:
    """The text on one line, at most LONGEST_TEXT long, with everything escaped that does not print."""
    kept = text[:LONGEST_TEXT]
    shown = kept if kept.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in kept)
    return shown if len(text) <= LONGEST_TEXT else f"{shown}... ({len(text)} characters)"


def secret_hint(secret: str) -> str:
    """What may be shown of a token: its length, and its first characters if the rest stays unguessable."""
    shown = min(SHOWN_OF_A_SECRET, len(secret) // 4)
    start = f"{harmless(secret[:shown])}... " if shown else ""
    return f"{start}({len(secret)} character{'' if len(secret) == 1 else 's'})"


def as_argument(name: str | None, placeholder: str) -> str:
    """A name quoted for a shell, to stand in a command that a person may copy; else the placeholder."""
    if not name or not name.isprintable() or name.startswith("-") or len(name) > LONGEST_TEXT:
        return placeholder
    return shlex.quote(name)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
